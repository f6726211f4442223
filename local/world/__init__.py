"""A believable Dynamics organisation of any size, what must become of it in Marketo, and whether it did.

`build` makes the rows, `expect` says what Marketo must hold (from the vendors' documents and the rules that sync.toml
states, without a line of the product's code), `verify` reads Marketo through its REST API and compares.
"""

from local.world.build import build
from local.world.compare import Report, compare
from local.world.expectations import Expectations, expect
from local.world.model import FULL, SMALL, Size, World
from local.world.rest import MarketoReader, verify

__all__ = [
    "FULL",
    "SMALL",
    "Expectations",
    "MarketoReader",
    "Report",
    "Size",
    "World",
    "build",
    "compare",
    "expect",
    "verify",
]
