"""Alerts and workbook name what the app tells, and nothing else; every alert has its section for operators."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.telemetry.metrics import METRICS
from shared.telemetry.spans import SPAN_ATTRIBUTES

INFRA = Path(__file__).parents[3] / "infra"
ALERTS: dict[str, list[dict[str, Any]]] = json.loads((INFRA / "alerts.json").read_text(encoding="utf-8"))
WORKBOOK: dict[str, Any] = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))
GUIDE = (INFRA.parent / "docs" / "operations.md").read_text(encoding="utf-8")
BY_NAME = {metric.name: metric for metric in METRICS}
NAMES = [alert["name"] for alert in (*ALERTS["log"], *ALERTS["broker"])]
#: Tables of Application Insights with what the app and its host send.
TABLES = {"customMetrics", "requests", "dependencies"}
#: Where a metric's values are: of a histogram, the column says which of them.
COLUMNS = {"counter": {"valueSum"}, "gauge": {"valueSum"}, "histogram": {"valueSum", "valueCount", "valueMax"}}


def queries() -> Iterator[Any]:
    for alert in ALERTS["log"]:
        yield pytest.param(alert["query"], id=alert["name"])
    for item in WORKBOOK["items"]:
        if item["type"] == 3:
            yield pytest.param(item["content"]["query"], id=item["content"]["title"])


def problems(query: str) -> list[str]:
    """What of a query nobody tells: tables, metrics, attributes, columns of values."""
    wrong = [
        f"table {name}" for name in re.findall(r"^(?:let \w+ = )?(\w+)$", query, re.MULTILINE) if name not in TABLES
    ]
    names = set(re.findall(r'"(msisync\.[\w.]+)"', query))
    attributes = set(re.findall(r'customDimensions\["([^"]+)"\]', query))
    metrics = [BY_NAME[name] for name in names if name in BY_NAME]
    wrong += [f"name {name}" for name in names if name not in BY_NAME and name not in SPAN_ATTRIBUTES]
    known = {name for metric in metrics for name in metric.attributes} | set(SPAN_ATTRIBUTES)
    wrong += [f"attribute {name}" for name in attributes if name not in known]
    if query.count("customDimensions") != query.count("customDimensions["):
        wrong.append("an attribute that this test does not see")
    for metric in metrics:
        wrong += [f"{column} of {metric.name}" for column in _columns(query) - COLUMNS[metric.kind]]
    if "customMetrics" in query and not metrics:
        wrong.append("no metric")
    return wrong


def _columns(query: str) -> set[str]:
    return set(re.findall(r"\bvalue(?:Sum|Max|Min|Count)\b", query))


@pytest.mark.parametrize("query", list(queries()))
def test_a_query_names_what_the_app_tells(query: str) -> None:
    assert problems(query) == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ('customMetrics\n| where name == "msisync.record"', "name msisync.record"),
        ('customMetrics\n| where name == "msisync.records"\n| extend c = customDimensions["code"]', "attribute code"),
        ('traces\n| where message has "x"', "table traces"),
        ('customMetrics\n| where name == "msisync.parked"\n| summarize max(valueMax)', "valueMax of msisync.parked"),
        ('customMetrics\n| where name == "msisync.records"\n| extend e = customDimensions.entity', "does not see"),
        ("customMetrics\n| summarize sum(valueSum)", "no metric"),
    ],
)
def test_a_query_with_a_wrong_name_is_found_out(query: str, problem: str) -> None:
    assert problem in " ".join(problems(query))


def test_every_metric_is_shown_to_operators() -> None:
    shown = "".join(item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3)
    assert [name for name in BY_NAME if f'"{name}"' not in shown] == []


@pytest.mark.parametrize("alert", ALERTS["log"], ids=lambda alert: alert["name"])
def test_an_alert_measures_what_its_query_gives(alert: dict[str, Any]) -> None:
    last = alert["query"].splitlines()[-1]
    given = {part.partition("=")[0].strip() for part in last.removeprefix("| project ").split(",")}
    assert alert["aggregation"] == "Count" or {"value", *alert["dimensions"]} <= given
    assert alert["operator"] in {"GreaterThan", "GreaterThanOrEqual", "LessThan"}
    assert alert["aggregation"] in {"Count", "Total", "Maximum"}


def section(name: str) -> str:
    found = re.search(rf"^### {re.escape(name)}\n(.+?)(?=^##|\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_section_that_says_where_to_look_and_what_to_do(name: str) -> None:
    text = section(name)
    assert "**Look at**" in text
    assert "**Do**" in text
    assert re.search(r"`msisync [a-z-]+|```\nmsisync", text)


def test_no_section_is_of_an_alert_that_is_gone() -> None:
    alerts = GUIDE.partition("## Alerts")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\S+)$", alerts, re.MULTILINE)) == sorted(NAMES)


def test_the_guide_has_the_thresholds_that_are_set() -> None:
    minutes = {"PT5M": 5, "PT15M": 15, "PT30M": 30}
    rows = dict(re.findall(r"^\| \[([a-z-]+)\]\(#\1\) \| (.+) \|$", GUIDE, re.MULTILINE))
    assert set(rows) == set(NAMES)
    for alert in (*ALERTS["log"], *ALERTS["broker"]):
        assert rows[alert["name"]].endswith(
            f"| {alert['threshold']:,} | {minutes[alert['window']]} min | {alert['severity']}"
        )


def test_the_guide_has_every_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(msisync\.[\w.]+)` \| (\w+) \| (.+?) \| (.*) \|$", GUIDE, re.MULTILINE)
    assert [(name, kind, what, tuple(re.findall(r"`(\w+)`", attributes))) for name, kind, what, attributes in rows] == [
        (metric.name, metric.kind, metric.description, metric.attributes) for metric in METRICS
    ]


def test_no_column_has_the_name_of_a_word_of_the_query_language() -> None:
    words = {
        "of", "table", "kind", "limit", "on", "by", "in", "with", "to", "from", "order", "sort", "top", "count",
        "where",
    }  # fmt: skip
    for query in (parameter.values[0] for parameter in queries()):
        assert not words & set(re.findall(r"(?<=[\s,])(\w+) = ", str(query)))
