"""From the Hub to a registry in one command, both at the end of a line of 100 MB/s."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from tests.bench.measure import CommandFailed, Measurement
from tests.bench.model import Model, sharded_noise
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.bench.servers import Server, embedded_registry, files_hub, relay

__all__ = ["NAME", "run"]

NAME: Final = "hub"
_RATE: Final = 100e6  # bytes a second
_SHARDS: Final = 16
_SOURCE: Final = "hf://org/name"
_HALF: Final = 0.5


def run(bench: Bench) -> Outcome:
    passing, down, up, again, killed = race(
        bench,
        [
            Contender(name="modelcar build hf:// --push", run=_one_pass),
            Contender(name="download alone: snapshot_download", run=_download),
            Contender(name="upload alone: modelcar push", run=_upload),
            Contender(name="modelcar build hf:// --push, nothing changed", run=_again),
            Contender(name="modelcar build hf:// --push, after kill -9 at 50 %", run=_after_kill),
        ],
    )
    slower = max((row for row in (down, up) if row.ran), key=lambda row: row.wall, default=None)
    return Outcome(
        name=NAME,
        title="From the Hub to a registry, each at the end of 100 MB/s",
        rows=(passing, down, up, again, killed),
        targets=(
            Target(
                what="one pass ÷ the slower direction alone",
                value=passing.wall / slower.wall if passing.ran and slower is not None else None,
                limit=1.2,
                unit="x",
            ),
            Target(what="nothing changed", value=again.wall if again.ran else None, limit=1.0, unit="s"),
            Target(
                what="time after kill -9 at 50 % ÷ one pass",
                value=killed.wall / passing.wall if killed.ran and passing.ran else None,
                limit=0.6,
                unit="x",
            ),
        ),
        notes=(f"The model has {_SHARDS} shards. The Hub is the one of our tests; the registry is the embedded one.",),
    )


def _model(run: Run) -> Model:
    folder = run.bench.workspace.models / f"noise-{_SHARDS}-{run.bench.size >> 20}"
    return sharded_noise(folder, _SHARDS, run.bench.size)


def _one_pass(run: Run) -> Measurement:
    with (
        files_hub(run.folder, _model(run).folder, _RATE) as hub,
        embedded_registry(run.folder, run.bench.registry_shim) as registry,
        relay(run.folder, registry, _RATE) as line,
    ):
        return run.measure(_build(run, line), environment=_hub_environment(hub))


def _download(run: Run) -> Measurement:
    with files_hub(run.folder, _model(run).folder, _RATE) as hub:
        return run.program("snapshot", "org/name", environment=_hub_environment(hub))


def _upload(run: Run) -> Measurement:
    with embedded_registry(run.folder, run.bench.registry_shim) as registry, relay(run.folder, registry, _RATE) as line:
        run.prepare([run.bench.modelcar, "build", _model(run).folder, "-t", _name(line), "--quiet"])
        return run.measure([run.bench.modelcar, "push", _name(line), "--quiet"])


def _again(run: Run) -> Measurement:
    with (
        files_hub(run.folder, _model(run).folder, _RATE) as hub,
        embedded_registry(run.folder, run.bench.registry_shim) as registry,
    ):
        run.prepare(_build(run, registry), environment=_hub_environment(hub))
        before = _sent(hub)
        measured = run.measure(_build(run, registry), environment=_hub_environment(hub))
        if (moved := _sent(hub) - before) > 0:
            raise CommandFailed(f"{moved} bytes of weights came again")
        return measured


def _after_kill(run: Run) -> Measurement:
    model = _model(run)
    with (
        files_hub(run.folder, model.folder, _RATE) as hub,
        embedded_registry(run.folder, run.bench.registry_shim) as registry,
        relay(run.folder, registry, _RATE) as line,
    ):
        environment = {**run.bench.workspace.environment(run.folder), **_hub_environment(hub)}
        process = subprocess.Popen(list(map(str, _build(run, line))), env=environment, start_new_session=True)
        while _sent(hub) < _HALF * model.size and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        before = _sent(hub)
        measured = run.measure(_build(run, line), environment=_hub_environment(hub))
        share = (_sent(hub) - before) / model.size
        if share > 0.55:
            raise CommandFailed(f"{share:.0%} of the bytes came again")
        return measured


def _build(run: Run, server: Server) -> list[str | Path]:
    return [run.bench.modelcar, "build", _SOURCE, "-t", _name(server), "--push", "--quiet"]


def _name(server: Server) -> str:
    return f"{server.address}/bench/model:v1"


def _hub_environment(hub: Server) -> dict[str, str]:
    return {"HF_ENDPOINT": f"http://{hub.address}"}


def _sent(hub: Server) -> int:
    """Bytes of weights that the Hub has sent."""
    with urlopen(f"http://{hub.address}/counts") as answer:
        counts = json.load(answer)
    return sum(n for path, n in counts.items() if path.endswith(".safetensors"))
