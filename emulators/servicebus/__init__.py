"""A Service Bus emulator: AMQP 1.0 and the management API, for the unmodified azure-servicebus SDK.

In memory only. Run it with `python -m emulators.servicebus --port PORT`.
"""

from emulators.servicebus.sas import POLICIES, ROOT_POLICY

__all__ = ["connection_string"]


def connection_string(port: int, policy: str = ROOT_POLICY) -> str:
    """Return the connection string of an emulator on this machine's `port`, with the key of a shared access policy.

    `UseDevelopmentEmulator` makes the SDK speak AMQP without TLS and keep the port.
    """
    return (
        f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName={policy};SharedAccessKey={POLICIES[policy].key};"
        "UseDevelopmentEmulator=true;"
    )
