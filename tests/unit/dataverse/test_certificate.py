"""The certificate of DATAVERSE_CLIENT_CERTIFICATE: read in each form that people have it in, refused with a remedy."""

import base64
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from shared.dataverse import certificate
from shared.model.errors import ConfigurationError

NOW = datetime.now(UTC)
PASSWORD = "pfx-pa55word-0007"
AUTHORITY = trustme.CA()


def issued(key_type: trustme.KeyType = trustme.KeyType.RSA, **dates: datetime) -> trustme.LeafCert:
    return AUTHORITY.issue_cert(common_name="msisync", key_type=key_type, **dates)  # type: ignore[arg-type]  # of **


def key_of(made: trustme.LeafCert) -> bytes:
    return made.private_key_pem.bytes()


def own_of(made: trustme.LeafCert) -> bytes:
    return made.cert_chain_pems[0].bytes()


def pem_of(made: trustme.LeafCert) -> str:
    return (key_of(made) + own_of(made)).decode()


def encryption(password: str) -> serialization.KeySerializationEncryption:
    if not password:
        return serialization.NoEncryption()
    return serialization.BestAvailableEncryption(password.encode())


def pfx_of(made: trustme.LeafCert, password: str = "") -> bytes:
    key = serialization.load_pem_private_key(key_of(made), None)
    own = x509.load_pem_x509_certificate(own_of(made))
    chain = [x509.load_pem_x509_certificate(AUTHORITY.cert_pem.bytes())]
    return pkcs12.serialize_key_and_certificates(b"msisync", key, own, chain, encryption(password))  # type: ignore[arg-type]  # an RSA key


def encrypted_pem_of(made: trustme.LeafCert) -> str:
    key = serialization.load_pem_private_key(key_of(made), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption(PASSWORD))
    return (key.private_bytes(*form) + own_of(made)).decode()


MADE, OTHER = issued(), issued()


def written(folder: Path, content: bytes) -> str:
    path = folder / "client.certificate"
    path.write_bytes(content)
    return str(path)


FORMS: dict[str, Callable[[Path], tuple[str, str]]] = {
    "PEM": lambda _: (pem_of(MADE), ""),
    "PEM, certificate first": lambda _: ((own_of(MADE) + key_of(MADE)).decode(), ""),
    "PEM with its chain, the authority first": lambda _: (AUTHORITY.cert_pem.bytes().decode() + pem_of(MADE), ""),
    "PEM pasted into one line": lambda _: (pem_of(MADE).replace("\n", " "), ""),
    "PEM with line ends spelled out": lambda _: (pem_of(MADE).replace("\n", "\\n"), ""),
    "PEM of Windows": lambda _: (pem_of(MADE).replace("\n", "\r\n"), ""),
    "PEM with a password": lambda _: (encrypted_pem_of(MADE), PASSWORD),
    "PFX of Key Vault": lambda _: (base64.b64encode(pfx_of(MADE)).decode(), ""),
    "PFX in lines": lambda _: (base64.encodebytes(pfx_of(MADE)).decode(), ""),
    "PFX with a password": lambda _: (base64.b64encode(pfx_of(MADE, PASSWORD)).decode(), PASSWORD),
    "path of a PEM": lambda folder: (written(folder, pem_of(MADE).encode()), ""),
    "path of a PFX": lambda folder: (written(folder, pfx_of(MADE, PASSWORD)), PASSWORD),
    "a password that a PEM does not need": lambda _: (pem_of(MADE), PASSWORD),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_key_and_its_own_certificate(form: str, tmp_path: Path) -> None:
    value, password = FORMS[form](tmp_path)
    read = certificate.read(value, password, now=NOW)
    key = serialization.load_pem_private_key(read["private_key"].encode(), None)
    assert key.public_key() == x509.load_pem_x509_certificate(own_of(MADE)).public_key()
    assert read["public_certificate"].split() == own_of(MADE).decode().split()


WRONG: dict[str, tuple[str, str, str]] = {
    "no private key": (own_of(MADE).decode(), "", "no private key"),
    "no certificate": (key_of(MADE).decode(), "", "without its certificate"),
    "another's certificate": ((key_of(MADE) + own_of(OTHER)).decode(), "", "without its certificate"),
    "no password": (encrypted_pem_of(MADE), "", "DATAVERSE_CLIENT_CERTIFICATE_PASSWORD"),
    "wrong password of a PEM": (encrypted_pem_of(MADE), "wrong", "DATAVERSE_CLIENT_CERTIFICATE_PASSWORD"),
    "wrong password of a PFX": (
        base64.b64encode(pfx_of(MADE, PASSWORD)).decode(), "wrong", "DATAVERSE_CLIENT_CERTIFICATE_PASSWORD",
    ),
    "cut short": ("\n".join([*pem_of(MADE).splitlines()[:3], *pem_of(MADE).splitlines()[9:]]), "", "whole"),
    "elliptic curve": (pem_of(issued(trustme.KeyType.ECDSA)), "", "RSA"),
    "no PFX": (base64.b64encode(b"s3cret bytes that are no PFX").decode(), "", "whole"),
    "no such file": ("/s3cret/no/such/file.pfx", "", "path of a file"),
    "a secret by mistake": ("Qv8~s3cret-value", "", "neither a PEM"),
    "not yet valid": (pem_of(issued(not_before=NOW + timedelta(days=2))), "", "clock"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_an_unusable_certificate_is_refused_with_what_to_do_and_nothing_of_the_value(wrong: str) -> None:
    value, password, told = WRONG[wrong]
    with pytest.raises(ConfigurationError) as refused:
        certificate.read(value, password, now=NOW)
    error = refused.value
    assert error.code == "BadCertificate"
    assert error.message.startswith("DATAVERSE_CLIENT_CERTIFICATE")
    assert told in error.message
    text = "".join(traceback.format_exception(error)) + repr(error)
    assert not any(len(line) > 8 and line in text for line in value.splitlines())
    assert "s3cret" not in text


def test_an_expired_certificate_says_when_it_expired() -> None:
    end = NOW - timedelta(days=1)
    value = pem_of(issued(not_before=NOW - timedelta(days=90), not_after=end))
    with pytest.raises(ConfigurationError, match=f"{end:%Y-%m-%d}.*upload") as refused:
        certificate.read(value, "", now=NOW)
    assert refused.value.code == "ExpiredCertificate"
