"""Who is who in the simulated environment: the values that the stack, the demo and the tests configure clients with."""

from typing import Final

ORGANIZATION_HOST: Final = "contoso.crm4.dynamics.com"
ORGANIZATION_URL: Final = f"https://{ORGANIZATION_HOST}"
API_URL: Final = f"{ORGANIZATION_URL}/api/data/v9.2/"
LOGIN_HOST: Final = "login.microsoftonline.com"

TENANT_ID: Final = "7c1e0a94-3d52-4f6b-9a87-21b5f0c6de38"
TENANT_DOMAIN: Final = "contoso.onmicrosoft.com"
CLIENT_ID: Final = "b64f2d1c-58e3-4a0d-8c39-e7a2f91b5d06"
CLIENT_SECRET: Final = "Qv8~local-stack-client-secret-value"
USERNAME: Final = "marketo.sync@contoso.onmicrosoft.com"
PASSWORD: Final = "local-Stack-passw0rd"
MANAGED_IDENTITY_CLIENT_ID: Final = "2f7c90e1-6b1d-4e58-b3a4-90d8c5e7f124"
IDENTITY_PATH: Final = "/identity/token"
IDENTITY_HEADER: Final = "9D1F4C6B2A7E4D0385F6B1C0E2A94D77"

ORGANIZATION_ID: Final = "3a6c9d12-7b4d-ee11-a81c-000d3a4f77c1"
ORGANIZATION_UNIQUE_NAME: Final = "unq3a6c9d127b4dee11a81c000d3a4f7"
ORGANIZATION_NAME: Final = "Contoso Production"
ENVIRONMENT_ID: Final = "8e1c7f20-5a3b-4d69-9c84-2f7b6e0d77a1"
BUSINESS_UNIT_ID: Final = "5d0f3c8a-8b4d-ee11-be6f-000d3a4f77c1"
CURRENCY_ID: Final = "1b9f4d60-8c4d-ee11-be6f-000d3a4f77c1"

SYNC_USER_ID: Final = "c1a85f07-a34d-ee11-be6f-000d3a4f77c1"
APPLICATION_USER_ID: Final = "c1a85f08-a34d-ee11-be6f-000d3a4f77c1"
MANAGED_IDENTITY_USER_ID: Final = "c1a85f0a-a34d-ee11-be6f-000d3a4f77c1"

EMPTY_ID: Final = "00000000-0000-0000-0000-000000000000"
