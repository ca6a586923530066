"""One image under its rule: examined, scanned if need be, ruled about, and again when that is no longer current."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from modelcar.cache.origin import Origin
from modelcar.errors import InvalidContent, ModelcarError
from modelcar.oci import Descriptor
from modelcar.signing.places import Place
from modelcar.signing.policy import Authorities
from modelcar.signing.policy.watched import Watched
from registry_shim.gate.events import GateEvents
from registry_shim.gate.examine import Examination, examine
from registry_shim.gate.lineage import Known, Lineage
from registry_shim.gate.policybook import Page
from registry_shim.gate.ruling import Ruling, State, judge, unseen
from registry_shim.gate.scans import Leases, Scan, ScanStage
from registry_shim.gate.settings import GateRule, GateSettings, OnPending
from registry_shim.gate.threads import Threads
from registry_shim.gate.verdicts import NodeVerdict, VerdictStore

__all__ = ["Case", "Superseded", "Workshop"]

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("registry_shim.gate")
_SOON = 2.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What every case works with. `places` reads a repository, on behalf of whom its `Origin` says."""

    settings: GateSettings
    book: Watched[Page]
    verdicts: VerdictStore
    lineage: Lineage
    authorities: Authorities
    places: Callable[[Origin], Place]
    leases: Leases
    spool: Path
    deciders: Threads
    scanners: Threads
    events: GateEvents
    scanned: Callable[[NodeVerdict | None, NodeVerdict], None]
    """Called with the verdict of before, if there was one, and the new one."""
    turned: Callable[[Case], None]
    """Called when a ruling is another than before."""


class Superseded(Exception):
    """Other rules hold by now: whoever waits has to ask anew, by those."""


