"""Ten nodes that start the same image at once, through our shims, Spegel or Dragonfly: same links, same containerd."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from tempfile import TemporaryDirectory
from typing import Final

from tests.bench.measure import Measurement, busy_time
from tests.bench.model import random_model
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Row
from tests.bench.scenarios.peers import MBIT, SIZE, model_repositories
from tests.support.engines.cluster import Cluster, Front, Node, cluster
from tests.support.engines.dragonfly import Dragonfly
from tests.support.engines.programs import (
    Unbuildable,
    build_containerd,
    build_dfdaemon,
    build_scheduler,
    build_spegel,
)
from tests.support.engines.shims import Shims
from tests.support.engines.spegel import Spegel

__all__ = ["NAME", "NODES", "Case", "compare", "run"]

NAME: Final = "engines"
NODES: Final = 10
_IMAGE: Final = "org/model:v1"
_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # only the folder that mkdtemp makes in it
_NEEDED: Final = (3 * NODES + 2) * SIZE  # the shim's or dfdaemon's copy, containerd's blobs and its snapshot
_FRONTS: Final[dict[str, Callable[[], Front]]] = {
    "registry-shim": Shims,
    "Spegel": lambda: Spegel(build_spegel()),
    "Dragonfly": lambda: Dragonfly(dfdaemon=build_dfdaemon(patient=False), scheduler=build_scheduler()),
}
_NOTES: Final = (
    f"Each node is a containerd in a network namespace; its link and the upstream's take {MBIT} Mbit/s each way.",
    "Dragonfly's scheduler and a seed peer have a machine and link of their own; it runs without a manager.",
    "Bytes are the upstream's interface counter, with all headers (about 4 %).",
    "What the nodes store is in memory where there is room, so that they do not share a disk.",
    "All nodes hash, unpack and send on this machine's cores: where those are busy, time says little of links.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Which of the nodes have the image before the clock starts, and which then pull it."""

    before: slice
    pulling: slice


def run(bench: Bench) -> Outcome:
    case = Case(before=slice(0), pulling=slice(None))
    return compare(bench, NAME, f"{NODES} nodes start one image at once, links of {MBIT} Mbit/s", case)


def compare(bench: Bench, name: str, title: str, case: Case) -> Outcome:
    """Every engine in turn, on nodes of its own."""
    root = model_repositories(bench, random_model(bench.workspace.models / f"random-{SIZE >> 20}", SIZE))
    copies: dict[str, list[float]] = {}
    rows = race(bench, [_contender(engine, root, case, copies) for engine in _FRONTS])
    return Outcome(name=name, title=title, rows=tuple(rows), targets=(), notes=(*_summary(rows, copies), *_NOTES))


def _contender(engine: str, root: Path, case: Case, copies: dict[str, list[float]]) -> Contender:
    def pull(run: Run) -> Measurement:
        try:
            front, containerd = _FRONTS[engine](), build_containerd()
        except (Unbuildable, CalledProcessError) as e:
            raise OSError(f"{engine} is not to be had here: {e}") from None
        with (
            TemporaryDirectory(prefix="mc-", dir=_storage(run), ignore_cleanup_errors=True) as folder,
            cluster(Path(folder), root, mbit=MBIT, containerd=containerd) as made,
        ):
            nodes = made.add(NODES, front)
            if before := nodes[case.before]:
                made.pull(before, _IMAGE)
            return _measure(made, nodes[case.pulling], copies.setdefault(engine, []))

    return Contender(name=engine, run=pull)


def _measure(cluster: Cluster, nodes: Sequence[Node], copies: list[float]) -> Measurement:
    sent, busy, began = cluster.sent, busy_time(), time.perf_counter()
    seconds = sorted(cluster.pull(nodes, _IMAGE))
    wall, busy = time.perf_counter() - began, busy_time() - busy
    copies.append((cluster.sent - sent) / SIZE)
    print(f"    {copies[-1]:.2f} x the model, first node {seconds[0]:.1f} s, {busy / wall:.1f} cores busy", flush=True)
    return Measurement(wall=seconds[-1], cpu=busy, memory=0, read=0, written=0, disk_read=0, disk_written=0)


def _summary(rows: Sequence[Row], copies: dict[str, list[float]]) -> list[str]:
    said = [f"{row.name} {max(copies[row.name]):.2f} x" for row in rows if copies.get(row.name)]
    return [f"From the upstream, of the model's size: {', '.join(said)}."] if said else []


def _storage(run: Run) -> Path:
    """Where the nodes' disks lie. Its path is short, for sockets."""
    has_room = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _NEEDED
    return _MEMORY if has_room else run.bench.workspace.work
