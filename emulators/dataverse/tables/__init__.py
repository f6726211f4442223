"""The schema of the simulated environment, as declarative tables."""

from collections.abc import Mapping
from typing import Final

from emulators.dataverse.columns import Table
from emulators.dataverse.tables.organisation import ORGANISATION_TABLES
from emulators.dataverse.tables.platform import PLATFORM_TABLES
from emulators.dataverse.tables.roles import ROLE_TABLES
from emulators.dataverse.tables.sales import SALES_TABLES

TABLES: Final[Mapping[str, Table]] = {
    table.name: table for table in (*ORGANISATION_TABLES, *SALES_TABLES, *ROLE_TABLES, *PLATFORM_TABLES)
}
BY_SET: Final[Mapping[str, Table]] = {table.set_name: table for table in TABLES.values()}
