"""The cases of a node: which image a manifest or blob is asked for, and whether one of these is served."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress

from modelcar.cache.origin import Origin
from modelcar.errors import Denied
from modelcar.oci import Descriptor, Digest
from registry_shim.gate.cases import Case, Workshop
from registry_shim.gate.ruling import Ruling, State
from registry_shim.gate.settings import GateRule, OnPending

__all__ = ["Docket"]


class Docket:
    """For the event loop alone."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._cases: OrderedDict[tuple[str, Digest], Case] = OrderedDict()

    def all(self) -> list[Case]:
        """Those that somebody asked for, the latest last."""
        return list(self._cases.values())

    def find(self, origin: Origin, root: Digest) -> Case | None:
        return self._cases.get((origin.name, root))

    def case(self, origin: Origin, root: Descriptor, rule: GateRule) -> Case:
        """The case of an image; from now on it is read on behalf of `origin`."""
        key = (origin.name, root.digest)
        case = self._cases.get(key)
        if case is None:
            case = self._cases[key] = Case(self._shop, origin, root.plain(), rule)
            if len(self._cases) > self._shop.settings.remembered:
                self._forget_one()
        case.origin = origin
        self._cases.move_to_end(key)
        return case

    def at_hand(self, origin: Origin, root: Digest) -> Ruling | None:
        """The ruling about an image that is served, if nobody need look at anything for it."""
        case = self._cases.get((origin.name, root))
        ruling = case.current if case is not None else None
        return ruling if ruling is not None and ruling.state is State.ALLOWED else None

    async def require_manifest(self, origin: Origin, root: Descriptor, rule: GateRule) -> Ruling:
        """Return only if this manifest may leave: as a part of an image that is served, or as one itself.

        Raises:
            Denied: it may not.
        """
        known = self._shop.lineage.listing(origin, root.digest)
        wholes = [each for each in known if each.root.digest != root.digest and not each.is_evidence]
        cases = [self.case(origin, each.root, rule) for each in wholes]
        return await self._first_served([*cases, self.case(origin, root, rule)])

    async def require_blob(self, origin: Origin, digest: Digest, rule: GateRule) -> None:
        """Return only if an image that is served lists this blob, or signatures do.

        Raises:
            Denied: there is none.
        """
        known = self._shop.lineage.listing(origin, digest)
        if any(each.is_evidence for each in known):
            return
        if not known:
            raise Denied(
                f"no image of {origin} that this node serves lists {digest}",
                hint="pull the image by its manifest, through this node",
            )
        await self._first_served([self.case(origin, each.root, rule) for each in known])

    async def close(self) -> None:
        await asyncio.gather(*(case.close() for case in self._cases.values()))

    def _forget_one(self) -> None:
        """The one that nobody asked for for the longest time, of which nothing is under way."""
        idle = next((key for key, case in self._cases.items() if not case.is_busy), None)
        if idle is not None:
            del self._cases[idle]

    async def _first_served(self, cases: list[Case]) -> Ruling:
        refusal: Denied | None = None
        for case in cases:
            ruling = await self._ruling(case)
            if ruling.is_served:
                return ruling
            refusal = refusal or _refusal(case, ruling)
            if ruling.state is State.PENDING:
                raise _refusal(case, ruling)  # the scan of the whole is one of this part, too
        raise refusal or Denied("there is no image")

    async def _ruling(self, case: Case) -> Ruling:
        if (current := case.current) is not None and current.is_served:
            return current
        try:
            ruling = await asyncio.wait_for(case.decide(), self._shop.settings.decide_seconds)
        except TimeoutError:
            raise Denied(
                f"{case.origin}@{case.root.digest} is not served by this node yet: its signatures are looked for",
                hint="try again later",
            ) from None
        if ruling.state is State.PENDING and case.rule.on_pending is OnPending.HOLD:
            with suppress(TimeoutError):
                return await asyncio.wait_for(case.settle(), case.rule.hold_seconds)
        return ruling


def _refusal(case: Case, ruling: Ruling) -> Denied:
    is_under_way = ruling.state is State.PENDING and case.stage is not None
    return ruling.refusal(str(case.stage) if is_under_way else None)
