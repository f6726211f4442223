"""Certificates for the vendors' host names, from an authority made on this machine at every start of the stack."""

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
    authority = trustme.CA(organization_name="msisync embedded stack")
    server = authority.issue_cert(*hosts)
    files.certificate.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    files.key.touch(mode=0o600)
    files.key.write_bytes(server.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(files.bundle))
    return files
