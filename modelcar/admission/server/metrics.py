"""What the webhook counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from modelcar import __version__
from modelcar.admission.server.decisions import Decided

__all__ = ["CONTENT_TYPE", "PROBLEMS", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
PROBLEMS: Final = ("request", "busy", "late", "world", "defect")
"""Why a request got no decision: it is none; too many wait; time was up; a registry or the disk; a defect of ours."""
_PREFIX: Final = "modelcar_admission_"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """All metrics of one webhook, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._decisions = Counter(f"{_PREFIX}decisions_total", "Decisions.", ("decision", "dry_run"), registry=registry)
        self._problems = Counter(
            f"{_PREFIX}problems_total", "Requests without a decision.", ("problem",), registry=registry
        )
        self._warnings = Counter(f"{_PREFIX}warnings_total", "Warnings to whoever applies pods.", registry=registry)
        self._seconds = Histogram(
            f"{_PREFIX}request_seconds", "Seconds from a request to its answer.", buckets=_SECONDS, registry=registry
        )
        for problem in PROBLEMS:
            self._problems.labels(problem)
        Gauge(f"{_PREFIX}info", "Version.", ("version",), registry=registry).labels(__version__).set(1)
        ProcessCollector(registry=registry)

    def look_at(self, *, enabled: Callable[[], bool], accepted: Callable[[], int], until: Callable[[], float]) -> None:
        """Where gauges look: the kill switch, requests that wait for a decision, and when the certificate ends."""
        registry = self._registry
        Gauge(f"{_PREFIX}enabled", "Whether pods are looked at.", registry=registry).set_function(enabled)
        Gauge(f"{_PREFIX}requests", "Requests being decided.", registry=registry).set_function(accepted)
        Gauge(
            f"{_PREFIX}certificate_end_seconds",
            "When the certificate ends, in Unix time; 0: not ours.",
            registry=registry,
        ).set_function(until)

    def decided(self, decided: Decided) -> None:
        answer = decided.answer
        self._decisions.labels(answer.decision, str(decided.question.dry_run).lower()).inc()
        if answer.warnings:
            self._warnings.inc(len(answer.warnings))

    def failed(self, problem: str) -> None:
        """Count one of `PROBLEMS`."""
        self._problems.labels(problem).inc()

    def answered(self, seconds: float) -> None:
        self._seconds.observe(seconds)

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self._registry)
