"""One trace for each change: spans of invocations and calls, and the context that messages carry between them.

There are spans of invocations and of calls, never of records: their number does not follow the number of records.
Attributes are names, codes and ids; never values of records, texts of vendors or queries, where personal data are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from ..azure.service_bus import Properties
from ..model.errors import VendorError
from . import metrics
from .metrics import CALLS, SCOPE
from .redaction import without_values

#: The application property of a message that says which span has sent it (W3C); .NET's SDK writes the other one too.
TRACEPARENT = "traceparent"
_CARRIERS = (TRACEPARENT, "Diagnostic-Id")
#: Contexts that a span of a batch is linked to, and correlation ids that it names.
MAX_LINKS = 32
MAX_CORRELATIONS = 8

#: Attributes of spans.
ENTITY = "msisync.entity"
MESSAGES = "msisync.messages"
CORRELATION = "msisync.correlation_ids"
SYSTEM = "msisync.system"
ENDPOINT = "msisync.endpoint"
METHOD = "msisync.method"  # not http.request.method: the exporter would then name the span POST /
CODE = "msisync.code"
REQUEST_ID = "msisync.request_id"
SPAN_ATTRIBUTES = (ENTITY, MESSAGES, CORRELATION, SYSTEM, ENDPOINT, METHOD, CODE, REQUEST_ID)

#: An id; what stands in its place may be anything.
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_W3C = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
#: A context of any version of any format, as far as it can be passed on.
_CARRIED = re.compile(r"[!-~]{1,256}")
_tracer = trace.get_tracer(SCOPE)
#: What stands before the resource in a path of either vendor, and what tells one row or job from another.
_PREFIX = re.compile(r"^(https?://[^/]*)?/?(api/data/v[\d.]+|rest/(asset/)?v1|bulk/v1)?/?")
_PARTICULAR = re.compile(r"\([^)]*\)|\.json$|(?<=/)[0-9a-fA-F-]*\d[0-9a-fA-F-]*(?=/|\.json|$)")


def here() -> str:
    """The current span as a traceparent; empty where there is none."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def carried(*traceparents: str) -> Properties:
    """The application property of a message that goes on with the one trace of what is in it.

    Without arguments that is the current span. What has several traces, or none, is left to whoever sends it.
    """
    distinct = set(traceparents or [here()])
    return {TRACEPARENT: distinct.pop()} if len(distinct) == 1 and all(distinct) else {}


def passed_on(properties: Mapping[str, object]) -> Properties:
    """The context that a message came with, for a message that takes its place."""
    came_with = _traceparent(properties)
    return {TRACEPARENT: came_with} if came_with else {}


@contextmanager
def invocation(name: str, messages: Iterable[Mapping[str, object]] = (), entity: str = "") -> Iterator[None]:
    """Around the work on these messages, given by their application properties.

    The span is the child of the message that came with a context. Where several did, it is linked to each of them, up
    to `MAX_LINKS`, and stays in the invocation's own trace, as the platform gave it.
    """
    with without_values():
        if _nobody_listens():
            yield
            return
        given = [_traceparent(properties) for properties in messages]
        contexts = [context for each in dict.fromkeys(given) if (context := _context(each))]
        current = trace.get_current_span().get_span_context()
        parent = contexts.pop() if len(contexts) == 1 else None
        if parent and current.is_valid:
            contexts.append(current)
        attributes: dict[str, str | int] = {MESSAGES: len(given)} | ({ENTITY: entity} if entity else {})
        links = [Link(context) for context in contexts[:MAX_LINKS]]
        # A CONSUMER would be a second request beside the one that the host reports.
        with _span(name, SpanKind.INTERNAL, attributes, parent, links):
            yield


def correlate(ids: Iterable[str]) -> None:
    """Name Dataverse's correlation ids on the current span, the first few of them."""
    distinct = list(dict.fromkeys(id_ for id_ in ids if _ID.fullmatch(id_)))[:MAX_CORRELATIONS]
    if distinct:
        trace.get_current_span().set_attribute(CORRELATION, distinct)


@dataclass(frozen=True)
class Call:
    """A call that runs."""

    span: Span

    def answered(self, request_id: str) -> None:
        """What the vendor's support asks for."""
        if request_id:
            self.span.set_attribute(REQUEST_ID, request_id)


@contextmanager
def calling(system: str, method: str, url: str) -> Iterator[Call]:
    """Around one request of a vendor: a span, and one more of `msisync.calls`."""
    if _nobody_listens():
        yield Call(trace.INVALID_SPAN)
        return
    endpoint = endpoint_of(url)
    attributes = {SYSTEM: system, ENDPOINT: endpoint, METHOD: method, "peer.service": system}
    result = "ok"
    with _span(f"{system} {endpoint}", SpanKind.CLIENT, attributes) as span:
        call = Call(span)
        try:
            yield call
        except VendorError as error:
            result = error.code
            call.answered(error.request_id)
            span.set_attribute(CODE, error.code)
            raise
        except BaseException as error:
            result = type(error).__name__
            raise
        finally:
            metrics.record(CALLS, 1, system, endpoint, result)


def endpoint_of(url: str) -> str:
    """The resource of a vendor's URL, without what is particular: `leads/describe2`, `contacts`, `WhoAmI`."""
    return _PARTICULAR.sub("", _PREFIX.sub("", url.partition("?")[0])).strip("/").replace("//", "/")


@contextmanager
def _span(
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, str | int],
    parent: SpanContext | None = None,
    links: list[Link] | None = None,
) -> Iterator[Span]:
    """A span that says of an exception only its class: texts of vendors may quote values of records."""
    context = trace.set_span_in_context(trace.NonRecordingSpan(parent)) if parent else None
    span = _tracer.start_span(name, context, kind, attributes, links)
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


def _nobody_listens() -> bool:
    """Without an SDK a span would cost a tenth of a millisecond for nothing, which is much beside a change's own."""
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _traceparent(properties: Mapping[str, object]) -> str:
    """What a message came with; nothing where that is no context, and perhaps nothing that a message can carry."""
    given = next((str(properties[name]) for name in _CARRIERS if properties.get(name)), "")
    return given if _CARRIED.fullmatch(given) else ""


def _context(traceparent: str) -> SpanContext | None:
    parts = _W3C.fullmatch(traceparent)
    if not parts:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in parts.groups())
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None
