"""`modelcar pull`, killed at random moments and over networks that fail: it ends right, and little moves twice."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelcar.checkpoint.formats.header import Header
from modelcar.checkpoint.formats.safetensors import read_safetensors
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.grid import Grid
from modelcar.lazy.parts import PART
from modelcar.ranks import Topology, plan_rank
from modelcar.testing.registry import Faults, MisbehavingRegistry, running
from tests.e2e.support.commands import Modelcar
from tests.support.architectures import llama, write_checkpoint
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.waiting import eventually

RATE = 40e6  # bytes a second: slow enough that there is a moment to kill at
BOOT = 64  # bytes of `have` before the first chunk's


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("large") / "checkpoint", shards=3, elements=10 << 20)


@contextmanager
def served(checkpoint: Path, home: Modelcar, *, rate: float | None = None) -> Iterator[tuple[MisbehavingRegistry, str]]:
    with running("ghcr", rate=rate) as registry:
        ref = f"{registry.address}/org/model:v1"
        home("build", checkpoint, "-t", ref, "--push", "--no-scan")
        registry.reset_counts()
        yield registry, ref


def arrived(blobs: Iterable[Path]) -> int:
    """How many bytes of blobs in parts are on disk, by their own records."""
    total = 0
    for folder in blobs:
        try:
            grid, have = Grid.parse((folder / "grid.json").read_bytes()), (folder / "have").read_bytes()[BOOT:]
        except FileNotFoundError:  # finished just now
            continue
        total += sum(grid.bounds(number)[1] for number, here in enumerate(have[: len(grid)]) if here)
        total += PART * sum(have[len(grid) :])
    return total


def kept(target: Path) -> int:
    """The same of an unfinished pull, with the files that are done."""
    staging = target.parent / f".{target.name}.modelcar-pull"
    total = arrived(staging.glob("parts/*"))
    paths = [path for marker in staging.glob("done/*") for path in marker.read_text().split("\0") if path]
    return total + sum((staging / "files" / path).stat().st_size for path in paths)


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_again_and_again(checkpoint: Path, tmp_path: Path, seed: int) -> None:
    home, target = Modelcar(tmp_path / "home"), tmp_path / "out"
    files = files_of(checkpoint)
    size = sum(map(len, files.values()))
    dice = random.Random(seed)
    with served(checkpoint, home, rate=RATE) as (registry, ref):
        for share in sorted(dice.uniform(0.05, 0.8) for _ in range(3)):
            with home.start("pull", ref, "--remote", "-o", target, "--quiet") as process:
                eventually(lambda share=share: kept(target) > share * size or process.poll() is not None, "bytes come")  # type: ignore[misc]  # mypy takes no lambda with a default
                process.kill()
            assert process.returncode == -signal.SIGKILL
            assert not target.exists()
        before = kept(target)
        assert before > 0.05 * size
        eventually(lambda: registry.counts().requests == len(registry.journal()), "the killed requests end")
        registry.reset_counts()
        home("pull", ref, "--remote", "-o", target)
        assert registry.counts().sent <= 1.05 * max(0, size - before) + (64 << 10)  # documents come each time
    assert files_of(target) == files
    assert list(target.parent.glob(".out*")) == []


@pytest.mark.parametrize("seed", range(3))
def test_random_faults_and_a_kill(checkpoint: Path, tmp_path: Path, seed: int) -> None:
    """Twenty faults a gigabyte, ten times over."""
    home, target = Modelcar(tmp_path / "home"), tmp_path / "out"
    with served(checkpoint, home) as (registry, ref):
        registry.misbehave_at_random(Faults(seed=seed, per_gib=200))
        with home.start("pull", ref, "--remote", "-o", target, "--quiet") as process:
            eventually(lambda: kept(target) > 0 or process.poll() is not None, "bytes come")
            process.kill()
        home("pull", ref, "--remote", "-o", target) if not target.exists() else None
        assert sum(registry.counts().faults.values()) > 3
    assert files_of(target) == files_of(checkpoint)


def test_a_killed_pull_into_the_store_goes_on(checkpoint: Path, tmp_path: Path) -> None:
    home, other = Modelcar(tmp_path / "home"), Modelcar(tmp_path / "other")
    size = sum(map(len, files_of(checkpoint).values()))
    with served(checkpoint, home, rate=RATE) as (registry, ref):

        def here() -> int:
            return arrived(have.parent for have in other.home.glob("**/ingest/*/have"))

        with other.start("pull", ref, "--quiet") as process:
            eventually(lambda: here() > 0.3 * size or process.poll() is not None, "bytes come")
            process.kill()
        assert process.returncode == -signal.SIGKILL
        before = here()
        eventually(lambda: registry.counts().requests == len(registry.journal()), "the killed requests end")
        registry.reset_counts()
        other("pull", ref)
        assert registry.counts().sent <= 1.05 * (size - before) + (64 << 10)
        assert [image["name"] for image in other("list")] == [ref]


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_pull_for_a_rank_goes_on_within_its_layer(tmp_path: Path, seed: int) -> None:
    """One shard, of which the rank needs half."""
    home, target = Modelcar(tmp_path / "home"), tmp_path / "rank"
    model = llama(layers=4, heads=16, size=16, inner=32 << 10)
    content = write_checkpoint(tmp_path / "model", model, shards=1)
    plan = plan_rank(model.files(), model.config, Topology(pp=2), 0)
    size = sum(len(content[name]) for name in plan.by_name())
    words = ("--remote", "--pp", "2", "--rank", "0", "-o", target, "--quiet")
    with served(tmp_path / "model", home, rate=RATE) as (registry, ref):
        for share in sorted(random.Random(seed).uniform(0.1, 0.8) for _ in range(2)):
            with home.start("pull", ref, *words) as process:
                eventually(lambda share=share: kept(target) > share * size or process.poll() is not None, "bytes come")  # type: ignore[misc]  # mypy takes no lambda with a default
                process.kill()
            assert process.returncode == -signal.SIGKILL
            assert not target.exists()
        before = kept(target)
        eventually(lambda: registry.counts().requests == len(registry.journal()), "the killed requests end")
        registry.reset_counts()
        home("pull", ref, *words)
        assert registry.counts().sent <= 1.05 * (size - before) + 3 * CHUNK_SIZE  # chunks of which not all is needed
    found: dict[str, bytes] = {}
    for path in target.glob("*.safetensors"):
        raw = path.read_bytes()
        header = check_safetensors(raw, path.name)
        found |= {tensor.name: raw[tensor.offset : tensor.offset + tensor.size] for tensor in header.tensors}
    assert found == {name: content[name] for name in plan.by_name()}


def check_safetensors(raw: bytes, name: str) -> Header:
    return read_safetensors(lambda offset, n: raw[offset : offset + n], len(raw), name)
