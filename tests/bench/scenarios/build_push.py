"""From files to an image in a registry, each tool with the partner that people use it with."""

from __future__ import annotations

from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, ratio_target
from tests.bench.servers import docker_registry
from tests.bench.tools import buildah, modelcar, oci_modelcar, olot, skopeo

__all__ = ["NAME", "run"]

NAME: Final = "build-push"


def run(bench: Bench) -> Outcome:
    registry = "docker-registry"
    ours, by_olot, by_buildah, by_oci_modelcar = race(
        bench,
        [
            Contender(name="modelcar build --push", run=_modelcar, needs=[registry], hashing="counted"),
            Contender(name="olot + skopeo", run=_olot, needs=[registry, "olot", "skopeo"], hashing="part"),
            Contender(name="buildah bud + push", run=_buildah, needs=[registry, "buildah"]),
            Contender(name="oci-modelcar", run=_oci_modelcar, needs=[registry, "oci-modelcar"], hashing="counted"),
        ],
    )
    return Outcome(
        name=NAME,
        title="Build and push to docker-registry",
        rows=(ours, by_olot, by_buildah, by_oci_modelcar),
        targets=(
            ratio_target("build + push ÷ olot + skopeo", ours, by_olot, 0.35),
            ratio_target("build + push ÷ buildah", ours, by_buildah, 0.14),
        ),
        notes=(
            "oci-modelcar takes models from the Hub only. Here it finds the files downloaded already.",
            "buildah is told to write a layer a file (`--layers`) and not to compress (`--disable-compression`).",
        ),
    )


def _modelcar(run: Run) -> Measurement:
    with docker_registry(run.folder) as server:
        return modelcar.build_and_push(run, server)


def _olot(run: Run) -> Measurement:
    layout = run.folder / "layout"
    with docker_registry(run.folder) as server:
        built = olot.build(run, layout)
        return built.then(skopeo.push(run, layout, olot.TAG, server))


def _buildah(run: Run) -> Measurement:
    try:
        with docker_registry(run.folder) as server:
            return buildah.build(run).then(buildah.push(run, server))
    finally:
        buildah.clean_up(run)


def _oci_modelcar(run: Run) -> Measurement:
    with docker_registry(run.folder) as server:
        return oci_modelcar.build_and_push(run, server)
