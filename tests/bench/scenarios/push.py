"""Pushing a finished image to Debian's docker-registry."""

from __future__ import annotations

from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, ratio_target
from tests.bench.servers import docker_registry
from tests.bench.tools import bare, modelcar, oras_py, skopeo

__all__ = ["NAME", "run"]

NAME: Final = "push"


def run(bench: Bench) -> Outcome:
    ours, bare_loop, by_skopeo, by_oras = race(
        bench,
        [
            Contender(name="modelcar push", run=_modelcar, needs=["docker-registry"], hashing="counted"),
            Contender(name="bare sendfile loop, four connections", run=_bare, needs=["docker-registry", "openssl"]),
            Contender(name="skopeo copy --preserve-digests", run=_skopeo, needs=["docker-registry", "skopeo"]),
            Contender(name="oras-py push", run=_oras, needs=["docker-registry", "oras"], hashing="counted"),
        ],
    )
    return Outcome(
        name=NAME,
        title="Push to docker-registry",
        rows=(ours, bare_loop, by_skopeo, by_oras),
        targets=(
            ratio_target("push ÷ bare sendfile loop", ours, bare_loop, 1.25),
            ratio_target("push ÷ skopeo", ours, by_skopeo, 0.45),
        ),
        notes=(
            "Without `--preserve-digests` skopeo gzips the layers: that changes every digest and voids signatures.",
            "The bare loop is timed without its start-up and knows its digests beforehand, as modelcar does.",
            "oras-py pushes the files as they are, as an artifact that no pod can mount, and hashes them on the way.",
        ),
    )


def _modelcar(run: Run) -> Measurement:
    with docker_registry(run.folder) as server:
        modelcar.prepare_build(run, server=server)
        return modelcar.push(run, server)


def _bare(run: Run) -> Measurement:
    with docker_registry(run.folder) as server:
        return bare.push(run, server)


def _skopeo(run: Run) -> Measurement:
    layout = modelcar.export(run)
    run.warm(*(layout / "blobs/sha256").iterdir())
    with docker_registry(run.folder) as server:
        return skopeo.push(run, layout, "v1", server)


def _oras(run: Run) -> Measurement:
    with docker_registry(run.folder) as server:
        return oras_py.push(run, server)
