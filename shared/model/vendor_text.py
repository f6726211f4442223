"""Vendors' error texts in our own words: codes, names that we have sent, and fixed phrases.

Vendors quote the values that they refuse, and a value may contain anything. So no vendor's text is passed on as it is.
A text of a known form is rewritten, with the kind of the value instead of the value. Of any other text, what remains is
the meaning of its code, and those names in it that the call has sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from .codes import DATAVERSE, MARKETO, Code
from .ids_and_times import GUID
from .text import without_invisible

_NAME = r"[A-Za-z_][A-Za-z0-9_.]{0,99}"
#: Tables in the names of privileges.
_TABLES = (
    *("Account", "Contact", "Lead", "Opportunity", "Connection", "ConnectionRole", "CustomerOpportunityRole", "User"),
    *("Team", "Role", "BusinessUnit", "Organization", "Entity", "Attribute", "OptionSet", "Relationship"),
    *("SdkMessage", "SdkMessageProcessingStep", "SdkMessageProcessingStepImage", "ServiceEndpoint", "PluginType"),
    *("PluginAssembly", "AsyncOperation", "FieldSecurityProfile", "Customization"),
)
_REQUEST_ID = re.compile(r"[0-9A-Za-z#._-]{1,64}")
_MARKETO_CODE = re.compile(r"[0-9]{1,6}")
_DATAVERSE_CODE = re.compile(r"0x[0-9a-f]{8}")
_WITHHELD = "{} says more, which may quote values and is not kept"

#: Known forms of texts, and how they are rewritten. `field`: a name that was sent; `value`: replaced by its kind. Any
#: other group has a shape that no value of a record has.
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(form, re.DOTALL | re.IGNORECASE), told)
    for form, told in (
        (
            rf"Invalid value for (?:field ')?(?P<field>{_NAME})'? and value '(?P<value>.*)'",
            "Invalid value for {field}: {value}",
        ),
        (rf"Invalid value for field '(?P<field>{_NAME})'.*", "Invalid value for {field}"),
        (
            r"Invalid value '(?P<value>.*)'[.,]? *Required of type '(?P<type>integer|long|float|number|boolean|string|"
            r"date|datetime|email|currency|percent|phone|url|text|score|reference)'",
            "Invalid value, required of type '{type}': {value}",
        ),
        (rf"Lookup field '(?P<field>{_NAME})' not (?P<what>found|supported)", "Lookup {field} not {what}"),
        (rf"Field '(?P<field>{_NAME})' not (?P<what>found|supported|updateable)", "{Field} not {what}"),
        (rf"Invalid data: field '(?P<field>{_NAME})' is not updateable", "Invalid data: {field} is not updateable"),
        (rf"Missing value for required parameter '(?P<field>{_NAME})'", "Missing value for required parameter {field}"),
        (rf"(?P<field>{_NAME}) cannot be blank", "{Field} cannot be blank"),
        (
            rf"Could not find a property named '(?P<field>{_NAME})' on type .*",
            "Could not find a property named {field}",
        ),
        (r".*Could not find a property.*", "Could not find a property"),
        (
            rf"A validation error occurred\. The length of the '(?P<field>{_NAME})' attribute of the '[^']*' entity "
            r"exceeded the maximum allowed length of '(?P<length>\d{1,9})'\.?",
            "The text of {field} exceeds the maximum length of {length}",
        ),
        (
            rf"A validation error occurred\. The value (?P<value>.*) of '(?P<field>{_NAME})' on record of type .*",
            "A value of {field} is outside the valid range: {value}",
        ),
        (rf"Attribute '(?P<field>{_NAME})' cannot be NULL\.?", "{Field} cannot be empty"),
        (
            r".*\b(?P<right>prv(?:Read|Write|Create|Delete|AppendTo|Append|Assign|Share)(?:"
            rf"{'|'.join(_TABLES)}))\b.*",
            "The user is missing the privilege {right}; add it to the security role",
        ),
        (
            r".*\bdoes not have (?P<right>(?:Read|Write|Create|Delete|Append|AppendTo|Assign|Share)Access) "
            rf"right\(s\) for record with id (?P<id>{GUID}).*",
            "The user does not have {right} for the row {id}",
        ),
        (rf".*\bWith Id ?= ?(?P<id>{GUID}) Does Not Exist.*", "The row {id} does not exist"),
        (
            r"Max rate limit '(?P<n>\d{1,6})' exceeded with ?in '(?P<s>\d{1,4})' secs",
            "Max rate limit {n} exceeded within {s} s",
        ),
        (r"Too many results match the filter", "Too many results match the filter"),
        (r"Too many jobs.*", "Too many jobs in queue"),
        (r"Export daily quota.*", "Export daily quota exceeded"),
        (r"Invalid nextPageToken", "Invalid nextPageToken"),
        (r"(?:Object|Record) not found", "Object not found"),
    )
)  # fmt: skip
#: What a value looks like.
_CLASSES = (
    (re.compile(r"[-+]?\d+"), "a whole number"),
    (re.compile(r"[-+]?\d*[.,]\d+(?:[eE][-+]?\d+)?"), "a number"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ].*)?"), "a date"),
    (re.compile(r"[^\s@<>]+@[^\s@<>]+"), "an e-mail address"),
    (re.compile(r".*(?:<.*@|@.*<).*", re.DOTALL), "a name with an e-mail address"),
)


def marketo(code: str, text: str, names: Collection[str] = ()) -> str:
    """Marketo's text for this code, rewritten. `names`: the fields that the call named, the only ones quoted."""
    return _told(text, names) or _meaning(MARKETO, code, "Marketo", text, names)


