"""Tables that sales works with: account, lead, contact, opportunity."""

from typing import Final

from emulators.dataverse.columns import Column, Kind, Table
from emulators.dataverse.tables.build import (
    STATES_ACTIVE,
    address,
    allow,
    choice,
    customer,
    day,
    derived,
    flag,
    guid,
    lookup,
    memo,
    moment,
    money,
    number,
    owner,
    states,
    table,
    text,
)

INDUSTRIES: Final = (
    "1 Accounting|Buchhaltung; 6 Business Services|Geschäftsdienstleistungen; 7 Consulting|Beratung; "
    "15 Equipment Rental and Leasing|Vermietung und Leasing; 16 Financial|Finanzen; "
    "17 Food and Tobacco Processing|Nahrungs- und Genussmittel; 20 Insurance|Versicherung; "
    "28 Non-Durable Merchandise Retail|Einzelhandel; 33 Wholesale|Großhandel"
)
LEAD_SOURCES: Final = (
    "1 Advertisement|Anzeige; 2 Employee Referral|Empfehlung durch Mitarbeiter; "
    "3 External Referral|Externe Empfehlung; 4 Partner|Partner; 5 Public Relations|Öffentlichkeitsarbeit; "
    "6 Seminar|Seminar; 7 Trade Show|Messe; 8 Web|Web; 9 Word of Mouth|Mundpropaganda; 10 Other|Sonstige"
)
CONTACT_METHODS: Final = "1 Any|Beliebig; 2 Email|E-Mail; 3 Phone|Telefon; 4 Fax|Fax; 5 Mail|Post"
GENDERS: Final = "1 Male|Männlich; 2 Female|Weiblich"
INTERESTS: Final = (
    "100000000 Robotics|Robotik; 100000001 Sensors|Sensoren; 100000002 Logistics|Logistik; "
    "100000003 Packaging|Verpackung"
)
ACCOUNT_TYPES: Final = (
    "1 Competitor|Mitbewerber; 2 Consultant|Berater; 3 Customer|Kunde; 6 Partner|Partner; 8 Prospect|Interessent; "
    "12 Other|Sonstige"
)


# Whose deletion a customer's rows do not survive: opportunity_customer_accounts, opportunity_customer_contacts and
# lead_customer_… are parental relationships, as contact_customer_accounts is (Customizable parental relationships).
_PARENTS: Final = ("account", "contact")


def _currency() -> tuple[Column, ...]:
    return (
        lookup("transactioncurrencyid", "Currency", "transactioncurrency"),
        *derived(Column(name="exchangerate", kind=Kind.DECIMAL, label="Exchange Rate")),
    )


def _sync_flag() -> Column:
    """The guide: it must be called new_synctomkto. No default: only an explicit No means not to sync."""
    return flag("new_synctomkto", "Sync to Marketo", schema_name="new_synctomkto", default=None)


def _insight() -> tuple[Column, ...]:
    """The Sales Insight columns with the guide's labels; its `…__c` names cannot be Dataverse logical names."""
    return (
        text(
            "new_last_interesting_moment_type",
            100,
            "Last Interesting Moment Type",
            schema_name="new_Last_Interesting_Moment_Type",
        ),
        moment(
            "new_last_interesting_moment_date",
            "Last Interesting Moment Date",
            schema_name="new_Last_Interesting_Moment_Date",
        ),
        text(
            "new_last_interesting_moment_desc",
            255,
            "Last Interesting Moment Description",
            schema_name="new_Last_Interesting_Moment_Desc",
        ),
        text(
            "new_last_interesting_moment_source",
            100,
            "Last Interesting Moment Source",
            schema_name="new_Last_Interesting_Moment_Source",
        ),
        number("new_priority", "Engagement", schema_name="new_Priority"),
        number("new_urgency_value", "Relative Urgency Value", schema_name="new_Urgency_Value"),
        number("new_relative_score_value", "Relative Scoring Value", schema_name="new_Relative_Score_Value"),
    )


