"""Signing and verifying an image of 60 layers where it lies, without any network."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from tests.bench.measure import Measurement
from tests.bench.race import Bench, Contender, Run, race
from tests.bench.results import Outcome, Row, Target

__all__ = ["NAME", "run"]

NAME: Final = "sign"
MIB: Final = 1 << 20


def run(bench: Bench) -> Outcome:
    sign, verify = race(
        bench,
        [
            Contender(name="sign", run=lambda run: _measure(run, "sign")),
            Contender(name="verify", run=lambda run: _measure(run, "verify")),
        ],
    )
    return Outcome(
        name=NAME,
        title="Sign and verify 60 layers",
        rows=(sign, verify),
        targets=(
            _time("sign index, two images and ModelPack twin, both formats", sign),
            _time("verify", verify),
            _read("read to sign 456 MiB of weights", sign),
            _read("read to verify", verify),
        ),
        notes=("In the local store, everything made durable; the key is loaded and Python started beforehand.",),
    )


def _measure(run: Run, verb: str) -> Measurement:
    measured = run.program("signing", verb, run.folder)
    return replace(measured, read=json.loads((run.folder / "read").read_text()))


def _time(what: str, row: Row) -> Target:
    return Target(what=what, value=row.wall * 1000 if row.ran else None, limit=100, unit="ms")


def _read(what: str, row: Row) -> Target:
    return Target(what=what, value=row.median(lambda m: m.read) / MIB if row.ran else None, limit=1, unit="MiB")
