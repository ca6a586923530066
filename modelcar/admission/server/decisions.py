"""From the bytes of a review to those of its answer, in few threads and in bounded time."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from modelcar.admission.admit import Caller, Resolver, admit
from modelcar.admission.patch import patch_of
from modelcar.admission.review import Answer, Question, allowed, denied, patched, read_review
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import ModelcarError, Refused, UsageError

__all__ = ["Busy", "Decided", "Decisions"]

_LARGE: Final = 512 << 10  # bytes of a review; pods have a few thousand
_STUCK_SECONDS: Final = 60.0  # longer than any time limit: a thread that takes it will never come back
_log = logging.getLogger("modelcar.admission")


class Busy(Exception):
    """There is more to do than can be done in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision. `body` is the AdmissionReview that says it, `seconds` how long it took a thread."""

    question: Question
    answer: Answer
    body: bytes
    seconds: float


class Decisions:
    """Decides about pods by `settings`, which may be replaced at any time, with what `resolver` finds out.

    At most `threads` at a time; `waiting` more wait for that.
    """

    def __init__(self, settings: AdmissionSettings, resolver: Resolver, *, threads: int, waiting: int) -> None:
        self.settings = settings
        self._resolver = resolver
        self._most = threads + waiting
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "admission")
        self._accepted = 0
        self._large = threading.Lock()
        self._begun: dict[object, float] = {}

    @property
    def accepted(self) -> int:
        """Reviews that are decided about, or wait for it."""
        return self._accepted

    def stuck(self) -> bool:
        """Whether no thread has got anywhere for so long that none ever will."""
        late = time.monotonic() - _STUCK_SECONDS
        begun = list(self._begun.values())
        return len(begun) >= self._threads and all(since < late for since in begun)

    def close(self) -> None:
        """Wait for the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def decide(self, body: bytes, seconds: float) -> Decided:
        """What becomes of what `body` asks about.

        Raises:
            UsageError: it is no AdmissionReview.
            WorldError: it cannot be decided.
            Busy: too many wait for a decision.
            TimeoutError: it takes more than `seconds`.
        """
        if self._accepted >= self._most:
            raise Busy
        self._accepted += 1
        deadline = time.monotonic() + seconds
        job = asyncio.get_running_loop().run_in_executor(self._pool, self._decided, body, deadline)
        job.add_done_callback(self._done)
        async with asyncio.timeout(seconds):
            found = await asyncio.shield(job)  # a thread that began goes on: its place is taken until it ends
        if isinstance(found, ModelcarError):
            raise found
        return found

    def _done(self, job: asyncio.Future[Any]) -> None:
        self._accepted -= 1
        with suppress(asyncio.CancelledError):
            job.exception()  # looked at, so that nobody reports one as forgotten whose client is gone

    def _decided(self, body: bytes, deadline: float) -> Decided | ModelcarError:
        """An error is returned bare: one that is raised holds all that was there, until somebody has looked at it."""
        began, token = time.monotonic(), object()
        if began >= deadline:
            raise TimeoutError
        self._begun[token] = began
        try:
            with self._alone() if len(body) > _LARGE else nullcontext():
                question = read_review(body)
                answer = self._answer(question, deadline - began)
                encoded = answer.to_bytes()
        except ModelcarError as e:
            e.__context__ = None
            return e.with_traceback(None)
        finally:
            del self._begun[token]
        return Decided(question=question, answer=answer, body=encoded, seconds=time.monotonic() - began)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One large review at a time: in memory it is thirty times as large, and ordinary ones need the threads."""
        if not self._large.acquire(blocking=False):
            raise Busy
        try:
            yield
        finally:
            self._large.release()

    def _answer(self, question: Question, seconds: float) -> Answer:
        settings, pod = self.settings, question.object
        if not settings.enabled or not question.creates_pod or pod is None:
            return allowed(question)
        if seconds < settings.trust.seconds:
            settings = replace(settings, trust=replace(settings.trust, seconds=seconds))
        caller = Caller(namespace=question.namespace, owner=owner_of(pod), dry_run=question.dry_run)
        try:
            outcome = admit(pod, self._resolver, caller, settings)
        except (Refused, UsageError) as e:
            return denied(question, e)
        return patched(question, patch_of(pod, outcome.pod), warnings=outcome.warnings, audit=outcome.audit)


def owner_of(pod: dict[str, Any]) -> str | None:
    """The UID of the controller that makes it."""
    meta = pod.get("metadata")
    owners = meta.get("ownerReferences") if isinstance(meta, dict) else None
    for owner in owners if isinstance(owners, list) else ():
        if isinstance(owner, dict) and owner.get("controller") is True and isinstance(owner.get("uid"), str):
            return str(owner["uid"])
    return None
