"""The names of the queues."""

from shared.config.settings import QueueSettings

QUEUES = QueueSettings.model_validate(
    {
        "CHANGES_QUEUE": "changes", "SALES_PERSON_QUEUE": "sellers", "COMPANY_QUEUE": "companies",
        "PERSON_QUEUE": "persons", "OPPORTUNITY_QUEUE": "deals", "OPPORTUNITY_ROLE_QUEUE": "roles",
        "DEAD_LETTER_QUEUE": "dead-letters",
    }
)  # fmt: skip
