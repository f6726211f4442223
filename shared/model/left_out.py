"""A field that was left out of a record on its way to Marketo, and why: never with the value itself."""

from __future__ import annotations

from dataclasses import dataclass

#: Reasons of the mapping that say: what the row has is no value of this field. With `refused = "clear"` the one that
#: Marketo has goes then. Not among them: yes or no, for an empty one means no.
NO_VALUE = frozenset({"NotAnAddress", "NotAWebAddress", "NotANumber", "NotADate", "OutOfRange", "TooLong"})

#: A field of the company that a person is linked to: it is the company's to say.
COMPANY_FIELD = "CompanyField"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One field of one record that was not sent, though the row has something for it.

    `field` is Marketo's name of it. `code` says who left it out: a reason of the mapping, such as "NotBoolean", or
    Marketo's own code, such as "1003". `reason` is a sentence for people. `value_class` is what the value looks like,
    such as "text of 12 characters": the value is never kept, so all of this may be logged, stored and shown.
    """

    field: str
    code: str
    reason: str
    value_class: str = ""

    @property
    def by_marketo(self) -> bool:
        """Whether Marketo has refused it, and not the mapping."""
        return self.code.isdigit()

    def __str__(self) -> str:
        return f"{self.field} ({self.code}: {', '.join(filter(None, (self.reason, self.value_class)))})"


def of_company(name: str) -> LeftOut:
    """A field of the company that a person is linked to in Marketo, which takes it through the company alone."""
    reason = "a field of the company that the person is linked to in Marketo: map it in [account.fields]"
    return LeftOut(name, "CompanyField", reason, "a value")
