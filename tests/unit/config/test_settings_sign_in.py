"""Settings of sign-ins and connection strings: the forms that work, and what is told of those that do not."""

import pytest

from shared.config import settings
from shared.config.settings import Settings
from shared.model.errors import ConfigurationError
from tests.support.settings import ENVIRONMENT

TENANT = "11112222-0000-4000-8000-000000000003"
BUS = "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=sb-s3cret-0004"


def loaded(**changes: str) -> Settings:
    return settings.load(ENVIRONMENT | changes)


def refused(**changes: str) -> list[str]:
    """The problems; none of them shows a secret."""
    with pytest.raises(ConfigurationError) as refusal:
        settings.load(ENVIRONMENT | changes)
    assert "s3cret" not in str(refusal.value) + repr(refusal.value)
    return refusal.value.message.splitlines()[:-1]


@pytest.mark.parametrize(
    "pasted",
    [
        "https://contoso.crm4.dynamics.com",
        "contoso.crm4.dynamics.com",
        "HTTPS://CONTOSO.CRM4.DYNAMICS.COM/XRMServices/2011/Organization.svc",
        "https://contoso.crm4.dynamics.com/main.aspx?appid=9b7e41d2-0000-0000-0000-000000000000&forceUCI=1",
        "https://contoso.api.crm4.dynamics.com",
        "https://contoso.api.crm4.dynamics.com/XRMServices/2011/Organization.svc?wsdl",
        "https://contoso.crm4.dynamics.com./",
        "https://contoso.crm4.dynamics.com:443",
        "https://contoso.crm4.dynamics.com:8443/api",
        "contoso.crm4.dynamics.com/api/data/v9.2/$metadata#top",
        "\thttps://contoso.crm4.dynamics.com\n",
    ],
)
def test_each_form_of_the_address_is_reduced_to_the_root(pasted: str) -> None:
    assert loaded(DATAVERSE_URL=pasted).dataverse.url == "https://contoso.crm4.dynamics.com"


@pytest.mark.parametrize("name", ["DATAVERSE_URL", "MARKETO_URL", "DATAVERSE_AUTHORITY"])
def test_an_address_with_user_and_password_is_refused_and_not_shown(name: str) -> None:
    (told,) = refused(**{name: "https://sync:s3cret@contoso.crm4.dynamics.com/t"})
    assert f"{name}: must be an https:// address without user name or password" in told


@pytest.mark.parametrize(
    ("given", "authority"),
    [
        ("https://login.microsoftonline.us/contoso.us", "https://login.microsoftonline.us/contoso.us"),
        (f"https://Login.MicrosoftOnline.com/{TENANT}/", f"https://login.microsoftonline.com/{TENANT}"),
        (
            f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token",
            f"https://login.microsoftonline.com/{TENANT}",
        ),
        ("https://login.example.com:8443/adfs", "https://login.example.com:8443/adfs"),
    ],
)
def test_an_authority_is_a_host_and_a_tenant(given: str, authority: str) -> None:
    assert loaded(DATAVERSE_AUTHORITY=given).dataverse.authority == authority


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("http://login.microsoftonline.com/t", "https://"),
        ("https://login.microsoftonline.com", "tenant"),
        ("https://login.microsoftonline.com/", "tenant"),
        ("https://login.microsoftonline.com//t", "tenant"),
        ("https://login.microsoftonline.com/common", "tenant"),
        ("https://", "https://"),
    ],
)
def test_an_authority_without_tls_or_tenant_is_refused(given: str, told: str) -> None:
    (problem,) = refused(DATAVERSE_AUTHORITY=given)
    assert "DATAVERSE_AUTHORITY" in problem
    assert told in problem


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("CONTOSO\\sync", "DOMAIN\\user cannot sign in to Entra; use the UPN, user@domain"),
        ("sync", "UPN, user@domain"),
        ("a b@c.com", "UPN, user@domain"),
    ],
)
def test_a_user_name_that_is_no_upn_is_told_what_one_is(given: str, told: str) -> None:
    (problem,) = refused(DATAVERSE_USERNAME=given)
    assert "DATAVERSE_USERNAME" in problem
    assert told in problem


@pytest.mark.parametrize("given", [TENANT, TENANT.upper(), "contoso.onmicrosoft.com", f" {TENANT} "])
def test_a_tenant_is_a_guid_or_a_domain(given: str) -> None:
    assert loaded(DATAVERSE_TENANT_ID=given).dataverse.tenant_id == given.strip().lower()


