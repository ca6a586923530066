"""Building an image from files in the page cache, and building it again."""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Row, Target
from tests.bench.tools import buildah, modelcar, olot, openssl

__all__ = ["NAME", "run"]

NAME: Final = "build"
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    baseline, cold, warm, estargz, soci, *others = race(
        bench,
        [
            Contender(
                name="openssl dgst, two at a time", run=openssl.digest_in_pairs, needs=["openssl"], hashing="model"
            ),
            Contender(name="modelcar build", run=modelcar.build, hashing="counted"),
            Contender(name="modelcar build, again", run=_rebuild, hashing="counted"),
            Contender(name="modelcar build --estargz", run=partial(modelcar.build_packed, packing="estargz")),
            Contender(name="modelcar build --soci", run=partial(modelcar.build_packed, packing="soci")),
            Contender(name="olot", run=_olot, needs=["olot"], hashing="counted"),
            Contender(name="buildah bud", run=_buildah, needs=["buildah"]),
        ],
    )
    digests = round(cold.hashed / bench.model.size, 2) if cold.hashed else None
    return Outcome(
        name=NAME,
        title="Build",
        rows=(baseline, cold, warm, estargz, soci, *others),
        targets=(
            _hashing_speed(cold, baseline, digests),
            Target(what="digests a byte", value=digests, limit=2.01, unit=""),
            Target(what="warm rebuild", value=warm.wall if warm.ran else None, limit=0.5, unit="s"),
            Target(what="build --estargz ÷ build", value=_ratio(estargz, cold), limit=1.2, unit="x"),
            Target(what="extra disk of a build", value=_median(cold, "extra_disk"), limit=1, unit="MiB"),
            Target(what="peak memory of a build", value=_median(cold, "memory"), limit=120, unit="MiB"),
        ),
        notes=(
            "A build hashes each layer as a whole and in chunks of 4 MiB; openssl hashes each file once.",
            "An eStargz layer has three SHA-256 of each byte (blob, tar, chunks) and a CRC-32; a SOCI index adds one.",
        ),
    )


def _rebuild(run: Run) -> Measurement:
    modelcar.prepare_build(run)
    return modelcar.build(run)


def _olot(run: Run) -> Measurement:
    return olot.build(run, run.folder / "layout")


def _buildah(run: Run) -> Measurement:
    try:
        return buildah.build(run)
    finally:
        buildah.clean_up(run)


def _hashing_speed(cold: Row, baseline: Row, digests: float | None) -> Target:
    measured = cold.ran and baseline.ran and digests
    return Target(
        what="cold build ÷ (digests a byte * openssl)",
        value=cold.wall / (round(digests) * baseline.wall) if measured and digests else None,
        limit=1.1,
        unit="x",
    )


def _ratio(row: Row, to: Row) -> float | None:
    return row.wall / to.wall if row.ran and to.ran else None


def _median(row: Row, field: str) -> float | None:
    return row.median(lambda m: float(getattr(m, field))) / MIB if row.ran else None
