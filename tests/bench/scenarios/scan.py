"""What scanning costs: beside a build, from afar, and of pickles that are all opcodes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.programs.pickles import make
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target, ratio_target
from tests.bench.servers import embedded_registry
from tests.bench.tools import modelcar, picklescan

__all__ = ["NAME", "run"]

NAME: Final = "scan"
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    without, beside = race(
        bench,
        [
            Contender(name="modelcar build --no-scan", run=modelcar.build_without_scan),
            Contender(name="modelcar build", run=modelcar.build),
        ],
    )
    quick, ours, theirs = race(
        bench,
        [
            Contender(name="quick scan of a remote image", run=_quick),
            Contender(name="modelcar, a dense pickle", run=_pickle),
            Contender(name="picklescan, a dense pickle", run=_peer, needs=["picklescan"]),
        ],
    )
    read = quick.median(lambda m: m.read) / MIB if quick.ran else None
    return Outcome(
        name=NAME,
        title="Scan",
        rows=(without, beside, quick, ours, theirs),
        targets=(
            ratio_target("build ÷ build --no-scan", beside, without, 1.05),
            Target(what="read of the layers by a quick remote scan", value=read, limit=1, unit="MiB"),
            ratio_target("opcode-dense pickle ÷ picklescan", ours, theirs, 1),
        ),
        notes=(
            "The pickle has 150,000 entries of numbers and names; both programs are started beforehand.",
            "What a quick scan has read is what it says itself; the unit tests hold it to that.",
        ),
    )


def _quick(run: Run) -> Measurement:
    with embedded_registry(run.folder, run.bench.registry_shim) as server:
        name = modelcar.prepare_build_and_push(run, server)
        measured = run.program("quick_scan", name, run.folder, server=server)
    return replace(measured, read=json.loads((run.folder / "read").read_text()))


def _pickle(run: Run) -> Measurement:
    return run.program("pickles", "scan", _made(run))


def _peer(run: Run) -> Measurement:
    return picklescan.scan(run, _made(run))


def _made(run: Run) -> Path:
    file = run.folder / "data.pkl"
    make(file)
    return file
