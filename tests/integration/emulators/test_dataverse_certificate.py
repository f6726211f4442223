"""Sign-in with the app registration's certificate: MSAL's own way, and what Entra refuses."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import msal
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from emulators.dataverse import constants
from emulators.dataverse.harness import Running, running
from emulators.dataverse.messages import ApiRequest

AUTHORITY = f"https://{constants.LOGIN_HOST}/{constants.TENANT_ID}"
ENDPOINT = f"{AUTHORITY}/oauth2/v2.0/token"
SCOPES = [f"{constants.ORGANIZATION_URL}/.default"]
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Pair:
    """A private key and its certificate."""

    def __init__(self) -> None:
        made = trustme.CA().issue_cert(common_name="client", key_type=trustme.KeyType.RSA)
        self.key = made.private_key_pem.bytes().decode()
        self.certificate = made.cert_chain_pems[0].bytes().decode()
        parsed = x509.load_pem_x509_certificate(self.certificate.encode())
        self.sha1 = parsed.fingerprint(hashes.SHA1())  # noqa: S303 - x5t is a SHA-1 by definition
        self.sha256 = parsed.fingerprint(hashes.SHA256())

    def sign(self, header: dict[str, Any] | None = None, algorithm: str = "PS256", **claims: Any) -> str:
        content = {
            "aud": ENDPOINT, "iss": constants.CLIENT_ID, "sub": constants.CLIENT_ID, "jti": "1",
            "nbf": int(time.time()), "exp": int(time.time()) + 600, **claims,
        }  # fmt: skip
        used = {"x5t#S256": thumbprint(self.sha256)} if header is None else header
        return jwt.encode(content, self.key, algorithm=algorithm, headers=used)


def thumbprint(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


REGISTERED, OTHER = Pair(), Pair()


@pytest.fixture
async def started() -> AsyncIterator[Running]:
    async with running(empty=True, client_certificate=REGISTERED.certificate.encode()) as simulator:
        yield simulator


def sign_in(started: Running, assertion: str | None, **form: str) -> dict[str, Any]:
    """What the token endpoint answers to client credentials."""
    content = {
        "grant_type": "client_credentials",
        "client_id": constants.CLIENT_ID,
        "scope": SCOPES[0],
        **({} if assertion is None else {"client_assertion_type": TYPE, "client_assertion": assertion}),
        **form,
    }
    path = f"/{constants.TENANT_ID}/oauth2/v2.0/token"
    response = started.simulator.login.handle(ApiRequest("POST", path, {}, urlencode(content).encode()))
    answer: dict[str, Any] = json.loads(response.body)
    assert ("access_token" in answer) == (response.status == 200)
    return answer


@pytest.mark.parametrize("named", ["certificate", "thumbprint"])
async def test_msal_signs_in_with_it(started: Running, tmp_path: Path, named: str) -> None:
    session = started.session(str(tmp_path / "ca.pem"))
    pair = {"private_key": REGISTERED.key}
    credential = (
        {**pair, "public_certificate": REGISTERED.certificate}
        if named == "certificate"
        else {**pair, "thumbprint": REGISTERED.sha1.hex()}
    )

    def both() -> list[dict[str, Any]]:
        app = msal.ConfidentialClientApplication(
            constants.CLIENT_ID, client_credential=credential, authority=AUTHORITY, http_client=session
        )
        as_user = app.acquire_token_by_username_password(constants.USERNAME, constants.PASSWORD, scopes=SCOPES)
        return [app.acquire_token_for_client(SCOPES), as_user]

    try:
        tokens = await asyncio.to_thread(both)
    finally:
        session.close()
    users = [(await started.call("GET", "WhoAmI", token=token["access_token"])).json()["UserId"] for token in tokens]
    assert users == [constants.APPLICATION_USER_ID, constants.SYNC_USER_ID]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
@pytest.mark.parametrize("name", ["x5t", "x5t#S256"])
async def test_both_thumbprints_and_both_algorithms_are_taken(started: Running, algorithm: str, name: str) -> None:
    digest = REGISTERED.sha1 if name == "x5t" else REGISTERED.sha256
    assert sign_in(started, REGISTERED.sign({name: thumbprint(digest)}, algorithm))["token_type"] == "Bearer"


NOW = int(time.time())
WRONG = {
    "another certificate": (OTHER.sign(), 700027),
    "signed by another": (OTHER.sign({"x5t#S256": thumbprint(REGISTERED.sha256)}), 700027),
    "thumbprint of another": (REGISTERED.sign({"x5t#S256": thumbprint(OTHER.sha256)}), 700027),
    "thumbprint in hex": (REGISTERED.sign({"x5t#S256": REGISTERED.sha256.hex()}), 700027),
    "one thumbprint of another": (
        REGISTERED.sign({"x5t": thumbprint(REGISTERED.sha1), "x5t#S256": thumbprint(OTHER.sha256)}),
        700027,
    ),
    "no thumbprint": (REGISTERED.sign({}), 5002723),
    "expired": (REGISTERED.sign(nbf=NOW - 4000, exp=NOW - 3000), 700024),
    "not yet valid": (REGISTERED.sign(nbf=NOW + 3000, exp=NOW + 4000), 700024),
    "another audience": (REGISTERED.sign(aud=f"{AUTHORITY}/oauth2/token"), 700023),
    "another issuer": (REGISTERED.sign(iss="00000000-0000-4000-a000-000000000000"), 700021),
    "another subject": (REGISTERED.sign(sub=constants.USERNAME), 700021),
    "no end": (REGISTERED.sign(exp=None), 50027),
    "another algorithm": (REGISTERED.sign(algorithm="RS512"), 50027),
    "not signed": (jwt.encode({"sub": constants.CLIENT_ID}, "", algorithm="none"), 50027),
    "no token": ("no token", 50027),
}


@pytest.mark.parametrize(("assertion", "number"), WRONG.values(), ids=WRONG)
async def test_a_wrong_assertion_is_refused_with_its_number(started: Running, assertion: str, number: int) -> None:
    answer = sign_in(started, assertion)
    assert (answer["error"], answer["error_codes"]) == ("invalid_client", [number])
    assert answer["error_description"].startswith(f"AADSTS{number}: ")
    assert started.environment.stats.refused_sign_ins == 1


async def test_time_is_the_simulators(started: Running) -> None:
    assertion = REGISTERED.sign()
    started.environment.switches.clock_offset = 3600
    assert sign_in(started, assertion)["error_codes"] == [700024]
    started.environment.switches.clock_offset = -3600
    assert sign_in(started, assertion)["error_codes"] == [700024]
    started.environment.switches.clock_offset = 60
    assert "access_token" in sign_in(started, assertion)


async def test_without_secret_and_assertion_nobody_signs_in(started: Running) -> None:
    assert sign_in(started, None)["error_codes"] == [7000218]
    assert sign_in(started, REGISTERED.sign(), client_assertion_type="jwt")["error_codes"] == [900144]
    assert "access_token" in sign_in(started, None, client_secret=constants.CLIENT_SECRET)


async def test_no_certificate_is_registered_unless_one_is_given() -> None:
    async with running(empty=True) as started:
        assert sign_in(started, REGISTERED.sign())["error_codes"] == [700027]
