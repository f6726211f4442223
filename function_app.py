"""Every trigger of the app, a few lines each: the map of the system. What they do is in shared/pipeline.py."""

import json
from datetime import UTC, datetime
from typing import List  # noqa: UP035  (see Messages)

import azure.functions as func

from shared.app import pipeline
from shared.pipeline import Incoming

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)

MANY = func.Cardinality.MANY
CONNECTION = "ServiceBusConnection"
Messages = List[func.ServiceBusMessage]  # noqa: UP006  (the platform's indexer refuses the builtin list[…])


def incoming(messages: Messages) -> list[Incoming]:
    """The trigger's messages as plain values."""
    return [
        Incoming(
            message.get_body(),
            message.enqueued_time_utc or datetime.now(UTC),
            message.content_type,
            message.correlation_id or "",
            message.application_properties or {},
        )
        for message in messages
    ]


@app.route("receive_webhook", methods=["POST"])
async def receive_webhook(req: func.HttpRequest) -> func.HttpResponse:
    """Take a change from a Dynamics webhook into the queue."""
    headers = dict(req.headers)
    status, text = await pipeline().accept(req.get_body(), headers.get("content-type", ""), headers)
    return func.HttpResponse(json.dumps({"status": text}), status_code=status, mimetype="application/json")


@app.service_bus_queue_trigger("messages", CONNECTION, "%CHANGES_QUEUE%", cardinality=MANY)
async def route_changes(messages: Messages) -> None:
    """Turn notifications into records to sync, on their entities' queues."""
    await pipeline().route(incoming(messages))


@app.service_bus_queue_trigger(
    "messages", CONNECTION, "%SALES_PERSON_QUEUE%", cardinality=MANY, is_sessions_enabled=True
)
async def sync_sales_persons(messages: Messages) -> None:
    """Users of Dynamics to sales persons of Marketo."""
    await pipeline().sync("sales_person", incoming(messages))


@app.service_bus_queue_trigger("messages", CONNECTION, "%COMPANY_QUEUE%", cardinality=MANY, is_sessions_enabled=True)
async def sync_companies(messages: Messages) -> None:
    """Accounts to companies."""
    await pipeline().sync("company", incoming(messages))


@app.service_bus_queue_trigger("messages", CONNECTION, "%PERSON_QUEUE%", cardinality=MANY, is_sessions_enabled=True)
async def sync_persons(messages: Messages) -> None:
    """Leads and contacts to persons."""
    await pipeline().sync("person", incoming(messages))


@app.service_bus_queue_trigger(
    "messages", CONNECTION, "%OPPORTUNITY_QUEUE%", cardinality=MANY, is_sessions_enabled=True
)
async def sync_opportunities(messages: Messages) -> None:
    """Opportunities to opportunities."""
    await pipeline().sync("opportunity", incoming(messages))


@app.service_bus_queue_trigger(
    "messages", CONNECTION, "%OPPORTUNITY_ROLE_QUEUE%", cardinality=MANY, is_sessions_enabled=True
)
async def sync_opportunity_roles(messages: Messages) -> None:
    """Connections to opportunity roles."""
    await pipeline().sync("opportunity_role", incoming(messages))


@app.timer_trigger("timer", "%RELEASE_SCHEDULE%")
async def release_deferred(timer: func.TimerRequest) -> None:  # noqa: ARG001  (the trigger's own parameter)
    """Release records whose parent came without being noticed, and those that have waited too long."""
    await pipeline().release()
