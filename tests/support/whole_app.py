"""The whole app between HTTP and the broker, for what its telemetry and its errors may show."""

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
from pydantic import SecretStr

from local.virtual import MemoryState, MemoryTable
from local.wiring import QUEUES, engine_between, pipeline_around
from shared.azure.service_bus import Bus
from shared.config.settings import BusSettings
from shared.config.sync_toml import SyncConfig
from shared.dataverse.client import DataverseClient
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.sync.circuit_breaker import Circuits
from shared.sync.incoming import Incoming
from shared.sync.left_out_rows import LeftOutRows
from shared.sync.marketo_cache import Known
from shared.sync.scheduling import Bursts
from shared.sync.schema import Schema
from shared.sync.settlement import Settler
from shared.sync.statistics import Counts
from shared.telemetry import spans
from tests.support.values import NOON
from tests.support.vendors import Vendors

SEEN = NOON - timedelta(seconds=40)
ORGANIZATION = "aa55bb66-0000-4000-8000-000000000001"
LEAD = "0b1c2d3e-2052-ef11-a316-000d3a5b7c01"
CORRELATION = "c0000005-4f52-4e11-9a3b-7c1d5e8f2a60"
SECRET, MAIL = "mk-s3cret-0003", "ann.o'hara@contoso.example"
RULES = SyncConfig.model_validate({"lead": {"fields": {"email": "emailaddress1", "firstName": "firstname"}}})


class Broker:
    """Takes what the real bus sends, and gives it as the triggers do."""

    def __init__(self) -> None:
        self.queues: dict[str, list[Incoming]] = {}

    def get_queue_sender(self, queue: str) -> Any:
        async def send(given: Any) -> None:
            for message in given if isinstance(given, list) else [given]:
                body = b"".join(message.body)
                self.queues.setdefault(queue, []).append(Incoming(body, SEEN, message.application_properties))

        class Batch(list[Any]):
            add_message = list.append

        async def batch(**_: Any) -> Batch:
            return Batch()

        return SimpleNamespace(send_messages=send, create_message_batch=batch)

    def take(self, queue: str) -> list[Incoming]:
        return self.queues.pop(queue, [])


class World(Vendors):
    """The whole app between HTTP and the broker; Dataverse and Marketo answer what they are told to.

    Its clients wait without any time passing.
    """

    def __init__(self) -> None:
        self.broker = Broker()
        self.upsert: dict[str, Any] = {"result": [{"status": "created", "id": 7}]}
        self.row = {"leadid": LEAD, "emailaddress1": MAIL, "firstname": "Ann"}
        client: Any = self.broker
        nobody: Any = self
        bus = Bus(BusSettings.model_construct(), client, context=spans.carried)
        now, clock = (lambda: NOON), (lambda: 0.0)
        http = httpx.AsyncClient(base_url="https://x.example", transport=httpx.MockTransport(self._answer))
        dataverse = DataverseClient(http, nobody, clock=clock, sleep=nobody)
        auth = MarketoAuth(http, "client", SecretStr(SECRET), clock=clock, sleep=nobody)
        pacer = Pacer(50, 5, clock=clock, sleep=nobody)
        marketo = MarketoClient(http, auth, pacer, clock=clock, sleep=nobody)
        circuits = Circuits(None, seconds=60.0, now=now)
        known = Known(clock=clock)
        self.pipeline = pipeline_around(
            nobody,
            bursts=Bursts(burst_batch=32, seconds=20.0, now=now),
            circuits=circuits,
            bus=bus,
            engine=engine_between(
                dataverse, marketo, RULES, clock=clock, now=now, schema=Schema(RULES, nobody, marketo, clock=clock),
                known=known, circuits=circuits,
            ),
            settler=Settler(bus, nobody, QUEUES, now=now, max_attempts=8),
            marketo=marketo,
            known=known,
            counts=Counts(nobody, now=now),
            left_out=LeftOutRows(MemoryState(MemoryTable(seconds=0)), now=now),
            is_echo=self._no_echo,
            tables={"lead": set()},
            organization_id=self._organization,
            now=now,
        )  # fmt: skip

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/identity/oauth/token":
            return httpx.Response(200, json={"access_token": "t0ken-of-marketo", "expires_in": 3600})
        if path.startswith("/api/"):
            return httpx.Response(200, json={"value": [self.row]}, headers={"x-ms-service-request-id": "svc-1"})
        if path.endswith("describe2.json"):
            fields = [{"name": n, "dataType": "string"} for n in ("email", "firstName", "externalPersonId")]
            return httpx.Response(200, json={"requestId": "r#1", "success": True, "result": [{"fields": fields}]})
        return httpx.Response(200, json={"requestId": "r#2", "success": True} | self.upsert)

    async def token(self) -> str:
        return "t0ken-of-dynamics"

    async def _no_echo(self, _: Any) -> bool:
        return False

    async def __call__(self, _seconds: float) -> None:
        """Sleep."""

    async def readable_columns(self, _table: str, /) -> frozenset[str]:
        return frozenset(self.row)

    async def of(self, _: Any) -> Any:
        for page in list[Any]():
            yield page

    async def release(self, *_: Any) -> int:
        return 0

    async def give_up(self, *_: Any) -> None: ...

    async def noted(self, *_: Any) -> dict[Any, Any]:
        return {}

    async def change(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    async def _organization(self) -> str:
        return ORGANIZATION

    def notification(self, lead: str = LEAD) -> bytes:
        return json.dumps(
            {
                "MessageName": "Update", "PrimaryEntityName": "lead", "PrimaryEntityId": lead,
                "OrganizationId": ORGANIZATION, "CorrelationId": CORRELATION,
                "InputParameters": [
                    {"key": "Target", "value": {"Attributes": [{"key": "emailaddress1", "value": MAIL}], "Id": lead,
                                                "LogicalName": "lead"}}
                ],
            }
        ).encode()  # fmt: skip

    async def route(self, *carriers: dict[str, str]) -> None:
        await self.pipeline.route([Incoming(self.notification(), SEEN, carrier) for carrier in carriers])
