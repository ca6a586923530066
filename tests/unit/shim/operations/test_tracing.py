"""Traces: what a span says, whose trace it belongs to, and that nobody pays who has none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from modelcar.errors import ModelcarError, StorageError, UsageError
from modelcar.lazy.sources import Outcome, SourceKind
from modelcar.serving.exchange import Exchange
from modelcar.serving.messages import Request, Response
from registry_shim.operations import tracing as tracing_module
from registry_shim.operations.metrics import Metrics
from registry_shim.operations.settings import TraceSettings
from registry_shim.operations.tracing import Tracing

ROOT = Path(__file__).parents[4]
ENDPOINT = "http://127.0.0.1:9/v1/traces"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def spans(*exchanges: tuple[Request, Response | None], share: float = 1.0) -> tuple[ReadableSpan, ...]:
    exporter = InMemorySpanExporter()
    tracing = Tracing(TraceSettings(endpoint=ENDPOINT, share=share), exporter)
    for request, response in exchanges:
        tracing.begun(request)
        complete = response is not None
        tracing.finished(Exchange(request=request, response=response, sent=5, seconds=0.1, complete=complete))
    tracing.close()
    return exporter.get_finished_spans()


def request(path: str = "/v2/a/b/blobs/sha256:00", **headers: str) -> Request:
    return Request(method="GET", path=path, headers={"authorization": "Bearer secret", **headers}, client="10.0.0.1")


def test_a_request_is_a_span() -> None:
    (span,) = spans((request(), Response(status=206, notes={"cache": "hit", "peer": 5, "password": "secret"})))
    assert span.name == "GET blob"
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "blob",
        "client.address": "10.0.0.1",
        "http.response.status_code": 206,
        "http.response.body.size": 5,
        "registry_shim.cache": "hit",
        "registry_shim.peer": 5,
    }
    assert "secret" not in span.to_json()


def test_a_clients_trace_is_followed_whatever_the_share() -> None:
    (span,) = spans((request(traceparent=PARENT), Response(status=200)), share=0.0)
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (PARENT[3:35], PARENT[36:52])


@pytest.mark.parametrize(
    "parent", ["", "garbage", PARENT.replace("-01", "-00"), "00-" + "0" * 32 + "-" + "0" * 16 + "-01"]
)
def test_others_are_sampled(parent: str) -> None:
    assert spans((request(traceparent=parent), Response(status=200)), share=0.0) == ()


def test_what_failed_is_marked() -> None:
    served, failed, left = spans(
        (request(), Response(status=404)), (request(), Response(status=502)), (request(), None)
    )
    assert [span.status.is_ok for span in (served, failed, left)] == [True, False, False]


def test_probes_are_no_traces() -> None:
    assert spans((request("/healthz"), Response(status=200)), (request("/metrics"), Response(status=200))) == ()


def test_a_fetch_is_a_span_as_long_as_it_took() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(TraceSettings(endpoint=ENDPOINT, share=1.0), exporter)
    Metrics(fetched=tracing.fetched).fetching.ended(SourceKind.PEER, Outcome.WRONG, 2.5)
    tracing.close()
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes or {}) == {"registry_shim.source": "peer", "registry_shim.outcome": "wrong"}
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 2_500_000_000
    assert not span.status.is_ok


def test_requests_that_never_end_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "_WAITING", 3)
    tracing = Tracing(TraceSettings(endpoint=ENDPOINT, share=1.0), InMemorySpanExporter())
    running = [request() for _ in range(10)]
    for each in running:
        tracing.begun(each)
    assert len(tracing._open) == 3
    tracing.close()


class Collector(InMemorySpanExporter):
    """Takes a batch where `answers` has yes for it."""

    def __init__(self, *answers: bool) -> None:
        super().__init__()
        self.answers = list(answers)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self.answers.pop(0) else SpanExportResult.FAILURE


def test_a_collector_that_goes_and_comes_is_told_of_once_each(caplog: pytest.LogCaptureFixture) -> None:
    tracing = Tracing(TraceSettings(endpoint=f"{ENDPOINT}?key=secret", share=1.0), Collector(True, False, False, True))
    for _ in range(4):
        tracing.fetched(SourceKind.UPSTREAM, Outcome.DONE, 0.1)
        tracing._provider.force_flush()
    tracing.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"{ENDPOINT} takes no traces; they are dropped until it does",
        f"{ENDPOINT} takes traces again",
    ]


@pytest.mark.slow
def test_nobody_listens(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    tracing = Tracing(TraceSettings(endpoint=ENDPOINT, share=1.0))
    tracing.fetched(SourceKind.UPSTREAM, Outcome.DONE, 0.1)
    tracing.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"{ENDPOINT} takes no traces; they are dropped until it does"
    ]
    assert capfd.readouterr() == ("", "")


def test_headers_for_the_collector(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("X-Key: a: b\n\nOther:c\n")
    assert tracing_module._headers(path) == {"x-key": "a: b", "other": "c"}
    path.write_text("nothing")
    with pytest.raises(UsageError, match="1 is not a header"):
        tracing_module._headers(path)
    with pytest.raises(StorageError, match="cannot read"):
        tracing_module._headers(tmp_path / "none")
    with pytest.raises(UsageError, match="more than 65536 bytes"):
        tracing_module._headers(Path("/dev/zero"))
    path.write_bytes(b"X: \xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        tracing_module._headers(path)


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "find_spec", lambda _: None)
    with pytest.raises(ModelcarError, match="need OpenTelemetry") as caught:
        Tracing(TraceSettings(endpoint=ENDPOINT))
    assert caught.value.hint == "pip install 'modelcar[otel]'"


@pytest.mark.slow
def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, registry_shim.operations.tracing; print([m for m in sys.modules if m.startswith('opentel')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
