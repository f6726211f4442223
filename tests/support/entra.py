"""What App Service Authentication tells an app of who has signed in with Entra."""

import json
from base64 import b64encode
from typing import Any

HOST = "func-msisync-x.azurewebsites.net"
#: What the platform sets.
PLATFORM = {"WEBSITE_AUTH_ENABLED": "True", "WEBSITE_HOSTNAME": HOST}
OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"


def header_of(name: str, *roles: str, **changes: Any) -> str:
    """The header X-MS-CLIENT-PRINCIPAL of a person with these app roles."""
    claims = [
        {"typ": "aud", "val": "6f9b2f64-0000-4000-8000-000000000001"},
        {"typ": "name", "val": name.partition("@")[0].title()},
        {"typ": OID, "val": f"id-of-{name}"},
        {"typ": "preferred_username", "val": name},
        *({"typ": "roles", "val": role} for role in roles),
    ]
    said = {
        "auth_typ": "aad",
        "claims": claims,
        "name_typ": "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
        "role_typ": "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
        **changes,
    }
    return b64encode(json.dumps(said).encode()).decode()


def signed_in(name: str, *roles: str) -> dict[str, str]:
    """The headers of a request of such a person, as they reach the app."""
    return {"host": HOST, "x-ms-client-principal": header_of(name, *roles)}


def from_a_page() -> dict[str, str]:
    """What a browser says of a form of the console's own page."""
    return {"origin": f"https://{HOST}", "sec-fetch-site": "same-origin"}
