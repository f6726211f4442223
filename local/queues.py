"""The product's queues as the emulator has them, and the policy that Dataverse posts with."""

from emulators.servicebus.settings import QueueSettings
from shared.cli import queues as design
from shared.config.settings import QueueSettings as Names

#: By the field of the product's QueueSettings: the app setting that holds the name, and the name.
NAMES = {queue.setting: (str(Names.model_fields[queue.setting].alias), queue.name) for queue in design.QUEUES}
#: The queue that Dynamics posts its changes to.
INTAKE = NAMES["changes"][1]
QUEUES = tuple(
    QueueSettings(
        queue.name,
        sessions=queue.sessions,
        lock_seconds=design.LOCK.total_seconds(),
        max_delivery_count=design.DELIVERIES,
        dead_letter_on_expiration=True,
    )
    for queue in design.QUEUES
)

#: What Dataverse's service endpoint is registered with: it may send to the intake queue and nothing else.
DATAVERSE_POLICY = "DataverseSend"
DATAVERSE_KEY = "bG9jYWwtc3RhY2stZGF0YXZlcnNlLWtleS0wMDAwMDA="
#: The same as the emulator's option --policy takes it.
POLICY = f"{DATAVERSE_POLICY}:{DATAVERSE_KEY}:Send:{INTAKE}"
