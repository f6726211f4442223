"""What may happen to a namespace at any moment, brought about by a test: `POST /$local/<what>[/<queue>]`.

`drop-connections`     every AMQP connection breaks, without a goodbye
`lose-locks/<queue>`   the locks on the queue's messages and sessions end now, as if their holders had been too slow
`lose-settlement/<queue>`  the next settlement of a message is lost with its connection: the message comes again
`hurry/<queue>`        what is scheduled becomes active now, as if its time had come
"""

from emulators.servicebus.errors import EntityNotFound
from emulators.servicebus.namespace import Namespace

PREFIX = "$local/"


def bring_about(namespace: Namespace, path: str) -> int:
    """Do what a path below PREFIX says, and give how many connections, locks or messages it has hit.

    Raises EntityNotFound for what is not there.
    """
    what, _, name = path.removeprefix(PREFIX).partition("/")
    if what == "drop-connections":
        return namespace.drop_connections()
    if what == "lose-locks":
        return namespace.entity(name).queue.lose_locks()
    if what == "lose-settlement":
        return namespace.lose_settlement(name)
    if what == "hurry":
        return namespace.entity(name).queue.hurry()
    msg = f"'{path}' is not there."
    raise EntityNotFound(msg)
