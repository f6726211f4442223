"""The app's settings, as its environment holds them: the least that must be set."""

QUEUE_NAMES = {
    "CHANGES_QUEUE": "dynamics-changes", "SALES_PERSON_QUEUE": "sales-persons", "COMPANY_QUEUE": "companies",
    "PERSON_QUEUE": "persons", "OPPORTUNITY_QUEUE": "opportunities", "OPPORTUNITY_ROLE_QUEUE": "opportunity-roles",
    "DEAD_LETTER_QUEUE": "dead-letters",
}  # fmt: skip
SECRETS = {
    "DATAVERSE_CLIENT_SECRET": "dv-s3cret-0001",
    "DATAVERSE_PASSWORD": "dv-pa55word-s3cret-0002",
    "MARKETO_CLIENT_SECRET": "mk-s3cret-0003",
    "ServiceBusConnection": "Endpoint=sb://x/;SharedAccessKeyName=k;SharedAccessKey=sb-s3cret-0004",
    "AzureWebJobsStorage": "AccountName=a;AccountKey=st-s3cret-0005",
}
ENVIRONMENT = {
    **SECRETS, "DATAVERSE_URL": "https://contoso.crm4.dynamics.com", "DATAVERSE_CLIENT_ID": "app",
    "DATAVERSE_USERNAME": "sync@contoso.com", "MARKETO_URL": "https://123-abc-456.mktorest.com",
    "MARKETO_CLIENT_ID": "service", **QUEUE_NAMES,
}  # fmt: skip
