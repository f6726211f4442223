"""The commands of this folder, in the order in which an operator uses them."""

from . import plan, report, start, status, steer

COMMANDS = (plan.COMMAND, start.COMMAND, status.COMMAND, *steer.COMMANDS, report.COMMAND)
