"""The errors of Service Bus, with the AMQP condition, the management status and the wording that clients see."""


class ServiceBusFault(Exception):  # noqa: N818  # the AMQP word for an answer that refuses
    """An operation that Service Bus refuses.

    `condition` is the AMQP error condition, `status` the code of a `$management` answer.
    """

    condition = "amqp:internal-error"
    status = 500


class EntityNotFound(ServiceBusFault):
    """No queue has this name."""

    condition, status = "amqp:not-found", 404


class Unauthorized(ServiceBusFault):
    """The token is missing, wrong, expired, or its policy lacks the claim."""

    condition, status = "amqp:unauthorized-access", 401


class NotAllowed(ServiceBusFault):
    """The entity does not take this operation, such as a message without session id on a session queue."""

    condition, status = "amqp:not-allowed", 400


class MessageTooLarge(ServiceBusFault):
    """Larger than 256 KB, the limit of the Standard tier for a message and for a batch."""

    condition, status = "amqp:link:message-size-exceeded", 400


class InvalidMessage(ServiceBusFault):
    """The payload is not an AMQP message."""

    condition, status = "amqp:decode-error", 400


class EntityDisabled(ServiceBusFault):
    """The queue's status forbids to send or to receive."""

    condition, status = "com.microsoft:entity-disabled", 400


class MessageLockLost(ServiceBusFault):
    """The lock expired, or the message was settled already."""

    condition, status = "com.microsoft:message-lock-lost", 410


class SessionLockLost(ServiceBusFault):
    """The session's lock expired, or nobody holds it."""

    condition, status = "com.microsoft:session-lock-lost", 410


class SessionCannotBeLocked(ServiceBusFault):
    """Another receiver holds this session."""

    condition, status = "com.microsoft:session-cannot-be-locked", 409


class MessageNotFound(ServiceBusFault):
    """No deferred or scheduled message has this sequence number."""

    condition, status = "com.microsoft:message-not-found", 404


class WaitTimeout(ServiceBusFault):
    """No session became available in time."""

    condition, status = "com.microsoft:timeout", 408


class ArgumentError(ServiceBusFault):
    """A request that lacks a part, or has a wrong one."""

    condition, status = "com.microsoft:argument-error", 400
