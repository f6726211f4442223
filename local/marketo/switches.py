"""What the vendor's documents leave open, and how an instance is set up: switchable while the simulator runs."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from local.marketo.fields import Strictness
from local.marketo.objects import COMPANIES

CHOICES: dict[str, tuple[str, ...]] = {
    "over_long_strings": ("skip", "truncate"),
    "read_only_fields": ("skip", "ignore"),
    "sales_person_email_change": ("accept", "skip", "ignore"),
    "url_without_protocol": ("accept", "skip"),
    "unknown_query_fields": ("fail", "ignore"),
    "missing_company": ("skip", "ignore", "implicit"),
    "missing_sales_person": ("skip", "ignore", "implicit"),
    "opportunity_sales_person": ("call", "record"),
    "role_parent_code": ("by_parent", "1003", "1004", "1013"),
    "lead_without_company": ("ignore", "unlink"),
    "same_lead_key_in_call": ("duplicate", "update"),
    "delete_with_children": ("refuse", "allow"),
    "relative_score_field": ("relativeScore", "relativeScoring"),
}
_SCHEMA_SWITCHES = {"msi_non_native", "relative_score_field", "over_long_strings", "url_without_protocol"}


@dataclass
class Switches:
    """The present setting of every switch. CHOICES lists the values of those that take words."""

    # The instance's set-up
    msi_non_native: bool = True
    relative_score_field: str = "relativeScore"
    native_crm_sync: bool = False
    # Objects whose API calls are denied (603): all calls, or the writes only.
    denied_objects: list[str] = field(default_factory=list)
    read_only_objects: list[str] = field(default_factory=list)
    partitions: list[str] = field(default_factory=lambda: ["Default"])

    # Tokens: what identity reports as expires_in (None: the truth), and how long new tokens live
    reported_expires_in: int | None = None
    token_lifetime: float = 3600.0

    # How long a call executes
    write_latency_ms: float = 50.0
    write_latency_ms_per_record: float = 0.2
    read_latency_ms: float = 20.0

    # Values
    over_long_strings: str = "skip"
    read_only_fields: str = "skip"
    sales_person_email_change: str = "accept"
    url_without_protocol: str = "accept"
    unknown_query_fields: str = "fail"

    # Relations
    missing_company: str = "skip"
    missing_sales_person: str = "skip"
    opportunity_sales_person: str = "call"
    role_parent_code: str = "by_parent"
    lead_without_company: str = "ignore"
    delete_with_children: str = "refuse"

    # Keys and pages
    same_lead_key_in_call: str = "duplicate"
    # Objects whose last page still carries a nextPageToken; a recorded answer for companies did.
    token_on_last_page: list[str] = field(default_factory=lambda: [COMPANIES])

    @property
    def strictness(self) -> Strictness:
        """Return how values are checked."""
        return Strictness(
            truncate=self.over_long_strings == "truncate", url_needs_protocol=self.url_without_protocol == "skip"
        )

    def change(self, wanted: dict[str, Any]) -> bool:
        """Set the switches named in `wanted`, all or none; return whether the fields must be built anew.

        Raises:
            ValueError: a switch or value that does not exist.
        """
        known = {entry.name for entry in fields(self)}
        for name, value in wanted.items():
            if name not in known:
                raise ValueError(f"no switch {name!r}; there are {', '.join(sorted(known))}")
            if name in CHOICES and value not in CHOICES[name]:
                raise ValueError(f"{name} is one of {', '.join(CHOICES[name])}, not {value!r}")
            if name not in CHOICES and not _fits(value, getattr(Switches(), name)):
                raise ValueError(f"{name} cannot be {value!r}")
        for name, value in wanted.items():
            setattr(self, name, value)
        return not _SCHEMA_SWITCHES.isdisjoint(wanted)

    def as_json(self) -> dict[str, Any]:
        """Return every switch and its value."""
        return asdict(self)


def _fits(value: Any, default: Any) -> bool:
    if default is None:
        return value is None or type(value) is int
    if isinstance(default, float):
        return type(value) in (int, float) and value >= 0
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    return type(value) is type(default)
