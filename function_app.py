"""Every trigger of the app, a few lines each: the map of the system. What they do is in shared/sync/handlers.py."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, List  # noqa: UP035  (see Messages)

import azure.functions as func

from shared.app.composition import carrier, missed_changes, pipeline, redelivery, write_back
from shared.sync.incoming import Incoming

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)

Messages = List[func.ServiceBusMessage]  # noqa: UP006  (the platform's indexer refuses the builtin list[…])


def on_messages(queue: str, *, sessions: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A batch of messages of a queue, their bodies as the bytes that were sent."""
    return app.service_bus_queue_trigger(
        "messages",
        "ServiceBusConnection",
        queue,
        data_type=func.DataType.BINARY,
        cardinality=func.Cardinality.MANY,
        is_sessions_enabled=sessions,
    )


def incoming(messages: Messages) -> list[Incoming]:
    """The trigger's messages as plain values."""
    return [
        Incoming(
            message.get_body(),
            (message.enqueued_time_utc or datetime.now(UTC)).replace(tzinfo=UTC),  # the SDK leaves the zone out
            message.application_properties if isinstance(message.application_properties, dict) else {},
            is_stamped=message.enqueued_time_utc is not None,
        )
        for message in messages
    ]


@app.route("api/receive_webhook", methods=["POST"])
async def receive_webhook(req: func.HttpRequest) -> func.HttpResponse:
    """Take a change from a Dynamics webhook into the queue."""
    headers = dict(req.headers)
    status, text = await pipeline().accept(req.get_body(), headers.get("content-type", ""), headers)
    return func.HttpResponse(json.dumps({"status": text}), status_code=status, mimetype="application/json")


@on_messages("%CHANGES_QUEUE%")
async def route_changes(messages: Messages) -> None:
    """Turn notifications into records to sync, on their entities' queues."""
    await pipeline().route(incoming(messages))


@on_messages("%SALES_PERSON_QUEUE%", sessions=True)
async def sync_sales_persons(messages: Messages) -> None:
    """Users of Dynamics to sales persons of Marketo."""
    await pipeline().sync("sales_person", incoming(messages))


@on_messages("%COMPANY_QUEUE%", sessions=True)
async def sync_companies(messages: Messages) -> None:
    """Accounts to companies."""
    await pipeline().sync("company", incoming(messages))


@on_messages("%PERSON_QUEUE%", sessions=True)
async def sync_persons(messages: Messages) -> None:
    """Leads and contacts to persons."""
    await pipeline().sync("person", incoming(messages))


@on_messages("%OPPORTUNITY_QUEUE%", sessions=True)
async def sync_opportunities(messages: Messages) -> None:
    """Opportunities to opportunities."""
    await pipeline().sync("opportunity", incoming(messages))


@on_messages("%OPPORTUNITY_ROLE_QUEUE%", sessions=True)
async def sync_opportunity_roles(messages: Messages) -> None:
    """Connections to opportunity roles."""
    await pipeline().sync("opportunity_role", incoming(messages))


@app.timer_trigger("timer", "%RELEASE_SCHEDULE%")
async def release_deferred(timer: func.TimerRequest) -> None:  # noqa: ARG001  (the trigger's own parameter)
    """Bring back what the broker gave up; release records whose parent came unnoticed, or that have waited too long."""
    await redelivery().run()
    await pipeline().release()


@app.timer_trigger("timer", "%RECONCILE_SCHEDULE%")
async def reconcile_changes(timer: func.TimerRequest) -> None:  # noqa: ARG001  (the trigger's own parameter)
    """Rows that no notification told of: to their entities' queues."""
    await missed_changes().tick()


@app.timer_trigger("timer", "%WRITE_BACK_SCHEDULE%")
async def write_back_msi(timer: func.TimerRequest) -> None:  # noqa: ARG001  (the trigger's own parameter)
    """Sales Insight's fields of Marketo's persons back into their leads and contacts."""
    await write_back().tick()


@app.timer_trigger("timer", "%RUN_SCHEDULE%")
async def carry_on_runs(timer: func.TimerRequest) -> None:  # noqa: ARG001  (the trigger's own parameter)
    """Initial syncs and other long runs: the next rows of their tables to the queues, and what became of them."""
    await carrier().tick()


if os.environ.get("CONSOLE") == "entra":

    @app.route("{*path}", methods=["GET", "HEAD", "POST"], auth_level=func.AuthLevel.ANONYMOUS)
    async def serve_console(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        """The console, behind App Service Authentication; it lets in nobody whom that has not signed in."""
        from shared.cli.console.hosted import adapter  # noqa: PLC0415  (no other function's process imports it)

        answer: func.HttpResponse = await adapter().handle_async(req, context)
        return answer
