"""HTTP: `POST /mutate` for the API server, and what a kubelet and Prometheus ask.

Whatever happens becomes a short answer. One that is no decision has a status of 400 and more, for which the webhook
configuration has its `failurePolicy`; with `Retry-After` the API server asks again while it has time.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable
from typing import Final

from modelcar.admission.review import errored
from modelcar.admission.server.decisions import Busy, Decided, Decisions
from modelcar.admission.server.metrics import CONTENT_TYPE, Metrics
from modelcar.errors import ModelcarError, UsageError
from modelcar.serving.messages import ClientGone, Request, Response
from modelcar.units import read_seconds

__all__ = ["PATH", "Operations", "Webhook"]

PATH: Final = "/mutate"
_BATCH: Final = 1 << 18
_MARGIN: Final = 1.0  # seconds in which an answer gets back to the API server
_log = logging.getLogger("modelcar.admission")


class Webhook:
    """Answers the API server. `stopping` makes every answer the last one of its connection."""

    def __init__(
        self, decisions: Decisions, metrics: Metrics, *, request_seconds: float, body_bytes: int, bodies_bytes: int
    ) -> None:
        self.stopping = False
        self._decisions = decisions
        self._metrics = metrics
        self._request_seconds = request_seconds
        self._body_bytes = body_bytes
        self._room = bodies_bytes

    async def handle(self, request: Request) -> Response:
        """The answer; nothing is raised but `ClientGone`."""
        if request.path != PATH:
            return self._refused(404, f"there is nothing but {PATH} here")
        if request.method != "POST":
            return self._refused(405, f"{PATH} takes POST", Allow="POST")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return self._refused(415, "the body is not application/json")
        length = request.body.length or 0
        if length > self._body_bytes:
            return self._refused(413, f"the body has more than {self._body_bytes} bytes")
        if length > self._room:
            return self._failed("busy", 503, "too much is under way")
        self._room -= length
        began = time.monotonic()
        try:
            return await self._answer(request, self._patience(request))
        finally:
            self._room += length
            self._metrics.answered(time.monotonic() - began)

    def _patience(self, request: Request) -> float:
        """Seconds for one request. The API server says how long it waits, rounded up: `?timeout=10s`."""
        waits = read_seconds(request.parameter("timeout") or "")
        return min(self._request_seconds, max(waits - _MARGIN, waits / 2)) if waits else self._request_seconds

    async def _answer(self, request: Request, seconds: float) -> Response:
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                body = b"".join([piece async for batch in request.body.batches(_BATCH) for piece in batch])
            decided = await self._decisions.decide(body, deadline - time.monotonic())
        except Busy:
            return self._failed("busy", 503, "too many pods are being decided about")
        except TimeoutError:
            return self._failed("late", 504, f"it was not decided in {seconds:g} seconds")
        except UsageError as e:
            return self._failed("request", 400, str(e) if e.hint is None else f"{e}; {e.hint}")
        except ModelcarError as e:
            return self._failed("world", 503, str(e))
        except ClientGone:
            raise
        except Exception as e:
            where = traceback.extract_tb(e.__traceback__)[-1]
            _log.error("a defect at %s:%s", where.filename, where.lineno, exc_info=e)
            return self._failed("defect", 500, f"internal error: {type(e).__name__}")
        self._metrics.decided(decided)
        _tell(decided)
        return self._response(200, decided.body)

    def _failed(self, problem: str, status: int, message: str) -> Response:
        self._metrics.failed(problem)
        _log.warning("no decision: %s", message, extra={"status": status})
        headers = {"Retry-After": "1"} if problem == "busy" else {}
        return self._response(status, errored(status, message), **headers)

    def _refused(self, status: int, message: str, **headers: str) -> Response:
        self._metrics.failed("request")
        return self._response(status, errored(status, message), **headers)

    def _response(self, status: int, body: bytes, **headers: str) -> Response:
        last = {"Connection": "close"} if self.stopping else {}
        return Response(status=status, headers={"Content-Type": "application/json", **headers, **last}, body=body)


def _tell(decided: Decided) -> None:
    """One line a decision. What a pod contains is not in it, but for what a denial says."""
    if not _log.isEnabledFor(logging.INFO):
        return
    question, answer = decided.question, decided.answer
    text = f"{answer.decision}: {answer.message}" if answer.message else answer.decision
    _log.info(
        "%s",
        f"{text} (dry run)" if question.dry_run else text,
        extra={
            "operation": question.operation,
            "kind": question.kind,
            "namespace": question.namespace,
            "object": question.name,
            "uid": question.uid,
            "decision": answer.decision,
            "seconds": round(decided.seconds, 4),
        },
    )


class Operations:
    """Answers the kubelet and Prometheus. `unready` and `dead` say why, if so."""

    def __init__(self, metrics: Metrics, *, unready: Callable[[], str | None], dead: Callable[[], str | None]) -> None:
        self._metrics = metrics
        self._questions = {"/readyz": unready, "/healthz": dead}

    async def handle(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _text(405, "that takes GET")
        if request.path == "/metrics":
            return Response(status=200, headers={"Content-Type": CONTENT_TYPE}, body=self._metrics.exposition())
        question = self._questions.get(request.path)
        if question is None:
            return _text(404, "there are /healthz, /readyz and /metrics")
        problem = question()
        return _text(200, "ok") if problem is None else _text(503, problem)


def _text(status: int, text: str) -> Response:
    headers = {"Content-Type": "text/plain; charset=utf-8"}
    return Response(status=status, headers=headers, body=f"{text}\n".encode())
