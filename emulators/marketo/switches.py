"""What the vendor's documents leave open, and how an instance is set up: switchable while the simulator runs."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from emulators.marketo.fields import Strictness
from emulators.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ROLES, SALES_PERSONS

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
    "company_fields_on_lead": ("skip", "shared"),
    "beyond_basic_plane": ("cut", "keep"),
    "sales_person_email_format": ("skip", "accept"),
    "same_lead_key_in_call": ("duplicate", "update"),
    "delete_with_children": ("refuse", "allow"),
    "relative_score_field": ("relativeScore", "relativeScoring"),
}
_OBJECTS = frozenset({LEADS, COMPANIES, SALES_PERSONS, OPPORTUNITIES, ROLES})
# What the switches that list objects may name. The activity log has a permission of its own.
_LISTABLE = {
    "denied_objects": _OBJECTS | {"activities"},
    "read_only_objects": _OBJECTS,
    "token_on_last_page": _OBJECTS,
}


@dataclass(frozen=True)
class Switches:
    """A setting of every switch. CHOICES lists the values of those that take words."""

    # The instance's set-up
    msi_non_native: bool = True
    relative_score_field: str = "relativeScore"
    native_crm_sync: bool = False
    # Objects whose API calls are denied (603): all calls, or the writes only.
    denied_objects: list[str] = field(default_factory=list)
    read_only_objects: list[str] = field(default_factory=list)
    partitions: list[str] = field(default_factory=lambda: ["Default"])
    # By object: the customer's own fields, as {"name", "dataType"} and perhaps "length" and "searchable". By default
    # those are searchable of which Marketo says so. A company's field is read through its leads, too.
    custom_fields: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    # By object: the names of fields that the instance does not have, or no longer.
    removed_fields: dict[str, list[str]] = field(default_factory=dict)

    # By how many seconds the clock is ahead, or behind if negative, in what it tells: the Date header, time stamps
    clock_offset: float = 0.0

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
    # A sales person's e-mail address that is none.
    sales_person_email_format: str = "skip"
    # What is stored of a text from its first character outside the basic plane (an emoji, say) on.
    beyond_basic_plane: str = "cut"
    unknown_query_fields: str = "fail"

    # Relations
    missing_company: str = "skip"
    missing_sales_person: str = "skip"
    opportunity_sales_person: str = "call"
    role_parent_code: str = "by_parent"
    lead_without_company: str = "ignore"
    # A company's field written through a lead that is linked to one: 1021, or the company that all its leads share.
    company_fields_on_lead: str = "skip"
    delete_with_children: str = "refuse"

    # Keys and pages
    same_lead_key_in_call: str = "duplicate"
    # Entries of the activity log that one page looks through: the fewer, the more pages are empty.
    activities_examined_per_page: int = 3000
    # Objects whose last page still carries a nextPageToken; a recorded answer for companies did.
    token_on_last_page: list[str] = field(default_factory=lambda: [COMPANIES])

    @property
    def strictness(self) -> Strictness:
        """Return how values are checked."""
        return Strictness(
            truncate=self.over_long_strings == "truncate",
            url_needs_protocol=self.url_without_protocol == "skip",
            cuts=self.beyond_basic_plane == "cut",
            checks_emails=self.sales_person_email_format == "skip",
        )

    def changed(self, wanted: dict[str, Any]) -> "Switches":
        """Return the switches with those named in `wanted` set.

        Raises:
            ValueError: a switch or value that does not exist.
        """
        known = {entry.name for entry in fields(self)}
        for name, value in wanted.items():
            if name not in known:
                raise ValueError(f"no switch {name!r}; there are {', '.join(sorted(known))}")
            if name in CHOICES and value not in CHOICES[name]:
                raise ValueError(f"{name} is one of {', '.join(CHOICES[name])}, not {value!r}")
            if name not in CHOICES and not _fits(value, getattr(Switches(), name), signed=name == "clock_offset"):
                raise ValueError(f"{name} cannot be {value!r}")
            if name in _LISTABLE and not _LISTABLE[name].issuperset(value):
                raise ValueError(f"{name} lists any of {', '.join(sorted(_LISTABLE[name]))}, not {value!r}")
        return replace(self, **wanted)

    def as_json(self) -> dict[str, Any]:
        """Return every switch and its value."""
        return asdict(self)


def _fits(value: Any, default: Any, *, signed: bool) -> bool:
    if default is None:
        return value is None or type(value) is int
    if isinstance(default, float):
        return type(value) in (int, float) and (signed or value >= 0)
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    if isinstance(default, dict):
        return isinstance(value, dict) and all(isinstance(entry, list) for entry in value.values())
    return type(value) is type(default)
