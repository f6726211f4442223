"""The AADSTS errors that the simulated sign-in can answer with."""

from collections.abc import Mapping
from typing import Final


class SignInError(Exception):
    """A refused sign-in, by its AADSTS number."""

    def __init__(self, number: int, **details: str) -> None:
        super().__init__(number)
        self.number = number
        self.details = details


# AADSTS code -> HTTP status, `error`, `suberror`, text.
ERRORS: Final[Mapping[int, tuple[int, str, str | None, str]]] = {
    28002: (400, "invalid_scope", None, "The provided value for the input parameter 'scope' is not valid."),
    50027: (401, "invalid_client", None, "JWT token is invalid or malformed. {reason}"),
    50034: (
        400,
        "invalid_grant",
        None,
        "The user account {{EUII Hidden}} does not exist in the {tenant} directory. To sign into this application, the "
        "account must be added to the directory.",
    ),
    50053: (
        400,
        "invalid_grant",
        None,
        "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.",
    ),
    50055: (400, "invalid_grant", "user_password_expired", "The password is expired."),
    50056: (400, "invalid_grant", None, "Invalid or null password: password does not exist in the directory."),
    50057: (400, "invalid_grant", None, "The user account is disabled."),
    50059: (400, "invalid_request", None, "No tenant-identifying information found in either the request."),
    50072: (
        400,
        "invalid_grant",
        "basic_action",
        "You must enroll in multi-factor authentication to access '{resource}'.",
    ),
    50074: (400, "invalid_grant", "basic_action", "Strong Authentication is required."),
    50076: (
        400,
        "invalid_grant",
        "basic_action",
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must "
        "use multi-factor authentication to access '{resource}'.",
    ),
    50078: (400, "invalid_grant", "basic_action", "Presented multi-factor authentication has expired."),
    50079: (400, "invalid_grant", "basic_action", "You must enroll in multi-factor authentication."),
    50105: (400, "invalid_grant", None, "Your administrator has configured the application to block users."),
    50126: (400, "invalid_grant", None, "Error validating credentials due to invalid username or password."),
    50158: (400, "invalid_grant", "basic_action", "External security challenge not satisfied."),
    50194: (
        400,
        "invalid_request",
        None,
        "Application '{client}' is not configured as a multi-tenant application. Usage of the /common endpoint is not "
        "supported for such apps.",
    ),
    50196: (400, "invalid_grant", None, "The server terminated an operation because it found a client request loop."),
    51004: (400, "invalid_grant", None, "The user account does not exist in the {tenant} directory."),
    53003: (400, "invalid_grant", "message_only", "Access has been blocked by Conditional Access policies."),
    530035: (400, "invalid_grant", None, "Access has been blocked by security defaults."),
    65001: (
        400,
        "invalid_grant",
        "consent_required",
        "The user or administrator has not consented to use the application with ID '{client}'. Send an interactive "
        "authorization request for this user and resource.",
    ),
    70000: (400, "invalid_grant", "bad_token", "The provided value for the 'refresh_token' parameter is not valid."),
    70003: (400, "unsupported_grant_type", None, "The app requested an unsupported grant type '{grant}'."),
    70011: (400, "invalid_scope", None, "The provided value for the input parameter 'scope' is not valid. {scope}"),
    90002: (
        400,
        "invalid_request",
        None,
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID.",
    ),
    90019: (400, "invalid_request", None, "No tenant-identifying information found."),
    500011: (
        400,
        "invalid_resource",
        None,
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the "
        "application has not been installed by the administrator of the tenant.",
    ),
    700016: (
        400,
        "unauthorized_client",
        None,
        "Application with identifier '{client}' was not found in the directory '{tenant}'.",
    ),
    700021: (
        401,
        "invalid_client",
        None,
        "Client assertion application identifier doesn't match 'client_id' parameter.",
    ),
    700023: (401, "invalid_client", None, "Client assertion audience claim does not match Realm issuer."),
    700024: (
        401,
        "invalid_client",
        None,
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {start}, "
        "expiry time of assertion {end}.",
    ),
    700027: (
        401,
        "invalid_client",
        None,
        "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - "
        "{reason}, Thumbprint of key used by client: '{thumbprint}', Please visit the Azure Portal, Graph Explorer or "
        "directly use MS Graph to see configured keys for app Id '{client}'.]",
    ),
    5002723: (
        401,
        "invalid_client",
        None,
        "Invalid JWT token. No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId specified in "
        "token header.",
    ),
    7000215: (
        401,
        "invalid_client",
        None,
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not "
        "the client secret ID, for a secret added to app '{client}'.",
    ),
    7000218: (
        401,
        "invalid_client",
        None,
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    7000222: (401, "invalid_client", None, "The provided client secret keys for app '{client}' are expired."),
    900144: (400, "invalid_request", None, "The request body must contain the following parameter: '{parameter}'."),
    1002012: (
        400,
        "invalid_scope",
        None,
        "The provided value for scope {scope} is not valid. It must end in '/.default'.",
    ),
}
