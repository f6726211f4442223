"""What an operator does about each refusal of Entra: AADSTS number → one sentence (dataverse.md 6.3).

Programmes are to branch on `error`; the numbers are for people, and may change.
"""

from __future__ import annotations

_OR_APPLICATION = "or sign in without a user, DATAVERSE_AUTH=client_secret or certificate"

REMEDIES = {
    # the user
    50126: "user name or password is wrong: check DATAVERSE_USERNAME (the UPN, user@domain) and DATAVERSE_PASSWORD",
    50034: "this tenant has no such user: check DATAVERSE_USERNAME (the UPN, user@domain) and the tenant",
    51004: "the user is not in this tenant's directory: check DATAVERSE_USERNAME and the tenant, guests cannot sign in",
    50053: "the account is locked after too many refused sign-ins: unlock it, then check DATAVERSE_PASSWORD",
    50055: "the password has expired: set a new one, and exclude the sync user from password expiry",
    50056: "the account has no password in Entra: set one, or use a cloud-only account",
    50057: "the account is disabled: enable it in Entra",
    50105: "the sync user is not assigned to the enterprise application: assign it, or demand no assignment",
    # multi-factor authentication and policies
    50072: f"the user must first enrol in MFA: exclude the sync user from MFA, {_OR_APPLICATION}",
    50074: f"strong authentication is demanded: exclude the sync user from MFA, {_OR_APPLICATION}",
    50076: f"MFA is demanded by a policy or for this location: exclude the sync user from it, {_OR_APPLICATION}",
    50078: f"the user's MFA has expired, and only a person can renew it: exclude the user from MFA, {_OR_APPLICATION}",
    50079: f"the administrator demands enrolment in MFA: exclude the sync user from it, {_OR_APPLICATION}",
    50158: f"a Conditional Access policy demands an external check: exclude the sync user from it, {_OR_APPLICATION}",
    53003: f"a Conditional Access policy blocks the sign-in: exclude the sync user from it, {_OR_APPLICATION}",
    530035: "security defaults block the sign-in: replace them by Conditional Access without the sync user, "
    + _OR_APPLICATION,
    # the app registration
    65001: "consent is missing: grant admin consent for Dynamics CRM user_impersonation to the app registration",
    700016: "this tenant does not know the application: check DATAVERSE_CLIENT_ID and DATAVERSE_TENANT_ID",
    7000112: "the application is disabled in this tenant: enable its enterprise application",
    7000229: "the application has no enterprise application in this tenant: add it there (grant admin consent once)",
    # its secret
    7000215: "DATAVERSE_CLIENT_SECRET is wrong: use the secret's value, not its id",
    7000218: "the app registration demands a secret or certificate: set DATAVERSE_CLIENT_SECRET",
    7000222: "DATAVERSE_CLIENT_SECRET has expired: create a new secret in the app registration and set its value",
    # its certificate
    50012: "Entra could not verify the certificate's signature: upload the certificate of DATAVERSE_CLIENT_CERTIFICATE "
    "to the app registration",
    700021: "the certificate's assertion names another application: check DATAVERSE_CLIENT_ID",
    700023: "the certificate's assertion is for another tenant: check DATAVERSE_TENANT_ID and DATAVERSE_AUTHORITY",
    700024: "the certificate's assertion is not valid at this time: set this machine's clock right",
    700027: "the app registration does not know the certificate, or it has expired there: upload the public part of "
    "DATAVERSE_CLIENT_CERTIFICATE under Certificates & secrets",
    7000214: "the certificate has been revoked: make a new one, upload it to the app registration and set "
    "DATAVERSE_CLIENT_CERTIFICATE",
    # tenant, address, frequency
    50059: "the sign-in names no tenant: set DATAVERSE_TENANT_ID",
    50128: "the domain belongs to no tenant: check DATAVERSE_TENANT_ID and the domain of DATAVERSE_USERNAME",
    90002: "there is no such tenant: check DATAVERSE_TENANT_ID",
    50194: "the app registration is single tenant: set DATAVERSE_TENANT_ID to the tenant that it is in",
    500011: "this tenant has no environment at DATAVERSE_URL: check it and DATAVERSE_TENANT_ID",
    70011: "Entra cannot read the scope made of DATAVERSE_URL: it must be the environment's root, https://<org>.crm<n>."
    "dynamics.com",
    28002: "Entra does not accept the scope made of DATAVERSE_URL: check that it is the environment's own address",
    50196: "Entra saw too many sign-ins in a row: wait some minutes, and see that no other program uses this account",
}

MANAGED_IDENTITY = (
    "switch the app's managed identity on; DATAVERSE_CLIENT_ID must be empty for the system-assigned one, or the "
    "client id of a user-assigned one that the app has; and check DATAVERSE_URL"
)
UNKNOWN = "see the code in Microsoft's list of AADSTS codes"


def refusal(error: str, numbers: list[int], *, managed_identity: bool = False) -> tuple[str, str]:
    """A refusal's code and its sentence. `error` is the word of OAuth, `numbers` are Entra's (there may be none)."""
    fallback = MANAGED_IDENTITY if managed_identity else UNKNOWN
    number = next((n for n in numbers if n in REMEDIES), numbers[0] if numbers else None)
    code = error if number is None else f"AADSTS{number}"
    return (
        code,
        f"Entra refused the sign-in ({error}): {fallback if number is None else REMEDIES.get(number, fallback)}",
    )
