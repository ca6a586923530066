"""From an S3 server on loopback, by our source and by the library alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from tests.bench.measure import CommandFailed, Measurement
from tests.bench.model import sharded_noise
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Target
from tests.support.versity import gateway

__all__ = ["NAME", "run"]

NAME: Final = "object-store"
_SHARDS: Final = 4
_SOURCE: Final = "s3://models/llm"


def run(bench: Bench) -> Outcome:
    source, library, build = race(
        bench,
        [
            Contender(name="s3:// source, to nothing", run=lambda run: _read(run, "source")),
            Contender(name="obstore alone, as many ranges at once, to nothing", run=lambda run: _read(run, "library")),
            Contender(name="modelcar build s3://: to the disk, hashed and scanned", run=_build),
        ],
    )
    return Outcome(
        name=NAME,
        title="From an S3 server on loopback",
        rows=(source, library, build),
        targets=(
            Target(
                what="time of the library alone ÷ of our source",
                value=library.wall / source.wall if source.ran and library.ran else None,
                limit=0.9,
                unit="x",
                at_least=True,
            ),
        ),
        notes=("The server is Versity's gateway. Ranges are of 8 MiB, sixteen at once.",),
    )


@contextmanager
def _filled(run: Run) -> Iterator[Mapping[str, str]]:
    """A bucket with the model in it."""
    model = sharded_noise(
        run.bench.workspace.models / f"noise-{_SHARDS}-{run.bench.size >> 20}", _SHARDS, run.bench.size
    )
    try:
        with gateway(run.folder, "models") as environment:
            place = run.folder / "gateway" / "models" / "llm"
            place.mkdir()
            for file in model.folder.iterdir():
                (place / file.name).hardlink_to(file)
            yield environment
    except subprocess.CalledProcessError as e:
        raise CommandFailed("Versity's gateway cannot be compiled here") from e


def _read(run: Run, how: str) -> Measurement:
    with _filled(run) as environment:
        return run.program("objects", how, _SOURCE, environment=environment)


def _build(run: Run) -> Measurement:
    with _filled(run) as environment:
        more = {**environment, "MODELCAR_OBJECTS_CACHE": str(run.folder / "cache")}
        return run.measure([run.bench.modelcar, "build", _SOURCE, "-t", "bench/model:v1", "--quiet"], environment=more)
