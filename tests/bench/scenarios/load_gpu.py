"""All weights onto a GPU: from a mount and from a folder, by `modelcar.load` and by safetensors' own loader."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.model import Model
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Row, Target
from tests.bench.scenarios.load import from_registry, pulled_first
from tests.bench.servers import embedded_registry
from tests.bench.tools import modelcar
from tests.bench.tools.mounts import Front, place

__all__ = ["NAME", "run"]

NAME: Final = "load-gpu"
_FRONT: Final[Front] = "fuse"  # what every kernel has


def run(bench: Bench) -> Outcome:
    model, device = bench.model, _device()
    rows = race(
        bench,
        [
            Contender(name="load_file, folder", run=partial(_folder, "load_file", model)),
            Contender(name="modelcar.load, folder", run=partial(_folder, "modelcar", model)),
            Contender(name="load_file, folder, cold", run=partial(_folder, "load_file", model, cold=True)),
            Contender(name="modelcar.load, folder, cold", run=partial(_folder, "modelcar", model, cold=True)),
            Contender(name="load_file, mount, cold", run=partial(_mounted, "load_file", model)),
            Contender(name="modelcar.load, mount, cold", run=partial(_mounted, "modelcar", model)),
            Contender(name="modelcar pull, then load_file", run=partial(pulled_first, "gpu", model)),
            Contender(name="mount what is not here, then modelcar.load", run=partial(_not_here, model)),
            Contender(name="modelcar.load, registry", run=partial(from_registry, "gpu", model)),
        ],
    )
    by_file, by_us, cold, ours_cold, _, mounted, pulled, lazy, remote = rows
    pairs = {
        "modelcar.load ÷ load_file, folder": (by_us, by_file),
        "modelcar.load ÷ load_file, folder, cold": (ours_cold, cold),
        "modelcar.load from the mount ÷ load_file from the folder, cold": (mounted, cold),
        "mount and modelcar.load ÷ pull and load_file": (lazy, pulled),
        "modelcar.load from the registry ÷ pull and load_file": (remote, pulled),
    }
    return Outcome(
        name=NAME,
        title="All tensors onto a GPU",
        rows=tuple(rows),
        targets=tuple(_ratio(what, *pair) for what, pair in pairs.items()),
        notes=(
            f"The device is {device}." if device else "There is no torch with a CUDA device here.",
            *(f"{row.name}: {model.size / row.wall / 1e9:.2f} GB/s." for row in rows if row.ran),
            "Timed without the start of Python, torch and the device. The registry is the embedded one, over loopback.",
            f"Cold: nothing in the page cache, all on this disk. The mount is the one by {_FRONT.upper()}.",
        ),
    )


def _ratio(what: str, ours: Row, theirs: Row) -> Target:
    value = ours.wall / theirs.wall if ours.ran and theirs.ran else None
    return Target(what=what, value=value, limit=1.0, unit="x")


def _device() -> str | None:
    """The name of the first device, asked for in a process of its own."""
    code = "import torch; print(torch.cuda.get_device_name(0), 'with torch', torch.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _folder(way: str, model: Model, run: Run, *, cold: bool = False) -> Measurement:
    run.warm(*model.shards)
    forgetting = ("--cold", model.folder) if cold else ()
    return run.program("gpu", way, model.folder, *forgetting)


def _mounted(way: str, model: Model, run: Run) -> Measurement:
    """From a mount that has all, with nothing of it in memory."""
    with embedded_registry(run.folder, run.bench.registry_shim) as server, place(run, None) as at:
        modelcar.prepare_build(run, model, server)
        modelcar.prepare_push(run, server)
        name = f"{server.address}/bench/model:v1"
        at.program("mapped", "all", name, at.folder, _FRONT)
        at.await_all()
        return at.program("gpu", way, at.folder, "--cold", at.folder, "--cold", at.blobs)


def _not_here(model: Model, run: Run) -> Measurement:
    with embedded_registry(run.folder, run.bench.registry_shim) as server, place(run, None) as at:
        modelcar.prepare_build(run, model, server)
        modelcar.prepare_push(run, server)
        name = f"{server.address}/bench/model:v1"
        return at.program("gpu", "modelcar", at.folder, "--mount", name, _FRONT)
