"""The commands of this folder, in the order in which an operator uses them."""

from ..runs import INITIAL_SYNC
from . import plan, report, start, status, steer

COMMANDS = (plan.COMMAND, start.COMMAND, status.COMMAND, *steer.commands(INITIAL_SYNC), report.COMMAND)
