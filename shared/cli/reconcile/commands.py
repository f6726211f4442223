"""The commands of this folder. `msisync reconcile contact` without one of their names is `reconcile start contact`."""

from ..initial_sync import status, steer
from ..runs import RECONCILE
from . import report, start

COMMANDS = (start.COMMAND, status.command(RECONCILE), *steer.commands(RECONCILE), report.COMMAND)
