"""Partial blobs against a model, whatever happens to them in whatever order."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from modelcar.errors import DigestMismatch, StorageError
from modelcar.lazy import partial as module
from modelcar.lazy.demand import Demands
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.whole_digest import WholeDigest
from tests.support.chunks import Content
from tests.support.examples import examples

CONTENT = Content(10_007)
CHUNKS = 14
GRID = CONTENT.table(800, first=100)
numbers = st.integers(0, CHUNKS - 1)
ranges = st.tuples(st.integers(0, 10_007), st.integers(0, 10_007)).map(lambda pair: (min(pair), max(pair) - min(pair)))


class PartialBlobMachine(RuleBasedStateMachine):
    """The model is a set of chunks that are here, and one of claims."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._boot = Path(self._folder.name) / "boot"
        self._boots = 0
        self._real, module._BOOT = module._BOOT, self._boot  # type: ignore[misc]  # this machine's boots are not to count
        self._boot.write_text("0")
        self.here: set[int] = set()
        self.claims: set[int] = set()
        self.waiting: list[tuple[range, object]] = []

    @initialize()
    def create(self) -> None:
        assert len(GRID) == CHUNKS
        self.blob = PartialBlob.create(Path(self._folder.name) / "blob", GRID)

    def piece(self, number: int) -> bytes:
        offset, size = GRID.bounds(number)
        return CONTENT.data[offset : offset + size]

    @rule(number=numbers)
    def put(self, number: int) -> None:
        assert self.blob.put(number, self.piece(number)) == (number not in self.here)
        self.here.add(number)
        self.claims.discard(number)

    @rule(number=numbers, where=st.integers(0, 99))
    def put_wrong(self, number: int, where: int) -> None:
        data = bytearray(self.piece(number))
        data[where % len(data)] ^= 1
        try:
            assert not self.blob.put(number, data)
            assert number in self.here
        except DigestMismatch:
            assert number not in self.here

    @rule(number=numbers)
    def confirm(self, number: int) -> None:
        if number in self.claims:
            assert self.blob.confirm(number)
            self.claims.discard(number)
            self.here.add(number)

    @rule(number=numbers)
    def rot_and_recheck(self, number: int) -> None:
        offset, _ = GRID.bounds(number)
        with (self.blob.folder / "data").open("r+b") as f:
            f.seek(offset)
            f.write(bytes([CONTENT.data[offset] ^ 1]))
        assert self.blob.recheck() == ([number] if number in self.here else [])
        self.here.discard(number)
        if number in self.claims:
            assert not self.blob.confirm(number)
            self.claims.discard(number)

    @rule(span=ranges)
    def wait(self, span: tuple[int, int]) -> None:
        self.waiting.append((GRID.numbers(*span), self.blob.when(*span)))

    @rule()
    def killed(self) -> None:
        self.blob.close()
        self.waiting.clear()
        self.blob = PartialBlob.open(self.blob.folder)
        if self.claims:  # `have` is of an earlier boot still
            self.claims |= self.here
            self.here.clear()

    @rule()
    def crashed(self) -> None:
        self._boots += 1
        self._boot.write_text(str(self._boots))
        self.blob.close()
        self.waiting.clear()
        self.blob = PartialBlob.open(self.blob.folder)
        self.claims |= self.here
        self.here.clear()

    @rule(span=ranges)
    def read(self, span: tuple[int, int]) -> None:
        offset, length = span
        if self.here.issuperset(GRID.numbers(*span)):
            assert self.blob.read(*span) == CONTENT.data[offset : offset + length]
        else:
            try:
                self.blob.read(*span)
                raise AssertionError("it read what is not here")
            except StorageError:
                pass

    @precondition(lambda self: len(self.here) == CHUNKS)
    @rule()
    def whole(self) -> None:
        WholeDigest(self.blob).check()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "blob"):
            return
        assert self.blob.map() == bytes(n in self.here for n in range(CHUNKS))
        assert {n for n in range(CHUNKS) if self.blob.claims(n)} == self.claims
        assert self.blob.present == sum(GRID.bounds(n)[1] for n in self.here)
        assert list(self.blob.missing()) == [n for n in range(CHUNKS) if n not in self.here]
        assert self.blob.complete == (len(self.here) == CHUNKS)
        for wanted, future in self.waiting:
            if self.here.issuperset(wanted):
                assert future.done()  # type: ignore[attr-defined]  # a future
        for offset in (0, 99, 100, 5000, 10_006):
            length = self.blob.available(offset)
            assert self.here.issuperset(GRID.numbers(offset, length))
            if offset + length < GRID.size:
                assert GRID.at(offset + length) not in self.here

    def teardown(self) -> None:
        if hasattr(self, "blob"):
            self.blob.close()
        module._BOOT = self._real  # type: ignore[misc]  # this machine's boots are not to count
        self._folder.cleanup()


class DemandsMachine(RuleBasedStateMachine):
    """The model is a set of chunks for each reader."""

    def __init__(self) -> None:
        super().__init__()
        self.demands = Demands(50)
        self.model: dict[str, set[int]] = {}
        self.here: set[int] = set()

    @rule(who=st.sampled_from("abc"), start=st.integers(0, 49), length=st.integers(0, 10))
    def add(self, who: str, start: int, length: int) -> None:
        wanted = range(start, min(50, start + length))
        self.demands.add(who, wanted)
        self.model.setdefault(who, set()).update(wanted)

    @rule(who=st.sampled_from("abc"))
    def drop(self, who: str) -> None:
        self.demands.drop(who)
        self.model.pop(who, None)

    @rule(number=st.integers(0, 49))
    def arrive(self, number: int) -> None:
        self.here.add(number)

    def next_missing(self, start: int, stop: int) -> int:
        return next((n for n in range(start, stop) if n not in self.here), -1)

    @rule()
    def rotate(self) -> None:
        self.demands.rotate()

    @invariant()
    def everyone_gets_what_they_wait_for_and_nobody_is_last(self) -> None:
        wanted = list(self.demands.urgent(self.next_missing))
        assert set(wanted) == set().union(*self.model.values()) - self.here
        readers = [w for w in self.model.values() if w - self.here]
        for reader in readers:
            assert reader & set(wanted[: len(readers)])
        assert bool(self.demands) == any(w - self.here for w in self.model.values())
        assert all(self.demands.include(n) for n in wanted)


TestPartialBlob = PartialBlobMachine.TestCase
TestPartialBlob.settings = examples(60)
TestDemands = DemandsMachine.TestCase
TestDemands.settings = examples(60)
