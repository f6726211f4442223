"""Shared access signatures: the policies that exist here, and the check of a token."""

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from hashlib import sha256
from urllib.parse import unquote_plus, urlsplit

from emulators.servicebus.errors import Unauthorized


class Claim(Flag):
    """What a policy lets its holder do. Service Bus: Manage includes Send and Listen."""

    SEND = auto()
    LISTEN = auto()
    MANAGE = auto()


@dataclass(frozen=True, slots=True)
class Policy:
    """A shared access policy: its key, its claims and the entity it is limited to ("" is the whole namespace)."""

    key: str
    claims: Claim
    entity: str = ""


ROOT_POLICY = "RootManageSharedAccessKey"
#: The policies of every emulator, with keys that everybody may know. A namespace can have more.
POLICIES: Mapping[str, Policy] = {
    ROOT_POLICY: Policy("bG9jYWwtc3RhY2stcm9vdC1rZXktMDAwMDAwMDAwMDA=", Claim.SEND | Claim.LISTEN | Claim.MANAGE),
    # What a client may hold that has no claim to manage queues.
    "SendOnly": Policy("bG9jYWwtc3RhY2stc2VuZC1rZXktMDAwMDAwMDAwMDA=", Claim.SEND),
    "ListenOnly": Policy("bG9jYWwtc3RhY2stbGlzdGVuLWtleS0wMDAwMDAwMDA=", Claim.LISTEN),
    "SendAndListen": Policy("bG9jYWwtc3RhY2stYXBwLWtleS0wMDAwMDAwMDAwMDA=", Claim.SEND | Claim.LISTEN),
}


_CLAIM = "(?:Send|Listen|Manage)"
_POLICY = re.compile(rf"(?P<name>[^:]+):(?P<key>[^:]+):(?P<claims>{_CLAIM}(?:,{_CLAIM})*)(?::(?P<queue>[^:]+))?")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a valid token allows: claims on an entity path and everything below it, until a time."""

    path: str
    claims: Claim
    expires_at: float

    def allows(self, claim: Claim, path: str, now: float) -> bool:
        """Tell whether `claim` is granted on `path` (lower case, without slashes at its ends)."""
        covered = not self.path or path == self.path or path.startswith(self.path + "/")
        return covered and bool(claim & self.claims) and now < self.expires_at


def policy_of(text: str) -> tuple[str, Policy]:
    """Return name and policy from `NAME:KEY:CLAIM[,CLAIM][:QUEUE]`, where a claim is Send, Listen or Manage.

    Raises ValueError for anything else.
    """
    match = _POLICY.fullmatch(text)
    if match is None:
        msg = f"'{text}' is not NAME:KEY:CLAIM[,CLAIM][:QUEUE] with the claims Send, Listen and Manage"
        raise ValueError(msg)
    claims = Claim(0)
    for name in match["claims"].split(","):
        claims |= Claim[name.upper()]
    if Claim.MANAGE in claims:
        claims |= Claim.SEND | Claim.LISTEN
    return match["name"], Policy(match["key"], claims, match["queue"] or "")


def check_token(token: str, clock: Callable[[], float], policies: Mapping[str, Policy] = POLICIES) -> Grant:
    """Return what a `SharedAccessSignature sr=…&sig=…&se=…&skn=…` token allows.

    Service Bus: the signature is the HMAC-SHA256, under the policy's key, of the resource as it stands in the token, a
    line feed and the expiry. Raises Unauthorized.
    """
    scheme, _, rest = token.partition(" ")
    parts = dict(part.partition("=")[::2] for part in rest.split("&"))
    if scheme != "SharedAccessSignature" or not {"sr", "sig", "se", "skn"} <= set(parts) or not parts["se"].isdigit():
        msg = "MalformedToken: The token is not a shared access signature."
        raise Unauthorized(msg)
    policy = policies.get(unquote_plus(parts["skn"]))
    signed = f"{parts['sr']}\n{parts['se']}".encode()
    key = "" if policy is None else policy.key
    signature = b64encode(hmac.new(key.encode(), signed, sha256).digest()).decode()
    if policy is None or not hmac.compare_digest(signature, unquote_plus(parts["sig"])):
        msg = "InvalidSignature: The token has an invalid signature."
        raise Unauthorized(msg)
    if int(parts["se"]) <= clock():
        msg = "ExpiredToken: The token is expired."
        raise Unauthorized(msg)
    resource = urlsplit(unquote_plus(parts["sr"])).path.strip("/").lower()
    return Grant(_narrower(resource, policy.entity.lower()), policy.claims, int(parts["se"]))


def _narrower(resource: str, entity: str) -> str:
    """Return the path that both the token and its policy cover."""
    if not entity or resource == entity or resource.startswith(entity + "/"):
        return resource
    if not resource:
        return entity
    msg = "InvalidSignature: The policy does not belong to this entity."
    raise Unauthorized(msg)
