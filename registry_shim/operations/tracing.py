"""OpenTelemetry traces, where they are configured: a span for each request, and for each fetch.

A client's `traceparent` is followed. It goes on to no upstream: whose requests are one person's is nobody's business
there. Nothing of OpenTelemetry is imported unless traces are configured.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from modelcar import __version__
from modelcar.errors import ModelcarError, UsageError
from modelcar.files import read_bounded
from modelcar.lazy.sources import Outcome, SourceKind
from modelcar.serving.exchange import Exchange
from modelcar.serving.messages import Request
from registry_shim.operations.routes import route_of
from registry_shim.operations.settings import TraceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span

__all__ = ["Tracing"]

_log = logging.getLogger(__name__)
_NOTES: Final = ("cache", "repository", "digest", "upstream", "peer", "mirror")
_MAX_HEADERS: Final = 64 << 10  # bytes
_WAITING: Final = 10_000  # spans of requests that run; more are not traced


class Tracing:
    """An `Observer` of exchanges. `close` sends what is left.

    Raises:
        ModelcarError: OpenTelemetry is not installed.
        StorageError, UsageError: the file of headers cannot be used.
    """

    def __init__(self, settings: TraceSettings, exporter: SpanExporter | None = None) -> None:
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
            raise ModelcarError("traces need OpenTelemetry", hint="pip install 'modelcar[otel]'")
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        resource = Resource.create({"service.name": "registry-shim", "service.version": __version__})
        sampler = ParentBased(TraceIdRatioBased(settings.share))
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_telling(exporter or _exporter(settings), settings)))
        self._tracer = self._provider.get_tracer("registry_shim", __version__)
        self._open: dict[int, Span] = {}

    def begun(self, request: Request) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        route = route_of(request.path)
        if route == "operations" or len(self._open) >= _WAITING:
            return
        parent = TraceContextTextMapPropagator().extract({"traceparent": request.headers.get("traceparent", "")})
        attributes = {"http.request.method": request.method, "http.route": route, "client.address": request.client}
        span = self._tracer.start_span(
            f"{request.method} {route}", context=parent, kind=SpanKind.SERVER, attributes=attributes
        )
        self._open[id(request)] = span

    def finished(self, exchange: Exchange) -> None:
        from opentelemetry.trace import Status, StatusCode

        span = self._open.pop(id(exchange.request), None)
        if span is None:
            return
        span.set_attribute("http.response.status_code", exchange.status)
        span.set_attribute("http.response.body.size", exchange.sent)
        notes: Mapping[str, Any] = exchange.response.notes if exchange.response is not None else {}
        for name in _NOTES:
            if name in notes:
                span.set_attribute(f"registry_shim.{name}", notes[name])
        if exchange.status >= 500 or not exchange.complete:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def fetched(self, kind: SourceKind, outcome: Outcome, seconds: float) -> None:
        """A request for a range to an upstream or a peer ended just now. From any thread."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        end = time.time_ns()
        attributes = {"registry_shim.source": kind.value, "registry_shim.outcome": outcome.value}
        span = self._tracer.start_span(
            "fetch", kind=SpanKind.CLIENT, attributes=attributes, start_time=end - int(seconds * 1e9)
        )
        if outcome is not Outcome.DONE:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def close(self) -> None:
        """Waits for the collector, for some seconds at most."""
        self._provider.shutdown()


class _Telling:
    """A `SpanExporter` that says when the collector stops taking spans, and when it takes them again."""

    def __init__(self, exporter: SpanExporter, collector: str) -> None:
        self._exporter, self._collector = exporter, collector
        self._takes = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        from opentelemetry.sdk.trace.export import SpanExportResult

        result = self._exporter.export(spans)
        takes = result is SpanExportResult.SUCCESS
        if takes != self._takes:
            self._takes = takes
            what = "takes traces again" if takes else "takes no traces; they are dropped until it does"
            _log.warning("%s %s", self._collector, what)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _telling(exporter: SpanExporter, settings: TraceSettings) -> SpanExporter:
    """In place of the library's own words, which are several lines a batch, with the names of its classes."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    return cast("SpanExporter", _Telling(exporter, settings.endpoint.partition("?")[0]))


def _exporter(settings: TraceSettings) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    headers = _headers(settings.headers_file) if settings.headers_file else {}
    return OTLPSpanExporter(endpoint=settings.endpoint, headers=headers, timeout=5)


def _headers(path: Path) -> dict[str, str]:
    try:
        lines = read_bounded(path, _MAX_HEADERS, "a file of headers").decode().splitlines()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
    headers = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or not name.strip():
            raise UsageError(f"{path}:{number} is not a header", hint="Name: value")
        headers[name.strip().lower()] = value.strip()
    return headers
