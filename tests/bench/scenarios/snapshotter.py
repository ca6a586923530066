"""A pod of a model on a node that never had it: through our snapshotter, and pulled and unpacked by containerd."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Row, Target
from tests.bench.tools.mounts import FRONTS, Front
from tests.bench.tools.pods import start_pod
from tests.bench.tools.reader_image import first_tensor, read_command, reader_repositories

__all__ = ["NAME", "run"]

NAME: Final = "snapshotter"
RATES: Final = (1000, 4000)
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    root, tensor = reader_repositories(bench), first_tensor(bench.model)
    rows: list[Row] = []
    targets: list[Target] = []
    for mbit in RATES:
        name = f"{mbit // 1000} Gbit/s"
        (plain_first, plain_all), *ours = _compare(bench, root, mbit, name)
        rows += [plain_first, plain_all, *(row for pair in ours for row in pair)]
        for front, (first, loaded) in zip(FRONTS, ours, strict=True):
            targets.append(_quicker(f"to the first tensor, {name}: containerd ÷ {front}", plain_first, first, 10))
            if mbit == RATES[-1]:
                targets.append(_quicker(f"to all weights, {name}: containerd ÷ {front}", plain_all, loaded, 1.3))
    return Outcome(
        name=NAME,
        title="A pod on a cold node, from the pull of its image to its weights",
        rows=tuple(rows),
        targets=tuple(targets),
        notes=(
            "Debian's containerd as it comes, asked through CRI as kubelets do; alone, and with snapshotter and shim.",
            "The clock starts with the pull; the pod's sandbox is there by then, and nothing of the image.",
            f"A program of the image copies all weights out of mappings; the first tensor has {tensor // MIB} MiB.",
            "The registry has the image in memory. Registry, network and node share this machine's cores.",
            "CPU is that of all of them until the pod is gone, in the rows of all weights.",
        ),
    )


def _compare(bench: Bench, root: Path, mbit: int, rate: str) -> list[tuple[Row, Row]]:
    """Of containerd alone and of each front: to the first tensor, and to all weights."""
    names = {f"containerd, {rate}": None, **{f"snapshotter, {front}, {rate}": front for front in FRONTS}}
    firsts: dict[str, list[float]] = {name: [] for name in names}
    contenders = [
        Contender(name=name, run=partial(_start, root, mbit, front, firsts[name])) for name, front in names.items()
    ]
    return [(_to_first(row, firsts[row.name]), _renamed(row, "all weights")) for row in race(bench, contenders)]


def _start(root: Path, mbit: int, front: Front | None, firsts: list[float], run: Run) -> Measurement:
    run.warm(*(path for path in root.rglob("blobs/sha256/*") if path.is_file()))
    done = start_pod(root, mbit, front, read_command(run.bench.model))
    firsts.append(done.first)
    print(f"    pulled {done.pulled:.2f} s, runs {done.running:.2f} s, first tensor {done.first:.2f} s", flush=True)
    return Measurement(wall=done.loaded, cpu=done.cpu, memory=0, read=0, written=0, disk_read=0, disk_written=0)


def _to_first(row: Row, walls: list[float]) -> Row:
    """The same runs, until then. What they cost is told once, of the whole."""
    costs = replace(row.runs[0], cpu=0.0) if row.runs else None
    runs = tuple(replace(costs, wall=wall) for wall in walls) if costs else ()
    return _renamed(replace(row, runs=runs), "first tensor")


def _renamed(row: Row, what: str) -> Row:
    return replace(row, name=f"{row.name}: {what}")


def _quicker(what: str, theirs: Row, ours: Row, limit: float) -> Target:
    value = theirs.wall / ours.wall if ours.ran and theirs.ran else None
    return Target(what=what, value=value, limit=limit, unit="x", at_least=True)
