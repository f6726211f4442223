"""The certificate of the app registration, and the check of the JWT that a client signs with its key.

Entra: the header names the certificate by thumbprint; the token endpoint is the audience; issuer and subject are the
client id.
"""

import base64
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from emulators.dataverse.sign_in_errors import SignInError

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ALGORITHMS: Final = ("RS256", "PS256")
_CLOCK_SKEW: Final = 300.0  # seconds
# The claims are checked here, by the simulator's clock.
_CLAIMS: Final = ("aud", "iss", "sub", "exp", "nbf", "iat", "jti")
_UNCHECKED: Final[Any] = {f"verify_{claim}": False for claim in _CLAIMS}


class ClientCertificate:
    """The certificate that an administrator has uploaded to the app registration."""

    def __init__(self, pem: bytes) -> None:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            msg = "the client certificate needs an RSA key"
            raise TypeError(msg)
        self._key = key
        self._valid_from = certificate.not_valid_before_utc.timestamp()
        self._valid_to = certificate.not_valid_after_utc.timestamp()
        self._thumbprints = {
            "x5t": _base64url(certificate.fingerprint(hashes.SHA1())),  # noqa: S303 - x5t is a SHA-1 by definition
            "x5t#S256": _base64url(certificate.fingerprint(hashes.SHA256())),
        }

    def check(self, assertion: str, client: str, audiences: Collection[str], now: float) -> None:
        """Raise SignInError unless the assertion is the client's own, valid now (seconds since the epoch)."""
        header = _header(assertion)
        # MSAL leaves the padding in.
        named = {name: str(header[name]).rstrip("=") for name in self._thumbprints if name in header}
        if not named:
            raise SignInError(5002723)
        shown = next(iter(named.values()))
        if any(self._thumbprints[name] != value for name, value in named.items()):
            raise SignInError(700027, reason="The key was not found.", thumbprint=shown)
        if not self._valid_from <= now < self._valid_to:
            raise SignInError(700027, reason="The key used is expired.", thumbprint=shown)
        try:
            claims = jwt.decode(assertion, self._key, algorithms=[header["alg"]], options=_UNCHECKED)
        except jwt.InvalidSignatureError:
            reason = "Key was found, but use of the key to verify the signature failed."
            raise SignInError(700027, reason=reason, thumbprint=shown) from None
        except jwt.InvalidTokenError as error:
            raise SignInError(50027, reason=str(error)) from None
        _check_claims(claims, client, audiences, now)


def _header(assertion: str) -> dict[str, Any]:
    try:
        header: dict[str, Any] = jwt.get_unverified_header(assertion)
    except jwt.InvalidTokenError as error:
        raise SignInError(50027, reason=str(error)) from None
    if header.get("alg") not in _ALGORITHMS:
        raise SignInError(50027, reason=f"'{header.get('alg')}' is not a supported signature algorithm.")
    return header


def _check_claims(claims: dict[str, Any], client: str, audiences: Collection[str], now: float) -> None:
    start, end = claims.get("nbf", 0), claims.get("exp")
    if not isinstance(end, int | float) or not isinstance(start, int | float):
        raise SignInError(50027, reason="The claims 'exp' and 'nbf' must be numbers.")
    if not start - _CLOCK_SKEW <= now < end + _CLOCK_SKEW:
        times = {"now": _moment(now), "start": _moment(start), "end": _moment(end)}
        raise SignInError(700024, **times)
    if not {str(claims.get("iss")).lower(), str(claims.get("sub")).lower()} == {client.lower()}:
        raise SignInError(700021)
    if claims.get("aud") not in audiences:
        raise SignInError(700023)


def _moment(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
