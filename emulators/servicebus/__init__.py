"""A Service Bus emulator: AMQP 1.0 and the management API, for the unmodified azure-servicebus SDK.

In memory only. Run it with `python -m emulators.servicebus --port PORT`.
"""

from emulators.servicebus.sas import POLICIES, ROOT_POLICY

__all__ = ["connection_string"]


def connection_string(port: int, policy: str = ROOT_POLICY, key: str | None = None) -> str:
    """Return the connection string of an emulator on this machine's `port`, for one of its shared access policies.

    `key` is that of a policy which the emulator was started with; the keys of those that it always has are known.

    `UseDevelopmentEmulator` makes the SDK speak AMQP without TLS and keep the port.
    """
    key = POLICIES[policy].key if key is None else key
    return (
        f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName={policy};SharedAccessKey={key};"
        "UseDevelopmentEmulator=true;"
    )
