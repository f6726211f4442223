"""The mapping that Adobe's own connector begins with, for a custom sync (dataverse.md 7.8 and 7.9)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from ...config.sync_toml import FieldRule, SyncConfig

_PERSON = """
email = "emailaddress1"
firstName = "firstname"
middleName = "middlename"
lastName = "lastname"
salutation = "salutation"
title = "jobtitle"
phone = "telephone1"
mobilePhone = "mobilephone"
fax = "fax"
address = "address1_line1"
city = "address1_city"
state = "address1_stateorprovince"
country = "address1_country"
postalCode = "address1_postalcode"
doNotCall = "donotphone"
mktoPersonNotes = "description"
"""
_MAPPING = f"""
[systemuser.fields]
email = "internalemailaddress"
firstName = "firstname"
lastName = "lastname"
title = ["title", "jobtitle"]
phone = "address1_telephone1"
mobilePhone = "mobilephone"
fax = "address1_fax"

[account.fields]
company = "name"
billingStreet = {{ columns = ["address1_line1", "address1_line2", "address1_line3"], convert = "lines" }}
billingCity = "address1_city"
billingState = "address1_stateorprovince"
billingCountry = "address1_country"
billingPostalCode = "address1_postalcode"
mainPhone = "telephone1"
website = "websiteurl"
industry = {{ column = "industrycode", convert = "label" }}
sicCode = "sic"
annualRevenue = "revenue"
numberOfEmployees = "numberofemployees"
mktoCompanyNotes = "description"

[lead.fields]
company = {{ column = "companyname", when = {{ _parentaccountid_value = "empty" }} }}
leadSource = {{ column = "leadsourcecode", convert = "label" }}
rating = {{ column = "leadqualitycode", convert = "label" }}
leadStatus = {{ column = "statuscode", convert = "label" }}
{_PERSON}
[contact.fields]
department = "department"
dateOfBirth = "birthdate"
{_PERSON}
[opportunity.fields]
name = "name"
description = "description"
stage = [{{ column = "stepname", when = {{ statecode = [0] }} }}, {{ column = "statuscode", convert = "label" }}]
amount = [{{ column = "actualvalue", when = {{ statecode = [1] }} }}, {{ column = "estimatedvalue" }}]
probability = "closeprobability"
closeDate = [{{ column = "actualclosedate", when = {{ statecode = [1, 2] }} }}, "estimatedclosedate"]
isClosed = {{ column = "statecode", convert = "is", values = [1, 2] }}
isWon = {{ column = "statecode", convert = "is", values = [1] }}
externalCreatedDate = "createdon"

[connection.fields]
externalCreatedDate = "createdon"

[customeropportunityrole.fields]
externalCreatedDate = "createdon"
"""

#: The rules of each Marketo field, by table.
DEFAULT_MAPPING: Mapping[str, Mapping[str, tuple[FieldRule, ...]]] = {
    table: config.fields for table, config in SyncConfig.model_validate(tomllib.loads(_MAPPING)).tables.items()
}
