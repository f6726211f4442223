"""The five objects and their fields, as describe reports them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from emulators.marketo.fields import Field

LEADS = "leads"
COMPANIES = "companies"
SALES_PERSONS = "salespersons"
OPPORTUNITIES = "opportunities"
ROLES = "roles"


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One object: how it is named, keyed and searched.

    `default_fields` are what a query returns without `fields`; empty means every field that has a value.
    """

    name: str
    path: str
    label: str
    id_field: str
    dedupe_fields: tuple[str, ...]
    fields: tuple[Field, ...]
    default_fields: tuple[str, ...]
    extensible: bool = True

    @property
    def is_lead(self) -> bool:
        """Leads speak a dialect of their own: lookupField instead of dedupeBy, and no seq."""
        return self.name == LEADS


def _some(names: str, data_type: str = "string", length: int | None = 255, *, writable: bool = True) -> Iterator[Field]:
    for name in names.split():
        yield Field(name, data_type, length, writable=writable)


def _key(name: str, data_type: str = "string", length: int | None = 50, *, searchable: bool = True) -> Field:
    return Field(name, data_type, length, updateable=False, searchable=searchable)


def _system(names: str, data_type: str, length: int | None = None, *, searchable: bool = False) -> Iterator[Field]:
    for name in names.split():
        yield Field(name, data_type, length, updateable=False, writable=False, searchable=searchable)


_COMPANY_FIELDS = (
    Field("company", "string", 255, display_name="Company Name"),
    *_some("site billingCity billingState billingCountry billingPostalCode mainPhone industry"),
    *_some("billingStreet mktoCompanyNotes", "text", None),
    Field("website", "url", 255),
    Field("annualRevenue", "currency"),
    Field("numberOfEmployees", "integer"),
    Field("sicCode", "string", 40),
)

_LEAD_FIELDS = (
    # The id identifies a lead in updateOnly calls, so describe does not call it read-only.
    Field("id", "integer", writable=False, searchable=True),
    Field("email", "email", 255, searchable=True, display_name="Email Address"),
    *_some("salutation firstName middleName lastName title department city state country postalCode"),
    *_some("leadSource leadStatus rating"),
    *_some("phone mobilePhone fax", "phone"),
    Field("dateOfBirth", "date"),
    *_some("address mktoPersonNotes", "text", None),
    Field("leadRole", "string", 50),
    Field("leadScore", "integer"),
    Field("externalCompanyId", "string", 50, searchable=True),
    Field("externalSalesPersonId", "string", 50, searchable=True),
    # Described as updateable, but calculated by Sales Insight.
    *_some("priority relativeScore relativeUrgency", "integer", None, writable=False),
    Field("urgency", "float", writable=False),
    *_some("unsubscribed emailInvalid doNotCall marketingSuspended blackListed", "boolean", None),
    *_some("unsubscribedReason doNotCallReason", "string", 2000),
    *_system("createdAt updatedAt", "datetime"),
    *_system(
        "mktoName personTimeZone originalSourceType originalSourceInfo inferredCompany inferredCountry", "string", 255
    ),
    *_system("leadPartitionId acquisitionProgramId", "reference"),
    *(replace(field, of_company=True) for field in _COMPANY_FIELDS),
)

# What Marketo adds to the lead when the feature "MSI Non-Native" is switched on.
_MSI_FIELDS = (
    Field("externalPersonId", "string", 255, searchable=True, display_name="External Person Id"),
    *_some("msiLastInterestingMomentType msiLastInterestingMomentSource", "string", 255, writable=False),
    Field("msiLastInterestingMomentDesc", "text", writable=False),
    Field("msiLastInterestingMomentDate", "datetime", writable=False),
)

_SALES_PERSON = ObjectType(
    SALES_PERSONS,
    "/rest/v1/salespersons",
    "SalesPerson",
    "id",
    ("externalSalesPersonId",),
    (
        *_system("id", "integer", searchable=True),
        *_system("createdAt updatedAt", "datetime"),
        Field("email", "string", 255, updateable=False, searchable=True, holds_email=True),
        _key("externalSalesPersonId", length=255),
        *_some("firstName lastName phone mobilePhone fax title department personType"),
        Field("isEmployee", "boolean"),
    ),
    (),
    extensible=False,
)

_COMPANY = ObjectType(
    COMPANIES,
    "/rest/v1/companies",
    "Company",
    "id",
    ("externalCompanyId",),
    (
        *_system("id", "integer", searchable=True),
        *_system("createdAt updatedAt", "datetime"),
        _key("externalCompanyId", length=100),
        Field("externalSalesPersonId", "string", 255, searchable=True),
        *(replace(field, searchable=field.name == "company") for field in _COMPANY_FIELDS),
    ),
    ("id", "externalCompanyId", "updatedAt", "createdAt"),
)

_OPPORTUNITY = ObjectType(
    OPPORTUNITIES,
    "/rest/v1/opportunities",
    "Opportunity",
    "marketoGUID",
    ("externalOpportunityId",),
    (
        *_system("marketoGUID", "string", 36, searchable=True),
        *_system("createdAt updatedAt", "datetime"),
        _key("externalOpportunityId"),
        Field("name", "string", 255, required=True),
        Field("description", "string", 2000),
        *_some("type stage source leadSource nextStep forecastCategory forecastCategoryName"),
        *_some("fiscal fiscalQuarter fiscalYear"),
        Field("externalCompanyId", "string", 100, searchable=True),
        Field("externalSalesPersonId", "string", 255, searchable=True),
        *_some("amount expectedRevenue", "currency", None),
        Field("quantity", "float"),
        Field("probability", "percent"),
        *_some("isClosed isWon", "boolean", None),
        Field("closeDate", "date"),
        *_some("externalCreatedDate lastActivityDate", "datetime", None),
    ),
    ("marketoGUID", "externalOpportunityId", "updatedAt", "createdAt"),
)

_ROLE = ObjectType(
    ROLES,
    "/rest/v1/opportunities/roles",
    "Opportunity Role",
    "marketoGUID",
    ("externalOpportunityId", "leadId", "role"),
    (
        *_system("marketoGUID", "string", 36, searchable=True),
        _key("externalOpportunityId"),
        _key("leadId", "integer", None),
        _key("role", searchable=False),
        Field("isPrimary", "boolean"),
        Field("externalCreatedDate", "datetime"),
    ),
    ("marketoGUID", "externalOpportunityId", "leadId", "role"),
    extensible=False,
)


def object_types(*, msi: bool, relative_score: str = "relativeScore") -> dict[str, ObjectType]:
    """Return the objects by name, with or without Sales Insight's fields on the lead.

    Adobe's guide calls `relativeScoring` what live instances call `relativeScore`; `relative_score` says which it is.
    """
    fields = (*_LEAD_FIELDS, *_MSI_FIELDS) if msi else _LEAD_FIELDS
    lead = ObjectType(
        LEADS,
        "/rest/v1/leads",
        "API Lead",
        "id",
        ("email",),
        tuple(replace(field, name=relative_score) if field.name == "relativeScore" else field for field in fields),
        ("id", "email", "updatedAt", "createdAt", "firstName", "lastName"),
    )
    return {kind.name: kind for kind in (_SALES_PERSON, _COMPANY, lead, _OPPORTUNITY, _ROLE)}
