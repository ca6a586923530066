"""From the Hub to a registry in one command, both on this machine and as fast as they can."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, ratio_target
from tests.bench.servers import Server, docker_registry, files_hub
from tests.bench.tools import oci_modelcar

__all__ = ["NAME", "run"]

NAME: Final = "hub-loopback"
_REGISTRY: Final = "docker-registry"


def run(bench: Bench) -> Outcome:
    ours, peer, download = race(
        bench,
        [
            Contender(name="modelcar build hf:// --push", run=_modelcar, needs=[_REGISTRY]),
            Contender(name="oci-modelcar push", run=_oci_modelcar, needs=[_REGISTRY, "oci-modelcar"]),
            Contender(name="download alone: snapshot_download", run=_download),
        ],
    )
    return Outcome(
        name=NAME,
        title="From the Hub to docker-registry, over loopback",
        rows=(ours, peer, download),
        targets=(ratio_target("hf:// to a registry ÷ oci-modelcar", ours, peer, 0.6),),
        notes=(
            "The Hub is the one of our tests; what it has to hash for its metadata is hashed before.",
            "oci-modelcar takes two files at a time.",
        ),
    )


def _modelcar(run: Run) -> Measurement:
    with _hub(run) as hub, docker_registry(run.folder) as server:
        command: list[str | Path] = [run.bench.modelcar, "build", "hf://org/name", "--push", "--quiet"]
        name = f"{server.address}/bench/model:v1"
        return run.measure([*command, "-t", name], server=server, environment={"HF_ENDPOINT": f"http://{hub.address}"})


def _oci_modelcar(run: Run) -> Measurement:
    with _hub(run) as hub, docker_registry(run.folder) as server:
        return oci_modelcar.push(run, "org/name", hub, server, run.folder / "spool")


def _download(run: Run) -> Measurement:
    with _hub(run) as hub:
        return run.program("snapshot", "org/name", environment={"HF_ENDPOINT": f"http://{hub.address}"})


@contextmanager
def _hub(run: Run) -> Iterator[Server]:
    """With the digests of its files at hand, as the Hub has them."""
    with files_hub(run.folder, run.bench.model.folder) as hub:
        with urlopen(f"http://{hub.address}/api/models/org/name/tree/main?recursive=true&expand=true") as answer:
            json.load(answer)
        yield hub
