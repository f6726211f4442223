"""The registered steps, read from their rows into a form that changes are matched against."""

from collections.abc import Iterator
from dataclasses import dataclass

from emulators.dataverse import registration
from emulators.dataverse.store import Change, Row, Store


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that a step asks for; no attributes means every column."""

    alias: str
    kind: int
    attributes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """An enabled step, ready to be matched."""

    id: str
    name: str
    message: str
    table: str | None
    synchronous: bool
    stage: int
    filtering: frozenset[str]
    keep_job: bool
    user: str | None
    endpoint: Row
    images: tuple[Image, ...]

    def wants(self, change: Change) -> bool:
        """Dataverse: fires when a listed column is included in the request, changed or not."""
        return not self.filtering or not self.filtering.isdisjoint(change.columns)

    def bypassed(self, bypass: frozenset[str]) -> bool:
        """Whether the caller has asked to leave this step out."""
        return self.id in bypass or ("CustomSync" if self.synchronous else "CustomAsync") in bypass


def enabled_steps(store: Store) -> Iterator[Step]:
    """Every enabled step of the store with its endpoint and images."""
    images: dict[str, list[Image]] = {}
    for row in store.rows["sdkmessageprocessingstepimage"].values():
        names = tuple(filter(None, (row.get("attributes") or "").split(",")))
        image = Image(alias=row["entityalias"], kind=row["imagetype"], attributes=names)
        images.setdefault(row["_sdkmessageprocessingstepid_value"], []).append(image)
    for row in store.rows["sdkmessageprocessingstep"].values():
        endpoint = store.get("serviceendpoint", row["_eventhandler_value"])
        if row["statecode"] != 0 or endpoint is None:
            continue
        message_filter = store.get("sdkmessagefilter", row.get("_sdkmessagefilterid_value") or "")
        yield Step(
            id=row["sdkmessageprocessingstepid"],
            name=row.get("name") or "",
            message=store.rows["sdkmessage"][row["_sdkmessageid_value"]]["name"],
            table=message_filter["primaryobjecttypecode"] if message_filter else None,
            synchronous=row["mode"] == registration.SYNCHRONOUS,
            stage=row["stage"],
            filtering=frozenset(filter(None, (row.get("filteringattributes") or "").split(","))),
            keep_job=not row.get("asyncautodelete"),
            user=row.get("_impersonatinguserid_value"),
            endpoint=endpoint,
            images=tuple(images.get(row["sdkmessageprocessingstepid"], ())),
        )
