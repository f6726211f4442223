"""Certificates that are made here: for servers, from an authority of their own, and for an app that signs in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Where the PEM files are."""

    #: The server's certificate, with the chain.
    certificate: Path
    key: Path
    #: The authority alone. Who trusts just this can reach the simulators and nothing of the internet by mistake.
    bundle: Path


def write_certificates(directory: Path, hosts: Sequence[str]) -> Certificates:
    """Make an authority and one server certificate for `hosts`, and write them into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    files = Certificates(directory / "server.pem", directory / "server.key", directory / "ca.pem")
    authority = trustme.CA(organization_name="Emulators")
    server = authority.issue_cert(*hosts)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    _write_private(files.key, server.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(files.bundle))
    return files


def write_client_certificate(path: Path, common_name: str) -> None:
    """Make key and certificate of an app registration and write both into one file.

    Entra takes a certificate of any issuer, but only with an RSA key.
    """
    authority = trustme.CA(organization_name="App registration")
    client = authority.issue_cert(common_name=common_name, key_type=trustme.KeyType.RSA)
    _write_private(path, client.private_key_pem.bytes() + client.cert_chain_pems[0].bytes())


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that nobody but its owner can read, at no time."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(content)
