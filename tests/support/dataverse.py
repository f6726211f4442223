"""Dataverse behind a mock transport: prepared replies, and its client with a clock that sleeping moves."""

from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from shared.dataverse.client import DataverseClient
from shared.model.entities import TABLES
from shared.model.errors import DataverseError
from tests.support.replies import Replies, Reply

URL = "https://contoso.crm4.dynamics.com"
API = "/api/data/v9.2"
FAR = 10_000.0
IDS = [f"4c8e7d15-2052-ef11-a316-{n:012d}" for n in range(300)]


def page(rows: Sequence[dict[str, Any]], **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"value": rows} | more)


def refusal(status: int, code: str = "", message: str = "", **headers: str) -> httpx.Response:
    error = {"error": {"code": code, "message": message}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=error, headers=named)


class World(Replies):
    """A Dataverse that gives the prepared replies in turn, and a sign-in that gives a new token after each refusal."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__(*replies)
        self.refused: list[str] = []
        auth: Any = self
        self.client = DataverseClient(self.http(URL), auth, clock=self.clock, sleep=self.sleep)

    async def token(self) -> str:
        return f"token-{len(self.refused) + 1}"

    def refuse(self, token: str) -> None:
        self.refused.append(token)

    async def rows(self, ids: Sequence[str] = ("a",), *, deadline: float = FAR) -> dict[str, Any]:
        return await self.client.rows(TABLES["contact"][1], ids, ["firstname"], deadline=deadline)

    async def error(self, *, deadline: float = FAR) -> DataverseError:
        with pytest.raises(DataverseError) as refused:
            await self.rows(deadline=deadline)
        return refused.value
