"""The identity endpoint that App Service gives to an app with a managed identity: tokens without any credential.

App Service: `GET $IDENTITY_ENDPOINT?api-version=2019-08-01&resource=…[&client_id=…]` with `$IDENTITY_HEADER`; without a
client id the identity is the system-assigned one. Here both are the same identity.
"""

import hmac
from typing import Final

from aiohttp import web

from emulators.dataverse import constants
from emulators.dataverse.login import Login

_VERSION: Final = "2019-08-01"
_SELECTORS: Final = frozenset({"client_id", "mi_res_id", "object_id", "principal_id"})


class IdentityEndpoint:
    """Answers with access tokens for the environment."""

    def __init__(self, login: Login) -> None:
        self._login = login

    async def token(self, request: web.Request) -> web.Response:
        """A token for the resource, or a refusal with a status code and a message."""
        header = request.headers.get("X-IDENTITY-HEADER", "")
        if not hmac.compare_digest(header.encode(), constants.IDENTITY_HEADER.encode()):
            return _refused(401, "The X-IDENTITY-HEADER is missing or wrong.")
        if request.query.get("api-version") != _VERSION:
            return _refused(400, f"The api-version must be {_VERSION}.")
        chosen = {name: request.query[name] for name in _SELECTORS if name in request.query}
        if chosen and chosen != {"client_id": constants.MANAGED_IDENTITY_CLIENT_ID}:
            message = (
                "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
            )
            return _refused(400, message)
        resource = request.query.get("resource", "")
        if resource.removesuffix("/") != constants.ORGANIZATION_URL:
            return _refused(400, f"The resource principal named '{resource}' was not found in the tenant.")
        token, expires = self._login.issue_token(None, constants.MANAGED_IDENTITY_CLIENT_ID)
        answer = {
            "access_token": token,
            "expires_on": str(int(expires)),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": constants.MANAGED_IDENTITY_CLIENT_ID,
        }
        return web.json_response(answer, headers={"Cache-Control": "no-store"})


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)
