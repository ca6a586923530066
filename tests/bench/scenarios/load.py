"""All tensors into memory: `modelcar.load` beside safetensors, from a folder and through a registry."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.model import Model, random_model
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.bench.servers import embedded_registry
from tests.bench.tools import modelcar

__all__ = ["NAME", "from_registry", "pulled_first", "run"]

NAME: Final = "load"
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    # numpy and so `load_file` has no BF16
    model = random_model(bench.workspace.models / f"random-f16-{bench.size // MIB}", bench.size, dtype="F16")
    warm = [
        Contender(name="modelcar.load, folder", run=partial(_by, "modelcar", model)),
        Contender(name="safetensors.numpy.load_file", run=partial(_by, "load_file", model)),
        Contender(name="safe_open, a tensor at a time", run=partial(_by, "safe_open", model)),
    ]
    cold = [
        Contender(name="modelcar.load, folder, cold page cache", run=partial(_by, "modelcar", model, cold=True)),
        Contender(name="safetensors.numpy.load_file, cold page cache", run=partial(_by, "load_file", model, cold=True)),
    ]
    remote = [
        Contender(name="modelcar.load, registry", run=partial(from_registry, "loading", model)),
        Contender(name="modelcar pull, then load_file", run=partial(pulled_first, "loading", model)),
    ]
    rows = race(bench, [*warm, *cold, *remote])
    pairs = {"folder, warm": (rows[0], rows[1]), "folder, cold": (rows[3], rows[4]), "registry": (rows[5], rows[6])}
    return Outcome(
        name=NAME,
        title="Load all tensors",
        rows=tuple(rows),
        targets=tuple(
            Target(what=f"modelcar.load ÷ the other, {what}", value=a.wall / b.wall, limit=1.0, unit="x")
            for what, (a, b) in pairs.items()
            if a.ran and b.ran
        ),
        notes=("To numpy, timed without start-up, but for `pull`. The registry is the embedded one, over loopback.",),
    )


def _by(way: str, model: Model, run: Run, *, cold: bool = False) -> Measurement:
    run.warm(*model.shards)
    return run.program("loading", way, model.folder, *(["--cold"] if cold else []))


def from_registry(program: str, model: Model, run: Run) -> Measurement:
    """`modelcar.load`, by one of our programs, straight from a registry."""
    with embedded_registry(run.folder, run.bench.registry_shim) as server:
        modelcar.prepare_build(run, model, server)
        modelcar.prepare_push(run, server)
        return run.program(program, "modelcar", f"{server.address}/bench/model:v1", server=server)


def pulled_first(program: str, model: Model, run: Run) -> Measurement:
    """`modelcar pull`, and then `load_file` by one of our programs."""
    with embedded_registry(run.folder, run.bench.registry_shim) as server:
        modelcar.prepare_build(run, model, server)
        modelcar.prepare_push(run, server)
        folder = run.folder / "pulled"
        name = f"{server.address}/bench/model:v1"
        pulled = run.measure([run.bench.modelcar, "pull", name, "--remote", "-o", folder], server=server)
        return pulled.then(run.program(program, "load_file", folder))
