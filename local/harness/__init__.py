"""A running stack in the hands of a test: rows to seed, notifications to send, and looks at what became of them."""

from emulators.waiting import eventually
from local.harness.broker import DeadLetter
from local.harness.rows import Made, Rows
from local.harness.system import System, running_system

__all__ = ["DeadLetter", "Made", "Rows", "System", "eventually", "running_system"]
