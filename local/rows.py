"""Rows of the running stack's Dynamics, through its Web API as any client writes them: a newcomer's first row.

python3 dev.py stack write contact firstname=Ada emailaddress1=ada@contoso.example
python3 dev.py stack write contact ID jobtitle=Countess creditlimit:=1000 parentcustomerid_account=/accounts(ID)
python3 dev.py stack read contact ID
python3 dev.py stack delete contact ID
"""

import json
import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx

from local.control import StackError

API = "/api/data/v9.2"
#: `/accounts(…)` as a value is a row that the column refers to.
_ROW = re.compile(r"/\w+\([0-9a-fA-F-]{36}\)")


def body_of(words: Sequence[str]) -> dict[str, Any]:
    """The columns of `column=text`, `column:=JSON` and `column=/accounts(ID)`. Raises StackError."""
    body: dict[str, Any] = {}
    for word in words:
        column, sign, text = word.partition("=")
        if not sign or not column.strip(":"):
            raise StackError(f"{word!r} is not a column and its value: firstname=Ada, or creditlimit:=1000 for JSON")
        if column.endswith(":"):
            try:
                body[column[:-1]] = json.loads(text)
            except ValueError:
                raise StackError(f"{text!r} of {column[:-1]} is no JSON: a number, true, false, null") from None
        elif _ROW.fullmatch(text):
            body[f"{column}@odata.bind"] = text
        else:
            body[column] = text
    return body


def as_id(text: str) -> str:
    """An id as the Web API writes it; empty for what is none."""
    try:
        return str(UUID(text))
    except ValueError:
        return ""


class Rows:
    """A client of the Web API, signed in as the app registration. `endpoints`: the content of endpoints.json."""

    def __init__(self, endpoints: Mapping[str, Any]) -> None:
        self._dataverse = endpoints["dataverse"]
        self._http = httpx.Client(
            base_url=self._dataverse["url"],
            proxy=endpoints["https_proxy"],
            verify=ssl.create_default_context(cafile=endpoints["ca_bundle"]),
            trust_env=False,
            timeout=30.0,
        )

    @classmethod
    def of(cls, directory: Path) -> Self:
        """The rows of the stack that runs in a directory. Raises StackError where none does."""
        try:
            return cls(json.loads((directory / "endpoints.json").read_text()))
        except (OSError, ValueError):
            raise StackError(f"no stack is running in {directory}: start it with python3 dev.py up") from None

    def __enter__(self) -> Self:
        given = {name: self._dataverse[name] for name in ("client_id", "client_secret")}
        scope = f"{self._dataverse['url']}/.default"
        form = {"grant_type": "client_credentials", "scope": scope, **given}
        token = self._ask("POST", f"{self._dataverse['authority']}/oauth2/v2.0/token", data=form)["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def write(self, table: str, id_: str, body: Mapping[str, Any]) -> str:
        """Create a row, or change the one that has the id. Gives its id. Raises StackError with what Dynamics says."""
        path = self._path(table)
        if id_:
            self._ask("PATCH", f"{path}({id_})", json=body, headers={"If-Match": "*"})  # never creates one
            return id_
        made = self._ask("POST", path, json=body, headers={"Prefer": "return=representation"})
        return str(made[self._key])

    def read(self, table: str, id_: str) -> dict[str, Any]:
        """The columns of a row that have a value. Raises StackError."""
        row = self._ask("GET", f"{self._path(table)}({id_})")
        return {name: value for name, value in row.items() if value is not None and not name.startswith("@")}

    def delete(self, table: str, id_: str) -> None:
        """Delete a row. Raises StackError."""
        self._ask("DELETE", f"{self._path(table)}({id_})")

    def _path(self, table: str) -> str:
        """The address of a table, by its logical name."""
        asked = f"{API}/EntityDefinitions(LogicalName='{table}')?$select=EntitySetName,PrimaryIdAttribute"
        found = self._ask("GET", asked)
        self._key = found["PrimaryIdAttribute"]
        return f"{API}/{found['EntitySetName']}"

    def _ask(self, method: str, url: str, **given: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, url, **given)
            found: dict[str, Any] = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise StackError(f"Dynamics of the stack does not answer ({type(error).__name__})") from None
        if not answer.is_success:
            refused = found.get("error", {})
            said = refused.get("message") if isinstance(refused, Mapping) else refused
            raise StackError(f"Dynamics refuses it: {said or answer.status_code}")
        return found
