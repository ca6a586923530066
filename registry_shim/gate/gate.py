"""The gate: what is asked before anything leaves this node, and what is taken back."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from modelcar.cache.origin import Origin
from modelcar.errors import Denied, InvalidContent, ModelcarError
from modelcar.oci import Descriptor, Digest, Manifest, parse_manifest
from modelcar.serving.threads import in_thread
from modelcar.signing.places import Place
from modelcar.signing.policy.roots import authorities_of, prepare
from registry_shim.engines.canary import MARK, is_canary
from registry_shim.gate.cases import Case, Superseded, Workshop
from registry_shim.gate.docket import Docket
from registry_shim.gate.events import GateEvents, Unheard
from registry_shim.gate.evidence import check_evidence, looks_like_evidence
from registry_shim.gate.lineage import Known, Lineage
from registry_shim.gate.policybook import Page, policy_book
from registry_shim.gate.rescan import Rescan, When
from registry_shim.gate.revoking import Revocations, RevokedBlobs
from registry_shim.gate.rules import Rules
from registry_shim.gate.ruling import Ruling, State
from registry_shim.gate.scans import Leases
from registry_shim.gate.settings import GateRule, GateSettings, Mode, ScanDemand
from registry_shim.gate.threads import Threads
from registry_shim.gate.verdicts import NodeVerdict, VerdictStore

__all__ = ["Gate"]

T = TypeVar("T")

_log = logging.getLogger("registry_shim.gate")
_DECIDERS: Final = 4
_PATIENCE: Final = 3.0  # seconds for scans to end in


class Gate:
    """An `Admission`. For one event loop; `start` it before the first request and `close` it after the last.

    Args:
        root: the node's folder; what it knows lies in `root/verdicts`.
        places: reads a repository on behalf of whom its `Origin` says; called in threads.
        leases: the blobs of upstreams, for scans.
        blobs: cuts off those who are sent what must not be sent any more.
    """

    def __init__(
        self,
        settings: GateSettings,
        root: Path,
        places: Callable[[Origin], Place],
        leases: Leases,
        blobs: RevokedBlobs,
        events: GateEvents | None = None,
    ) -> None:
        self.settings = settings
        self._root, self._places, self._leases = root, places, leases
        self._rules = Rules(settings)
        self._book = policy_book(settings)
        self._events = events or Unheard()
        self._blobs = blobs
        self._tasks: set[asyncio.Task[None]] = set()
        self._shop: Workshop | None = None
        self._docket: Docket  # both with `start`
        self._revocations: Revocations | None = None
        self._is_closing = False

    async def start(self) -> None:
        """
        Raises:
            UsageError, NotFound: a policy or deny-list is not what it should be, or not there.
            StorageError: the node's folder, or a file of these, cannot be used.
        """
        await in_thread(self._open)
        self._spawn(self._watch())

    async def close(self) -> None:
        """Give up what is under way; scans begin anew the next time."""
        self._is_closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._shop is not None:
            await self._docket.close()
            self._shop.deciders.stop()
            self._shop.scanners.stop()
            with suppress(TimeoutError):  # whoever waits for bytes ends with the cache
                await asyncio.wait_for(asyncio.to_thread(self._shop.scanners.join), _PATIENCE)

    def admit_repository(self, origin: Origin) -> None:
        """As `Admission`."""
        if is_canary(origin.repository):
            self._events.refused("canary")
            raise Denied(
                f"{origin} is {MARK}, so that `registry-shim doctor` can see that refusals hold; "
                f"{self._rules.summary(origin.registry)}",
                hint="no image has that name",
            )
        if self._rules.refuses(origin):
            self._events.refused("repository")
            raise Denied(
                f"{origin} is not served by this node: none of the gate's rules speaks about it",
                hint="add a rule for it, or set `unmatched: allow`",
            )

    async def admit(self, origin: Origin, descriptor: Descriptor, content: bytes) -> tuple[str, ...]:
        """As `Admission`."""
        return await self._by_rules_of_the_end(origin, lambda: self._admit(origin, descriptor, content))

    async def _admit(self, origin: Origin, descriptor: Descriptor, content: bytes) -> tuple[str, ...]:
        self.admit_repository(origin)
        rule = self._rules.of(origin)
        self._check_denied(origin, descriptor.digest, rule)
        if descriptor.digest.algorithm != "sha256":  # by whatever algorithm it is asked for, lists have this one
            self._check_denied(origin, Digest.of(content), rule)
        if rule is None or rule.mode is Mode.OFF:
            return ()
        if rule.mode is Mode.ENFORCE and (ruling := self._docket.at_hand(origin, descriptor.digest)) is not None:
            return ruling.warnings
        try:
            document = parse_manifest(content, descriptor.media_type)
        except InvalidContent:
            if rule.mode is Mode.ENFORCE:
                raise
            return ()
        if looks_like_evidence(document):
            if rule.mode is Mode.ENFORCE and isinstance(document, Manifest):
                await self._admit_evidence(origin, descriptor, document)
            return ()
        if rule.mode is Mode.ENFORCE:
            with self._counting("manifest"):
                return (await self._docket.require_manifest(origin, descriptor, rule)).warnings
        case = self._docket.case(origin, descriptor, rule)
        if rule.mode is Mode.AUDIT:
            self._spawn(_quietly(case))
            return ()
        with suppress(TimeoutError):
            return (await asyncio.wait_for(case.decide(), self.settings.decide_seconds)).advice
        return ()

    async def admit_blob(self, origin: Origin, digest: Digest) -> None:
        """As `Admission`."""
        await self._by_rules_of_the_end(origin, lambda: self._admit_blob(origin, digest))

    async def _admit_blob(self, origin: Origin, digest: Digest) -> None:
        self.admit_repository(origin)
        rule = self._rules.of(origin)
        self._check_denied(origin, digest, rule)
        if rule is not None and rule.mode is Mode.ENFORCE:
            with self._counting("blob"):
                await self._docket.require_blob(origin, digest, rule)

    async def ready(self, origin: Origin, descriptor: Descriptor) -> None:
        """Return once the image may be served and no scan of it is under way.

        Raises:
            Denied: it may not.
        """
        await self._by_rules_of_the_end(origin, lambda: self._ready(origin, descriptor))

    async def _ready(self, origin: Origin, descriptor: Descriptor) -> None:
        self.admit_repository(origin)
        rule = self._rules.of(origin)
        self._check_denied(origin, descriptor.digest, rule)
        if rule is None or rule.mode is Mode.OFF:
            return
        ruling = await self._docket.case(origin, descriptor, rule).settle()
        if rule.mode is Mode.ENFORCE and ruling.state is not State.ALLOWED:
            raise ruling.refusal()

    async def foresee(self, origin: Origin, descriptor: Descriptor) -> None:
        """Return unless an image will not be served whatever its layers hold: so nobody need fetch them to find out.

        Raises:
            Denied: it will not.
        """
        await self._by_rules_of_the_end(origin, lambda: self._foresee(origin, descriptor))

    async def _foresee(self, origin: Origin, descriptor: Descriptor) -> None:
        self.admit_repository(origin)
        rule = self._rules.of(origin)
        self._check_denied(origin, descriptor.digest, rule)
        if rule is None or rule.mode is not Mode.ENFORCE:
            return
        try:
            ruling = await self._docket.case(origin, descriptor, rule).foresee()
        except InvalidContent:
            raise
        except ModelcarError:
            return  # who fetches finds out what is the matter
        if ruling.state is State.REFUSED and not ruling.is_outdated:
            raise ruling.refusal()

    def revoked(self, digest: Digest) -> str | None:
        """Why this node sends a blob to nobody, peers included: a deny-list of the node names it, or a scan of this
        node found it malicious. From any thread; does not block."""
        evil = self._revocations.evil.get(digest) if self._revocations is not None else None
        return self._book.page.denied.get(digest) or evil

    async def reload(self) -> bool:
        """Read policies and deny-lists now; returns whether that succeeded."""
        before = self._book.page
        changed = await in_thread(self._book.refresh)
        succeeded = self._book.problem is None
        if changed:
            await self._apply(before)
        if changed or not succeeded:
            self._events.reloaded(succeeded=succeeded)
        return succeeded

    async def change(self, settings: GateSettings) -> None:
        """Go by other settings from now on; every image is decided anew, and scans that were under way begin anew.

        Raises:
            UsageError, NotFound, StorageError: as `start`; then those of before hold.
        """
        book, before, shop, docket = policy_book(settings), self._book.page, self._opened, self._docket
        await in_thread(book.open)
        self.settings, self._rules, self._book = settings, Rules(settings), book
        self._shop = replace(shop, settings=settings, book=book, authorities=authorities_of(settings.trust))
        self._docket = Docket(self._shop)
        await docket.close()
        await self._apply(before)

    async def rescan(self, origin: Origin, digest: Digest) -> Rescan:
        """Believe no longer what this node found in an image, and scan it again where its rule asks for that.

        Raises:
            StorageError: its verdict cannot be removed.
        """
        shop, rule, summary = self._opened, self._rules.of(origin), "no rule has this node scan it"
        scans = rule is not None and rule.mode is not Mode.OFF and rule.scan is ScanDemand.NODE
        before = await in_thread(shop.verdicts.doubt if scans else shop.verdicts.forget, digest)
        if before is not None and self._revocations is not None:
            await in_thread(self._revocations.doubt if scans else self._revocations.clear, before.layers)
        found = before.outcome if before is not None else None
        case = self._docket.find(origin, digest)
        if case is None or not scans:
            if case is not None:
                case.expire()
            when = When.NEXT_PULL if scans else When.NEVER
            return Rescan(found=found, when=when, reason=None if scans else summary)
        case.expire()
        try:
            ruling = await asyncio.wait_for(case.decide(), self.settings.decide_seconds)
        except (TimeoutError, Superseded):  # that goes on, or begins with the next one who asks
            return Rescan(found=found, when=When.NOW)
        if case.is_scanning:
            return Rescan(found=found, when=When.NOW)
        why = ruling.reasons[0] if ruling.reasons else "a signed verdict suffices"
        return Rescan(found=found, when=When.NEVER, reason=why)

    def status(self) -> dict[str, Any]:
        """For people: the state of policies, and where each image stands that somebody asked for."""
        images = []
        for case in self._docket.all() if self._shop is not None else ():
            if case.ruling is not None:
                stage = case.stage
                entry = case.ruling.to_dict()
                scan = {"doing": stage.doing, "share": round(stage.share, 4)} if stage is not None else None
                images.append({**entry, "scan": scan})
        return {
            "rules": [{"images": rule.images, "mode": str(rule.mode)} for rule in self.settings.rules],
            "unmatched": str(self.settings.unmatched) if self.settings.rules else "allow",
            "policies": {"version": self._book.page.version, "problem": self._book.problem},
            "denied": len(self._book.page.denied),
            "images": images,
        }

    def _open(self) -> None:
        self._book.open()
        folder = self._root / "verdicts"
        verdicts = VerdictStore(folder)
        spool = folder / "spool"
        shutil.rmtree(spool, ignore_errors=True)  # what a scan left that was killed
        spool.mkdir(mode=0o700, exist_ok=True)
        authorities = authorities_of(self.settings.trust)
        self._shop = Workshop(
            settings=self.settings,
            book=self._book,
            verdicts=verdicts,
            lineage=Lineage(folder / "images"),
            authorities=authorities,
            places=self._places,
            leases=self._leases,
            spool=spool,
            deciders=Threads("gate", _DECIDERS),
            scanners=Threads("gate-scan", self.settings.scan.at_once),
            events=self._events,
            scanned=self._scanned,
            turned=self._turned,
        )
        self._docket = Docket(self._shop)
        self._revocations = Revocations(self._blobs, self._shop.lineage, verdicts)
        self._revocations.apply(Page(), self._book.page)
        if self._book.page.wants_identities:
            threading.Thread(target=prepare, args=(authorities, _log), name="gate-roots", daemon=True).start()

    def _check_denied(self, origin: Origin, digest: Digest, rule: GateRule | None) -> None:
        reason = self._book.page.refusal(digest, rule)
        if reason is None and rule is not None and rule.mode is Mode.ENFORCE and rule.demands_scan:
            reason = self._revocations.evil.get(digest) if self._revocations is not None else None
        if reason is not None:
            self._events.refused("denied")
            raise Denied(f"{origin}@{digest} is not served by this node: {reason}", hint="use another image")

    async def _admit_evidence(self, origin: Origin, descriptor: Descriptor, document: Manifest) -> None:
        shop = self._opened
        before = shop.lineage.get(origin, descriptor.digest)
        if before is not None and document.config.digest in before.blobs:
            return

        def look() -> None:
            blobs = check_evidence(document, shop.places(origin))
            known = Known(
                origin=Origin(registry=origin.registry, repository=origin.repository),
                root=descriptor.plain(),
                documents=frozenset({descriptor.digest}),
                blobs=blobs,
                is_evidence=True,
            )
            shop.lineage.add(known)

        try:
            await asyncio.get_running_loop().run_in_executor(shop.deciders.of(origin.registry), look)
        except InvalidContent as e:
            self._events.refused("manifest")
            raise Denied(f"{origin}@{descriptor.digest} claims to be signatures, and is not: {e}") from None

    async def _by_rules_of_the_end(self, origin: Origin, decide: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Where rules change while somebody waits, the new ones are asked."""
        while not self._is_closing:
            with suppress(Superseded):
                return await decide()
        raise Denied(f"{origin} is not served by this node: it stops", hint="try again later")

    @contextmanager
    def _counting(self, kind: str) -> Iterator[None]:
        try:
            yield
        except Denied:
            self._events.refused(kind)
            raise

    @property
    def _opened(self) -> Workshop:
        if self._shop is None:
            raise RuntimeError("the gate was not started")
        return self._shop

    def _scanned(self, before: NodeVerdict | None, verdict: NodeVerdict) -> None:
        if before is not None and self._revocations is not None:
            self._revocations.clear(before.layers, still=verdict.layers)

    def _turned(self, case: Case) -> None:
        ruling = case.ruling
        if ruling is None or not ruling.is_revoked or ruling.is_served or self._revocations is None:
            return
        self._revocations.note(ruling)
        self._spawn(self._cut(ruling, case))

    async def _cut(self, ruling: Ruling, case: Case) -> None:
        assert self._revocations is not None  # noqa: S101  # or nothing would have turned
        cases = self._docket.all()
        served = {(c.origin.name, c.root.digest) for c in cases if c.ruling is None or c.ruling.is_served}
        blobs = await in_thread(self._revocations.cut, case.origin, ruling, served)
        if blobs:
            _log.warning("%s@%s: pulls of %d blobs are cut", ruling.image, ruling.digest, blobs)
        self._events.revoked(ruling, blobs)

    async def _apply(self, before: Page) -> None:
        """What a changed policy or deny-list means for what is under way, and for what was decided."""
        if self._revocations is not None:
            await in_thread(self._revocations.apply, before, self._book.page)
        for case in self._docket.all():
            if case.ruling is not None:
                self._spawn(_quietly(case))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.settings.reload_seconds)
            try:
                await self.reload()
            except Exception:  # whatever it is, the next change must be seen
                _log.exception("policies could not be read again")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _quietly(case: Case) -> None:
    """Decide it; nobody waits for that."""
    try:
        await case.decide()
    except Superseded:
        pass
    except ModelcarError as e:
        _log.warning("an image is not looked at: %s", e)
