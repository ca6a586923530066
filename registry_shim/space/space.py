"""Room for the cache: asked before bytes come, and looked after while they lie there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from modelcar.cache.stored import look_up, scan, taken
from modelcar.disk import Disk
from modelcar.errors import ModelcarError, NoSpace
from modelcar.lazy.holds import holds
from modelcar.oci import Digest, Reference
from registry_shim.space.budget import Need, human, need
from registry_shim.space.catalogue import Catalogue, Places, read_blob
from registry_shim.space.content import Content, Observer, Unobserved
from registry_shim.space.evict import Contents, Plan, abandoned, choose
from registry_shim.space.evictor import carry_out
from registry_shim.space.pins import Pin, Pins
from registry_shim.space.pushed import linked
from registry_shim.space.reserves import Reserves
from registry_shim.space.settings import SpaceSettings
from registry_shim.space.status import SpaceStatus, status_of
from registry_shim.space.uses import Uses

__all__ = ["Space"]

_log = logging.getLogger("registry_shim")


class Space:
    """The room under `root`. A context manager: within it the disk is looked after. Safe to use from any thread, but
    most of it touches the disk: keep it off the event loop, except for `touch`."""

    def __init__(
        self,
        root: Path,
        settings: SpaceSettings,
        places: Places,
        *,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.time,
        disk: Callable[[Path], Disk] = Disk.of,
    ) -> None:
        """Raises `StorageError`: ROOT/pins.json is damaged."""
        self.settings = settings
        self.pins = Pins(root / "pins.json")
        self._root = root
        self._content: Content | None = None
        self._observer = observer or Unobserved()
        self._clock = clock
        self._disk = disk
        self._uses = Uses(root / "uses.json")
        self._reserves = Reserves()
        self._catalogue = Catalogue(places, read_blob(root))
        self._lock = threading.Lock()  # one decision at a time
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, content: Content) -> None:
        """Look after what `content` keeps. Raises `StorageError` if the disk cannot be read."""
        self._content = content
        self._uses.keep(scan(self._root, self._uses.of))
        self._thread = threading.Thread(target=self._run, name="space", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Raises `StorageError`."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._uses.save()

    # What the rest of the shim tells and asks

    def touch(self, digest: Digest) -> None:
        """A manifest or blob was used. Touches memory only."""
        self._uses.touch(digest, self._clock())

    def make_room(self, digest: Digest, size: int) -> None:
        """Before the transfer of a blob begins; room once granted is nobody else's until it is over.

        Raises:
            NoSpace: there is none, and nothing that may go.
        """
        with self._lock:
            self._free({digest: size}, ahead=False)
            self._reserves.grant(digest, size)

    @contextmanager
    def reserved(self, sizes: Mapping[Digest, int]) -> Iterator[None]:
        """Room for all these blobs (bytes by digest); meanwhile none of them is evicted.

        Raises:
            NoSpace: there is none, and nothing that may go.
        """
        sizes = dict(sizes)
        with self._lock:
            self._free(sizes, ahead=True)
            self._reserves.hold(sizes)
        try:
            yield
        finally:
            self._reserves.release(sizes)

    def collect(self, *, wanted: int = 0, dry_run: bool = False) -> Plan:
        """Free `wanted` bytes or more, what the marks ask for, and what nobody went on with; returns what went, or
        with `dry_run` what would. Raises `StorageError`."""
        with self._lock:
            contents = self._contents()
            plan = self._surplus(contents, wanted)
            if not dry_run:
                self._carry_out(plan)
            return plan

    def look(self) -> None:
        """What happens every now and then: pins follow their tags, surplus goes. Raises `ModelcarError`."""
        with self._lock:
            contents = self._contents()
            self._settle_pins(contents)
            plan = self._surplus(contents, 0)
            if plan.evictions:
                _log.info("evicting %d blobs, %s", len(plan.digests), human(plan.freed))
            self._carry_out(plan)
            self._uses.keep(contents.stored.keys())
        self._uses.save()

    def pin(self, reference: Reference) -> Pin:
        """Keep an image, whether it is here yet or not. Raises `StorageError`."""
        return self.pins.add(reference, reference.digest or self._catalogue.tag(str(reference)))

    def unpin(self, reference: Reference) -> None:
        """Raises `NotFound`: it is not pinned."""
        self.pins.remove(reference)

    def pinned(self) -> tuple[Pin, ...]:
        return self.pins.all()

    def status(self) -> SpaceStatus:
        """Raises `StorageError`."""
        with self._lock:
            contents, disk = self._contents(), self._disk(self._root)
            return status_of(
                contents,
                disk=disk,
                taken=taken(self._root),
                coming=self._reserves.outstanding(contents.stored),
                budget=self.settings.budget,
                evictable=choose(contents, 1 << 62, idle_since=self._idle_since()).freed,
            )

    # How

    def _free(self, coming: Mapping[Digest, int], *, ahead: bool) -> None:
        """`ahead`: these are all of an image, and nobody waits for it; else what they belong to is needed as well."""
        # Only what was promised: this is asked for every blob, and there may be thousands.
        stored = look_up(self._root, self._reserves.sizes().keys() | coming.keys(), self._uses.of)
        self._reserves.settle(self._leased(), stored)
        lacking = sum(max(0, n - (stored[d].size if d in stored else 0)) for d, n in coming.items())
        lack = self._need(lacking + self._reserves.outstanding(stored, besides=coming.keys()), ahead=ahead)
        if not lacking or not lack.want:
            return
        contents = self._contents()
        if ahead:
            contents = replace(contents, kept=contents.kept | coming.keys())
        else:
            contents = replace(contents, held=contents.held | coming.keys())
        plan = choose(contents, lack.want, idle_since=self._idle_since())
        freed = plan.freed
        if freed >= lack.must:
            freed = self._carry_out(plan)
        if freed < lack.must:
            self._observer.refused(lacking)
            raise NoSpace(
                f"no room for {human(lacking)}: {lack.limit}, and {human(freed)} of what is here may go",
                hint="registry-shim status shows what is pinned or in use; unpin something, or raise the limit",
            )

    def _surplus(self, contents: Contents, wanted: int) -> Plan:
        now = self._clock()
        old = abandoned(contents, older_than=now - self.settings.abandoned_after)
        rest = Contents(
            stored={d: s for d, s in contents.stored.items() if d not in old.digests},
            images=contents.images,
            held=contents.held,
            kept=contents.kept,
        )
        wanted = max(wanted, self._need(self._reserves.outstanding(contents.stored)).want) - old.freed
        return Plan(evictions=old.evictions + choose(rest, wanted, idle_since=self._idle_since()).evictions)

    def _need(self, coming: int, *, ahead: bool = False) -> Need:
        settings = self.settings
        return need(settings, self._disk(self._root), taken(self._root) if settings.budget else 0, coming, ahead=ahead)

    def _contents(self) -> Contents:
        stored = scan(self._root, self._uses.of)  # before the images: so nothing that just came seems to belong to none
        leased = self._leased()
        self._reserves.settle(leased, stored)
        pinned = {name for pin in self.pins.all() for name in (pin.name, str(pin.digest))}
        mounted = {d for hold in holds(self._root) for d in hold.digests}
        return Contents(
            stored=stored,
            images=[
                replace(image, pinned=not pinned.isdisjoint((*image.names, *map(str, image.documents))))
                for image in self._catalogue.images()
            ],
            held=frozenset(mounted | set(leased) | self._reserves.granted()),
            kept=frozenset(linked(self._root / "repositories") | self._reserves.sizes().keys()),
        )

    def _settle_pins(self, contents: Contents) -> None:
        for pin in self.pins.all():
            digest = None if pin.reference.digest else self._catalogue.tag(pin.name)
            if digest and any(digest in i.documents and i.is_whole(contents.stored) for i in contents.images):
                self.pins.settle(pin.reference, digest)

    def _leased(self) -> Collection[Digest]:
        return self._content.leased() if self._content is not None else ()

    def _idle_since(self) -> float:
        return self._clock() - self.settings.grace

    def _carry_out(self, plan: Plan) -> int:
        return carry_out(plan, self._catalogue, self._content, self._observer) if self._content is not None else 0

    def _run(self) -> None:
        while not self._stop.wait(self.settings.interval):
            try:
                self.look()
            except ModelcarError as e:
                _log.error("space: %s", e)
