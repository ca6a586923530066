"""The same push to the embedded registry and to Debian's docker-registry."""

from __future__ import annotations

from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, ratio_target
from tests.bench.servers import docker_registry, embedded_registry
from tests.bench.tools import modelcar

__all__ = ["NAME", "run"]

NAME: Final = "registries"


def run(bench: Bench) -> Outcome:
    embedded, debian = race(
        bench,
        [
            Contender(name="modelcar push to registry-shim", run=_embedded),
            Contender(name="modelcar push to docker-registry", run=_debian, needs=["docker-registry"]),
        ],
    )
    return Outcome(
        name=NAME,
        title="Push to the embedded registry",
        rows=(embedded, debian),
        targets=(ratio_target("push to registry-shim ÷ to docker-registry", embedded, debian, 1.0),),
    )


def _embedded(run: Run) -> Measurement:
    with embedded_registry(run.folder, run.bench.registry_shim) as server:
        modelcar.prepare_build(run, server=server)
        return modelcar.push(run, server)


def _debian(run: Run) -> Measurement:
    with docker_registry(run.folder) as server:
        modelcar.prepare_build(run, server=server)
        return modelcar.push(run, server)