@pytest.mark.parametrize(
    "given", ["common", "Organizations", "consumers", "contoso", TENANT[:-1], "a/b.com", "a b.com"]
)
@pytest.mark.parametrize("auth", ["password", "client_secret"])
def test_what_is_no_tenant_is_refused(given: str, auth: str) -> None:
    (problem,) = refused(DATAVERSE_TENANT_ID=given, DATAVERSE_AUTH=auth)
    assert "DATAVERSE_TENANT_ID" in problem
    assert "one tenant" in problem or "guid" in problem


@pytest.mark.parametrize(
    "name",
    [
        "DATAVERSE_USERNAME", "DATAVERSE_PASSWORD", "DATAVERSE_CLIENT_ID", "DATAVERSE_CLIENT_SECRET",
        "MARKETO_CLIENT_ID", "MARKETO_CLIENT_SECRET",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [" {}", "{} ", "{}\n"])
def test_blanks_around_a_credential_are_a_problem(name: str, form: str) -> None:
    (problem,) = refused(**{name: form.format(ENVIRONMENT[name])})
    assert f"{name}: must not begin or end with a blank" in problem


def test_a_user_is_not_judged_where_none_signs_in() -> None:
    assert loaded(DATAVERSE_USERNAME="CONTOSO\\sync", DATAVERSE_AUTH="client_secret").dataverse.auth == "client_secret"


@pytest.mark.parametrize(
    ("auth", "needs"),
    [
        ("password", ["CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD"]),
        ("client_secret", ["CLIENT_ID", "CLIENT_SECRET"]),
        ("certificate", ["CLIENT_ID", "CLIENT_CERTIFICATE"]),
        ("managed_identity", []),
    ],
)
def test_each_way_of_signing_in_says_all_that_it_needs(auth: str, needs: list[str]) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("DATAVERSE_")}
    environment |= {"DATAVERSE_URL": ENVIRONMENT["DATAVERSE_URL"], "DATAVERSE_AUTH": auth}
    told: list[str] = []
    try:
        settings.load(environment)
    except ConfigurationError as error:
        told = error.message.splitlines()[:-1]
    assert len(told) == len(needs)
    for name, line in zip(needs, told, strict=True):
        assert f"DATAVERSE_{name} is needed for DATAVERSE_AUTH={auth}" in line


def test_an_unknown_way_of_signing_in_is_the_only_problem_told_of_it() -> None:
    (problem,) = refused(DATAVERSE_AUTH="kerberos", DATAVERSE_PASSWORD="")
    assert "DATAVERSE_AUTH" in problem
    assert "managed_identity" in problem


def test_a_foreign_host_is_told_together_with_everything_else() -> None:
    told = refused(DATAVERSE_URL="https://contoso.example.com", DATAVERSE_PASSWORD="", DATAVERSE_TENANT_ID="common")
    assert len(told) == 3
    assert any("contoso.example.com is no Dynamics host" in line for line in told)


@pytest.mark.parametrize("name", ["ServiceBusConnection", "CHANGES_SEND_CONNECTION"])
@pytest.mark.parametrize(
    "given",
    [
        "sb-s3cret-0004", BUS.replace("Endpoint=", "Address="),
        BUS.replace("sb://contoso.servicebus.windows.net/", ""), BUS.replace("sb://contoso", "sb://<namespace>"),
        BUS.replace("SharedAccessKeyName=k;", ""), BUS.partition(";SharedAccessKey=")[0],
        "AccountName=a;AccountKey=st-s3cret-0005",
    ],
)  # fmt: skip
def test_what_is_no_connection_string_is_refused_without_being_shown(name: str, given: str) -> None:
    (problem,) = refused(**{name: given})
    assert f"{name}: must be a connection string, Endpoint=sb://" in problem


@pytest.mark.parametrize(
    "given",
    [
        BUS,
        f"{BUS}=;",
        BUS.replace("Endpoint", "endpoint"),
        "Endpoint=sb://localhost:5672;SharedAccessKeyName=k;SharedAccessKey=eA==;UseDevelopmentEmulator=true;",
    ],
)
@pytest.mark.parametrize("name", ["ServiceBusConnection", "CHANGES_SEND_CONNECTION"])
def test_connection_strings_are_taken_as_they_are(name: str, given: str) -> None:
    taken = loaded(**{name: given})
    connection = taken.bus.connection if name == "ServiceBusConnection" else taken.registration.send_connection
    assert connection.get_secret_value() == given


def test_the_apps_own_connection_opens_more_than_one_queue() -> None:
    of_a_queue = f"{BUS};EntityPath=dynamics-changes"
    assert loaded(CHANGES_SEND_CONNECTION=of_a_queue).registration.send_connection.get_secret_value() == of_a_queue
    (problem,) = refused(ServiceBusConnection=of_a_queue)
    assert "EntityPath" in problem
