"""Bounds that hold for a file with everything in it."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from modelcar.scanning.limits import Budget, LimitExceeded, Limits
from tests.support.scanning import findings_in

LIMITS = Limits(piece=1000, ratio=10, expanded=50_000, members=3, depth=2)


def test_a_stream_that_yields_too_much_for_its_size() -> None:
    budget = Budget(limits=LIMITS)
    budget.expand(1000, total=1000, compressed=1)
    with pytest.raises(LimitExceeded, match="decompression bomb"):
        budget.expand(1, total=1001, compressed=100)


def test_many_streams_that_together_yield_too_much_for_the_file() -> None:
    budget = Budget(limits=LIMITS, size=200)
    for _ in range(4):
        budget.expand(500, total=500, compressed=100)
    with pytest.raises(LimitExceeded, match="its 200 bytes yield 2500 and more"):
        budget.expand(500, total=500, compressed=100)


def test_all_that_archives_hold_is_bounded() -> None:
    budget = Budget(limits=LIMITS)
    with pytest.raises(LimitExceeded, match="more than 50000 bytes"):
        budget.expand(50_001, total=1, compressed=1)


def test_members_and_depth_are_bounded() -> None:
    budget = Budget(limits=LIMITS)
    for _ in range(3):
        budget.enter(2)
    with pytest.raises(LimitExceeded, match="more than 3 members"):
        budget.enter(1)
    with pytest.raises(LimitExceeded, match="nested more than 2 deep"):
        Budget(limits=LIMITS).enter(3)


def test_time_is_bounded() -> None:
    ticks = iter([0.0, 5.0, 6.0])
    budget = Budget(limits=Limits(seconds=5.5), clock=lambda: next(ticks))
    budget.check_time()
    with pytest.raises(LimitExceeded, match=r"more than 5\.5 seconds"):
        budget.check_time()


@pytest.mark.slow
def test_a_bomb_in_a_bomb_ends_early() -> None:
    inner = gzip.compress(bytes(50 << 20), 1)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for i in range(100):
            member = tarfile.TarInfo(f"{i}.gz")
            member.size = len(inner)
            tar.addfile(member, io.BytesIO(inner))
    bomb = gzip.compress(buffer.getvalue())
    findings = findings_in("bomb.tar.gz", bomb, Limits(piece=60 << 20, ratio=20))
    assert "scan.limit-exceeded" in {finding.rule.id for finding in findings}