def _person() -> tuple[Column, ...]:
    """What lead and contact have in common."""
    return (
        text("salutation", 100, "Salutation", schema_name="Salutation"),
        text("firstname", 50, "First Name", schema_name="FirstName"),
        text("middlename", 50, "Middle Name", schema_name="MiddleName"),
        text("lastname", 50, "Last Name", schema_name="LastName"),
        *derived(text("fullname", 160, "Full Name", schema_name="FullName")),
        text("jobtitle", 100, "Job Title", schema_name="JobTitle"),
        text("emailaddress1", 100, "Email", schema_name="EMailAddress1"),
        text("emailaddress2", 100, "Email Address 2", schema_name="EMailAddress2"),
        text("emailaddress3", 100, "Email Address 3", schema_name="EMailAddress3"),
        text("telephone1", 50, "Business Phone", schema_name="Telephone1"),
        text("telephone2", 50, "Home Phone", schema_name="Telephone2"),
        text("telephone3", 50, "Telephone 3", schema_name="Telephone3"),
        text("mobilephone", 20, "Mobile Phone", schema_name="MobilePhone"),
        text("fax", 50, "Fax", schema_name="Fax"),
        text("websiteurl", 200, "Website", schema_name="WebSiteUrl"),
        memo("description", 2000, "Description", schema_name="Description"),
        *address("address1"),
        allow("donotemail", "Do not allow Emails"),
        allow("donotbulkemail", "Do not allow Bulk Emails"),
        allow("donotphone", "Do not allow Phone Calls"),
        allow("donotfax", "Do not allow Faxes"),
        allow("donotpostalmail", "Do not allow Mails"),
        flag("donotsendmm", "Send Marketing Materials", "Send|Senden", "Do Not Send|Nicht senden"),
        choice("preferredcontactmethodcode", "Preferred Method of Contact", CONTACT_METHODS, default=1),
        *derived(flag("merged", "Merged")),
        *_insight(),
        _sync_flag(),
        *owner(),
    )