class Case:
    """For the event loop alone. What waits for a ruling raises `Superseded` once the case is closed."""

    def __init__(self, shop: Workshop, origin: Origin, root: Descriptor, rule: GateRule) -> None:
        self._shop = shop
        self.origin, self.root, self.rule = origin, root, rule
        self.ruling: Ruling | None = None
        self._seen: Examination | None = None
        self._version = ""
        self._expires = 0.0
        self._deciding: asyncio.Task[None] | None = None
        self._scanning: asyncio.Task[None] | None = None
        self._scan: Scan | None = None
        self._failure: str | None = None
        self._is_closed = False

    @property
    def current(self) -> Ruling | None:
        """The ruling, if it still stands."""
        fresh = self._version == self._shop.book.page.version and time.monotonic() < self._expires
        return self.ruling if fresh and not self._is_closed else None

    @property
    def stage(self) -> ScanStage | None:
        """Of the scan that is under way."""
        return self._scan.stage if self._scan is not None else None

    @property
    def is_scanning(self) -> bool:
        return self._scanning is not None and not self._scanning.done()

    @property
    def _short(self) -> float:
        return self._shop.settings.refused_seconds

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way."""
        return any(task is not None and not task.done() for task in (self._deciding, self._scanning))

    async def decide(self) -> Ruling:
        """The ruling, from now if need be. It may be *pending*: then a scan is under way."""
        while (ruling := self.current) is None:
            if self._is_closed:
                raise Superseded
            if self._deciding is None or self._deciding.done():
                self._deciding = asyncio.create_task(self._decide())
            await _end_of(self._deciding)
        return ruling

    async def settle(self) -> Ruling:
        """As `decide`, once no scan is under way."""
        ruling = await self.decide()
        while ruling.state is State.PENDING and self._scanning is not None and not self._scanning.done():
            await _end_of(self._scanning)
            ruling = await self.decide()
        return ruling

    async def foresee(self) -> Ruling:
        """The ruling as far as it does not take a scan, which is not begun for it.

        Raises:
            ModelcarError: it cannot be looked at now.
        """
        if (current := self.current) is not None:
            return current
        page = self._shop.book.page
        seen = await self._in(self._shop.deciders, self._examine, page)
        if self._is_closed:
            raise Superseded
        ruling = self._judged(seen)
        if ruling.state is State.REFUSED and not ruling.is_outdated:
            self._seen = seen
            self._take(ruling, page, self._short)
        return ruling

    def expire(self) -> None:
        """Decide anew when somebody asks."""
        self._expires = 0.0

    async def close(self) -> None:
        """Give everything up that is under way."""
        self._is_closed = True
        if self._scan is not None:
            self._scan.cancel()
        tasks = [task for task in (self._deciding, self._scanning) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _decide(self) -> None:
        page = self._shop.book.page
        try:
            seen = await self._in(self._shop.deciders, self._examine, page)
        except ModelcarError as e:
            self._unknown(e, page)
            return
        self._seen = seen
        self._rule(page)

    async def _in(self, threads: Threads, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        pool = threads.of(self.origin.registry)
        return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *arguments, **named))

    def _examine(self, page: Page) -> Examination:
        seen = examine(
            self.origin,
            self.root,
            self._shop.places(self.origin),
            self.rule,
            page.of(self.rule),
            self._shop.authorities,
            datetime.now(UTC),
        )
        known = Known(
            origin=replace(self.origin, authorization=None),
            root=self.root,
            documents=seen.documents,
            blobs=frozenset(blob.digest for blob in seen.blobs),
        )
        self._shop.lineage.add(known)
        return seen

    def _rule(self, page: Page, *, may_scan: bool = True) -> None:
        """By what has been seen, and this node's verdict as it is now."""
        if self._seen is None:
            return
        ruling = self._judged(self._seen)
        has_failed = ruling.state is State.PENDING and self._failure is not None
        if has_failed and self._failure is not None:
            # Else whoever makes a file that no scan survives has it streamed for ever.
            state = State.REFUSED if self.rule.on_pending is OnPending.STREAM else State.PENDING
            ruling = replace(ruling, state=state, reasons=(self._failure, *ruling.reasons))
        is_short = has_failed or ruling.state is State.REFUSED
        self._take(ruling, page, self._short if is_short else self._shop.settings.valid_seconds)
        if may_scan and (has_failed or ruling.state is State.PENDING or ruling.is_outdated):
            self._begin_scan(page)

    def _judged(self, seen: Examination) -> Ruling:
        verdict = self._shop.verdicts.get(self.root.digest) if self.rule.demands_scan else None
        return judge(self.origin.name, self.rule, seen, verdict, self._shop.settings.scan, datetime.now(UTC))

    def _take(self, ruling: Ruling, page: Page, seconds: float) -> None:
        before, self.ruling = self.ruling, ruling
        self._version, self._expires = page.version, time.monotonic() + seconds
        if before is None or _gist(before) != _gist(ruling):
            _log.log(
                logging.INFO if ruling.state is not State.REFUSED else logging.WARNING,
                "%s@%s: %s (%s, rule %s)%s",
                ruling.image,
                ruling.digest,
                ruling.state,
                ruling.rule.mode,
                ruling.rule.images,
                f": {ruling.reasons[0]}" if ruling.reasons else "",
            )
            self._shop.events.ruled(ruling)
            self._shop.turned(self)

    def _unknown(self, error: ModelcarError, page: Page) -> None:
        """It cannot be looked at now. What was seen before, under the same policies, still is so."""
        if self._seen is not None and self._version == page.version and not isinstance(error, InvalidContent):
            _log.warning("%s@%s is not looked at again: %s", self.origin, self.root.digest, error)
            self._expires = time.monotonic() + self._short
            return
        verdict = self._shop.verdicts.get(self.root.digest) if self.rule.demands_scan else None
        soon = min(_SOON, self._short)  # whoever asks next may be let in where this one was not
        self._take(unseen(self.origin.name, self.root.digest, self.rule, verdict, error), page, soon)

    def _begin_scan(self, page: Page) -> None:
        if not self.is_scanning:
            self._scanning = asyncio.create_task(self._run_scan(page))

    async def _run_scan(self, page: Page) -> None:
        shop = self._shop
        scan = self._scan = Scan(
            self.origin, self.root, shop.places(self.origin), shop.leases, shop.settings.scan, shop.spool
        )
        try:
            verdict = await self._in(shop.scanners, scan.run)
            before = await self._in(shop.deciders, shop.verdicts.replace, verdict)
        except ModelcarError as e:
            self._failure = str(e)
            shop.events.scan_failed()
        except Exception as e:  # whatever it is, nobody has looked at the image
            _log.exception("%s@%s cannot be scanned", self.origin, self.root.digest)
            self._failure = f"its scan came to no verdict: {type(e).__name__}"
            shop.events.scan_failed()
        else:
            self._failure = None
            shop.events.scanned(verdict)
            shop.scanned(before, verdict)
        finally:
            self._scan = None
        self._rule(page, may_scan=False)


def _gist(ruling: Ruling) -> tuple[object, ...]:
    """What makes it another one."""
    return ruling.state, ruling.reasons, ruling.evil


async def _end_of(task: asyncio.Task[None]) -> None:
    """Wait for what others wait for, too. Raises what it ended with."""
    await asyncio.wait([task])
    if task.cancelled():
        raise Superseded
    task.result()