def dataverse(code: str, text: str, names: Collection[str] = ()) -> str:
    """The same of Dataverse; `code` is normalised."""
    return _told(text, names) or _meaning(DATAVERSE, code, "Dataverse", text, names)


def marketo_code(given: object) -> str:
    """A code of Marketo's: digits, else "unknown"."""
    return str(given) if _MARKETO_CODE.fullmatch(str(given)) else "unknown"


def dataverse_code(normalised: str) -> str:
    """A code of Dataverse's; empty for anything else."""
    return normalised if _DATAVERSE_CODE.fullmatch(normalised) else ""


def request_id(given: object) -> str:
    """The id that the vendor's support asks for; empty if it has another shape."""
    return str(given) if _REQUEST_ID.fullmatch(str(given or "")) else ""


def kind_of_value(value: str) -> str:
    """What an operator may see of a refused value: its kind, its length, and that it has invisible characters."""
    if not value:
        return "empty"
    looks_like = next((name for form, name in _CLASSES if form.fullmatch(value.strip())), "text")
    facts = [f"{looks_like} of {len(value)} character{'s' * (len(value) != 1)}"]
    if value != value.strip():
        facts.append("blanks around it")
    if "\n" in value or "\r" in value:
        facts.append("several lines")
    if without_invisible(value) != value:
        facts.append("invisible characters")
    elif not value.isascii():
        facts.append("not only ASCII")
    return ", ".join(facts)


def _told(text: str, names: Collection[str]) -> str:
    known = {name.lower(): f"field '{name}'" for name in names}
    for form, told in _FORMS:
        match = form.fullmatch(text.strip())
        if match:
            groups = match.groupdict(default="")
            field = known.get(groups.get("field", "").lower(), "a field")  # what was not sent may be a value
            kind = kind_of_value(groups.get("value", ""))
            return told.format_map({**groups, "field": field, "Field": field[:1].upper() + field[1:], "value": kind})
    return ""


def _meaning(table: Mapping[str, Code], code: str, system: str, text: str, names: Collection[str]) -> str:
    """A code's meaning, with those names of the call that the text quotes."""
    meaning = table[code].meaning if code in table else ""
    told = meaning or (f"{system} gives no known reason" if text else f"{system} gives no reason")
    if not text.strip() or text.strip().rstrip(".").lower() == meaning.lower():
        return told
    known = {name.lower(): name for name in names}
    quoted = (found.group(1).lower() for found in re.finditer(rf"['\"\[]({_NAME})['\"\]]", text))
    fields = ", ".join(dict.fromkeys(f"field '{known[name]}'" for name in quoted if name in known))
    return ": ".join(filter(None, (told, fields))) + ("" if meaning and fields else f" ({_WITHHELD.format(system)})")
