"""What the unmodified SDK may do with keys that lack a claim: Send, Listen or Manage."""

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import ServiceBusAuthenticationError, ServiceBusAuthorizationError
from azure.servicebus.management import ServiceBusAdministrationClient

from emulators.certificates import Certificates
from emulators.servicebus import connection_string
from emulators.servicebus.harness import Emulator
from emulators.servicebus.settings import QueueSettings

WAIT = 5.0
QUEUES = [QueueSettings("plain"), QueueSettings("sessions", sessions=True)]
#: A policy that the emulator is started with, beside its own: it may send to one queue.
KEY = "cGxhaW4tc2VuZC1rZXk="
POLICIES = [f"PlainSend:{KEY}:Send:plain"]
KEYS: dict[str, str | None] = {"SendOnly": None, "ListenOnly": None, "SendAndListen": None, "PlainSend": KEY}


def client(emulator: Emulator, policy: str) -> ServiceBusClient:
    return ServiceBusClient.from_connection_string(
        connection_string(emulator.port, policy, KEYS[policy]), retry_total=0
    )


@pytest.mark.parametrize("policy", KEYS)
def test_managing_queues_needs_the_manage_claim(emulator: Emulator, tls: Certificates, policy: str) -> None:
    transport = RequestsTransport(connection_verify=str(tls.bundle))
    with ServiceBusAdministrationClient.from_connection_string(
        connection_string(emulator.port, policy, KEYS[policy]), transport=transport, retry_total=0
    ) as admin:
        for request in (
            lambda: admin.get_queue("plain"),
            lambda: admin.get_queue_runtime_properties("plain"),
            lambda: admin.get_queue("no-such-queue"),
            lambda: list(admin.list_queues()),
            lambda: admin.create_queue("new"),
            lambda: admin.delete_queue("sessions"),
        ):
            with pytest.raises(ClientAuthenticationError) as refused:
                request()
            assert refused.value.status_code == 401


async def test_a_send_key_sends_and_does_not_receive_or_peek(emulator: Emulator) -> None:
    async with client(emulator, "SendOnly") as sends:
        async with sends.get_queue_sender("sessions") as sender:
            await sender.send_messages(ServiceBusMessage("x", session_id="S"))
        with pytest.raises(ServiceBusAuthorizationError):
            async with sends.get_queue_receiver("sessions", session_id="S"):
                pass
        with pytest.raises(ServiceBusAuthorizationError):
            await sends.get_queue_receiver("plain").peek_messages()


async def test_a_key_of_one_queue_is_good_for_that_queue_only(emulator: Emulator) -> None:
    async with client(emulator, "PlainSend") as sends:
        async with sends.get_queue_sender("plain") as sender:
            await sender.send_messages(ServiceBusMessage("x"))
        with pytest.raises(ServiceBusAuthenticationError):
            async with sends.get_queue_sender("sessions"):
                pass


async def test_a_listen_key_receives_and_peeks_and_does_not_send(emulator: Emulator) -> None:
    async with client(emulator, "SendAndListen") as both, both.get_queue_sender("plain") as sender:
        await sender.send_messages(ServiceBusMessage("x"))
    async with client(emulator, "ListenOnly") as listens:
        with pytest.raises(ServiceBusAuthorizationError):
            async with listens.get_queue_sender("plain"):
                pass
        async with listens.get_queue_receiver("plain") as receiver:
            assert [str(message) for message in await receiver.peek_messages()] == ["x"]
            (message,) = await receiver.receive_messages(1, max_wait_time=WAIT)
            await receiver.complete_message(message)
