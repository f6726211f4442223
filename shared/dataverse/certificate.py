"""The certificate that signs in: read from the setting in each form that people have it in, and checked.

Nothing of the setting's value shows in an error: it may be the key itself.
"""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12

from ..model.errors import ConfigurationError

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def read(value: str, password: str, *, now: datetime) -> dict[str, str]:
    """MSAL's credential from DATAVERSE_CLIENT_CERTIFICATE: a PEM, a PFX in base64, or the path of a file with either.

    Raises ConfigurationError with what to do when it is unusable, or not valid at `now`.
    """
    content = _content(value.strip())
    secret = password.encode() or None
    try:
        if b"-----BEGIN" in content:
            key, certificates = _from_pem(content, secret)
        else:
            key, first, others = pkcs12.load_key_and_certificates(content, secret)
            certificates = [first, *others] if first else others
    except ConfigurationError:
        raise
    except Exception:  # noqa: BLE001  (cryptography raises many kinds; their texts may quote what they could not read)
        raise _unusable(
            "cannot be read: check that it is whole, and DATAVERSE_CLIENT_CERTIFICATE_PASSWORD if it has a password"
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise _unusable("has no RSA private key, and Entra takes no other: export the certificate with its private key")
    own = next((found for found in certificates if found.public_key() == key.public_key()), None)
    if own is None:
        raise _unusable("has a private key without its certificate: put both into one PEM or PFX")
    _check_dates(own, now)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "private_key": private.decode(),
        "public_certificate": own.public_bytes(serialization.Encoding.PEM).decode(),
    }


def _content(value: str) -> bytes:
    if "-----BEGIN" in value:
        return value.replace("\\n", "\n").encode()
    try:
        with suppress(OSError):  # base64 is too long for a name
            if Path(value).is_file():
                return Path(value).read_bytes()
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        raise _unusable("is neither a PEM, nor a PFX in base64, nor the path of a file that can be read") from None


def _from_pem(content: bytes, password: bytes | None) -> tuple[object, list[x509.Certificate]]:
    blocks = [(found.group(1), _lines(found)) for found in _BLOCK.finditer(content)]
    keys = [block for kind, block in blocks if kind.endswith(b"PRIVATE KEY")]
    if not keys:
        raise _unusable("has no private key: put the key and the certificate into one PEM")
    encrypted = b"ENCRYPTED" in keys[0]
    if encrypted and password is None:
        raise _unusable("has a private key with a password: set DATAVERSE_CLIENT_CERTIFICATE_PASSWORD")
    key = serialization.load_pem_private_key(keys[0], password if encrypted else None)
    certificates = [x509.load_pem_x509_certificate(block) for kind, block in blocks if kind == b"CERTIFICATE"]
    return key, certificates


def _lines(found: re.Match[bytes]) -> bytes:
    """A PEM block with its line ends: pasting into a one-line field turns them into blanks."""
    kind, body = found.groups()
    if b"\n" not in body.strip():
        body = b"\n" + b"\n".join(body.split()) + b"\n"
    return b"-----BEGIN " + kind + b"-----" + body + b"-----END " + kind + b"-----\n"


def _check_dates(own: x509.Certificate, now: datetime) -> None:
    if now >= own.not_valid_after_utc:
        raise ConfigurationError(
            "ExpiredCertificate",
            f"DATAVERSE_CLIENT_CERTIFICATE expired on {own.not_valid_after_utc:%Y-%m-%d}: make a new certificate, "
            "upload its public part to the app registration, and set it",
        )
    if now < own.not_valid_before_utc:
        raise _unusable(f"is not valid before {own.not_valid_before_utc:%Y-%m-%d}: check it, and this machine's clock")


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError("BadCertificate", f"DATAVERSE_CLIENT_CERTIFICATE {why}")
