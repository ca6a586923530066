"""Kill -9 at any point: the store opens, what is named is complete, and a collection leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.store import LocalStore
from modelcar.store.tree import walk
from tests.support.crashes import IMAGES
from tests.support.images import put_image, validate_in

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def crashed() -> Iterator[list[Path]]:
    """One home a crash, in the order of the steps; the last one got through."""
    memory = Path("/dev/shm")  # noqa: S108  # where fsync is quick
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        subprocess.run([sys.executable, "-m", "tests.support.crashes", folder], check=True, cwd=ROOT, timeout=300)
        yield sorted(Path(folder).iterdir(), key=lambda p: int(p.name))


def check_consistent(store: LocalStore) -> None:
    for root in store.names.list().values():
        validate_in(store.content, root)


def test_after_a_crash_at_any_step(crashed: list[Path]) -> None:
    assert len(crashed) > 100
    for place in crashed:
        store = LocalStore(place / "home")
        check_consistent(store)
        store.collect()
        check_consistent(store)
        reachable = {d.digest for root in store.names.list().values() for d in walk(store.content, root)}
        assert set(store.content.digests()) == reachable
        files = {p for p in (place / "home").rglob("*") if p.is_file()}
        known = {p for d in reachable for p in (store.content.path(d), store.content.recipe_path(d)) if p.exists()}
        assert files - known == {store.content.root / name for name in ("oci-layout", "index.json")}, place
        assert store.collect().removed == ()


def test_work_goes_on_after_a_crash(crashed: list[Path]) -> None:
    for place in crashed[::7]:
        store = LocalStore(place / "home")
        with store.session():
            store.names.put("again", put_image(store.content, IMAGES[1]))
        check_consistent(store)
        assert store.names.get("again") == IMAGES[1].root


def test_what_was_done_before_the_crash_is_not_lost(crashed: list[Path]) -> None:
    """Names only ever appear in the order of the work."""
    seen = [frozenset(LocalStore(place / "home").names.list()) - {"again"} for place in crashed]
    order = [
        frozenset(),
        frozenset("a"),
        frozenset("ab"),
        frozenset(["a", "b", "virtual"]),
        frozenset(["b", "virtual"]),
    ]
    assert [key for i, key in enumerate(seen) if i == 0 or seen[i - 1] != key] == order