SALES_TABLES: Final[tuple[Table, ...]] = (
    table(
        "account",
        "accounts",
        "Account",
        1,
        text("name", 160, "Account Name", schema_name="Name"),
        text("accountnumber", 20, "Account Number", schema_name="AccountNumber"),
        text("websiteurl", 200, "Website", schema_name="WebSiteURL"),
        text("telephone1", 50, "Main Phone", schema_name="Telephone1"),
        text("fax", 50, "Fax", schema_name="Fax"),
        text("emailaddress1", 100, "Email", schema_name="EMailAddress1"),
        money("revenue", "Annual Revenue"),
        number("numberofemployees", "Number of Employees", high=1_000_000_000, schema_name="NumberOfEmployees"),
        choice("industrycode", "Industry", INDUSTRIES, schema_name="IndustryCode"),
        text("sic", 20, "SIC Code", schema_name="SIC"),
        text("tickersymbol", 10, "Ticker Symbol"),
        choice("businesstypecode", "Business Type", "1 Default Value|Standardwert", default=1),
        choice(
            "ownershipcode",
            "Ownership",
            "1 Public|Öffentlich; 2 Private|Privat; 3 Subsidiary|Tochter; 4 Other|Sonstige",
        ),
        choice("customertypecode", "Relationship Type", ACCOUNT_TYPES),
        address("address1"),
        memo("description", 2000, "Description", schema_name="Description"),
        lookup("parentaccountid", "Parent Account", "account"),
        lookup("primarycontactid", "Primary Contact", "contact"),
        derived(lookup("masterid", "Master ID", "account"), flag("merged", "Merged")),
        _currency(),
        states(*STATES_ACTIVE),
        _sync_flag(),
        owner(),
        bulk=True,
    ),
    table(
        "lead",
        "leads",
        "Lead",
        4,
        _person(),
        text("subject", 300, "Topic", schema_name="Subject"),
        text("companyname", 100, "Company Name", schema_name="CompanyName"),
        choice("industrycode", "Industry", INDUSTRIES, schema_name="IndustryCode"),
        money("revenue", "Annual Revenue"),
        number("numberofemployees", "No. of Employees", high=1_000_000, schema_name="NumberOfEmployees"),
        text("sic", 20, "SIC Code", schema_name="SIC"),
        choice("leadsourcecode", "Lead Source", LEAD_SOURCES, schema_name="LeadSourceCode"),
        choice(
            "leadqualitycode",
            "Rating",
            "1 Hot|Heiß; 2 Warm|Warm; 3 Cold|Kalt",
            default=2,
            schema_name="LeadQualityCode",
        ),
        lookup("parentaccountid", "Parent Account for lead", "account"),
        lookup("parentcontactid", "Parent Contact for lead", "contact"),
        customer("customerid", "Customer", cascade_delete=_PARENTS),
        lookup("qualifyingopportunityid", "Qualifying Opportunity", "opportunity"),
        lookup("campaignid", "Source Campaign", "campaign"),
        derived(
            lookup("accountid", "Account", "account"),
            lookup("contactid", "Contact", "contact"),
            lookup("masterid", "Master ID", "lead"),
        ),
        _currency(),
        states(
            (0, "Open", "Offen"),
            (1, "Qualified", "Qualifiziert"),
            (2, "Disqualified", "Disqualifiziert"),
            statuses=(
                (0, 1, "New", "Neu"),
                (0, 2, "Contacted", "Kontaktiert"),
                (1, 3, "Qualified", "Qualifiziert"),
                (2, 4, "Lost", "Verloren"),
                (2, 5, "Cannot Contact", "Kontakt nicht möglich"),
                (2, 6, "No Longer Interested", "Kein Interesse mehr"),
                (2, 7, "Canceled", "Storniert"),
            ),
        ),
        primary_name="fullname",
        bulk=True,
    ),
    table(
        "contact",
        "contacts",
        "Contact",
        2,
        _person(),
        text("suffix", 10, "Suffix"),
        text("nickname", 50, "Nickname"),
        text("department", 100, "Department", schema_name="Department"),
        day("birthdate", "Birthday"),
        choice("gendercode", "Gender", GENDERS),
        number("numberofchildren", "No. of Children", high=1_000_000_000),
        choice("new_interests", "Interests", INTERESTS, kind=Kind.CHOICES, schema_name="new_Interests"),
        Column(name="address1_latitude", kind=Kind.DOUBLE, label="Address 1: Latitude", minimum=-90, maximum=90),
        guid("address1_addressid", "Address 1: ID"),
        money("creditlimit", "Credit Limit"),
        customer("parentcustomerid", "Company Name", schema_name="ParentCustomerId", cascade_delete=("account",)),
        lookup("originatingleadid", "Originating Lead", "lead"),
        derived(
            lookup("accountid", "Account", "account"),
            lookup("parentcontactid", "Parent Contact", "contact"),
            lookup("masterid", "Master ID", "contact"),
        ),
        _currency(),
        states(*STATES_ACTIVE),
        primary_name="fullname",
        bulk=True,
    ),
    table(
        "opportunity",
        "opportunities",
        "Opportunity",
        3,
        text("name", 300, "Topic", schema_name="Name"),
        memo("description", 2000, "Description", schema_name="Description"),
        customer("customerid", "Potential Customer", schema_name="CustomerId", cascade_delete=_PARENTS),
        lookup("parentaccountid", "Account", "account"),
        lookup("parentcontactid", "Contact", "contact"),
        lookup("originatingleadid", "Originating Lead", "lead"),
        lookup("campaignid", "Source Campaign", "campaign"),
        derived(lookup("accountid", "Account", "account"), lookup("contactid", "Contact", "contact")),
        money("estimatedvalue", "Est. Revenue"),
        money("actualvalue", "Actual Revenue"),
        money("totalamount", "Total Amount"),
        day("estimatedclosedate", "Est. Close Date"),
        day("actualclosedate", "Actual Close Date"),
        number("closeprobability", "Probability", high=100, schema_name="CloseProbability"),
        text("stepname", 200, "Pipeline Phase", schema_name="StepName"),
        choice(
            "salesstage",
            "Sales Stage",
            "0 Qualify|Qualifizieren; 1 Develop|Entwickeln; 2 Propose|Vorschlagen; 3 Close|Schließen",
        ),
        choice("salesstagecode", "Process Code", "1 Default Value|Standardwert", default=1),
        choice("opportunityratingcode", "Rating", "1 Hot|Heiß; 2 Warm|Warm; 3 Cold|Kalt", default=2),
        _currency(),
        states(
            (0, "Open", "Offen"),
            (1, "Won", "Gewonnen"),
            (2, "Lost", "Verloren"),
            statuses=(
                (0, 1, "In Progress", "In Bearbeitung"),
                (0, 2, "On Hold", "Zurückgestellt"),
                (1, 3, "Won", "Gewonnen"),
                (2, 4, "Canceled", "Storniert"),
                (2, 5, "Out-Sold", "Ausverkauft"),
            ),
        ),
        _sync_flag(),
        owner(),
        bulk=True,
    ),
)
