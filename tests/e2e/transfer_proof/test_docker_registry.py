"""Debian's docker-registry over a line that is cut: what it does with that is found out, and what that can save is.

By itself it gives up a session in whose request the line broke; behind a proxy that buffers, it never hears of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from modelcar.registry.dialects import AfterCut
from modelcar.registry.habits import Habit, Habits
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.cutting import CuttingProxy, cutting_proxy
from tests.e2e.transfer_proof.scene import blobs_of
from tests.support.checkpoints import make_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.debian("docker-registry")]

_MIB: Final = 1 << 20
_SHARDS: Final = 3
_TRIAL: Final = 1  # session
_TRIED: Final = 128 << 10  # bytes at most of what is tried


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of 64 MiB."""
    return make_checkpoint(tmp_path_factory.mktemp("cut") / "checkpoint", shards=_SHARDS, elements=32 << 20)


def push(home: Modelcar, checkpoint: Path, proxy: CuttingProxy, repository: str) -> tuple[int, int, Habit]:
    """Build and push in one pass; returns bytes and number of the blobs, and what is remembered of the registry."""
    ref = f"{proxy.address}/{repository}:v1"
    home("build", checkpoint, "-t", ref, "--push", "--no-scan")
    blobs = blobs_of(ref)
    habit = Habits(home.home / "registries").of(proxy.address)
    return sum(blob.size for blob in blobs.values()), len(blobs), habit


def test_behind_a_proxy_that_buffers_a_twentieth_moves_twice(
    debian_registry: str, checkpoint: Path, tmp_path: Path
) -> None:
    """Sixteen cuts a GiB, each in the middle of the smallest piece that S3 stores by itself."""
    with cutting_proxy(debian_registry, buffers=True) as proxy:
        proxy.cut(30 * _MIB, 90 * _MIB, 150 * _MIB, after=5 * _MIB // 2)
        size, blobs, habit = push(Modelcar(tmp_path / "home"), checkpoint, proxy, "cut/buffered")
        assert (habit.streams, habit.after_cut) == (True, AfterCut.DROPPED)
        assert proxy.lost == 3 * (5 * _MIB // 2)
        assert proxy.received <= 1.05 * size
        assert proxy.sessions == blobs + _TRIAL, "no session is lost"


def test_by_itself_it_loses_a_session_in_whose_request_the_line_broke(
    debian_registry: str, checkpoint: Path, tmp_path: Path
) -> None:
    """No piece could have saved it; and nothing but what that session had is sent again."""
    with cutting_proxy(debian_registry, buffers=False) as proxy:
        proxy.cut(0, 0, after=20 * _MIB)
        size, blobs, habit = push(Modelcar(tmp_path / "home"), checkpoint, proxy, "cut/direct")
        assert (habit.streams, habit.after_cut) == (True, AfterCut.LOST)
        assert proxy.lost == 40 * _MIB
        assert proxy.received <= size + proxy.lost + _TRIED
        assert proxy.sessions == blobs + _TRIAL + 2
