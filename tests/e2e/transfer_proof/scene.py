"""One model, the command in a process of its own, and kills between any two bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from modelcar.oci import Descriptor, Index, Manifest, Reference
from modelcar.registry import Registry
from modelcar.testing.registry import PROFILES, Faults, MisbehavingRegistry
from tests.e2e.support.commands import BIN, Modelcar, run
from tests.support.waiting import eventually

__all__ = ["FULL", "KILLS", "MIB", "SEEDS", "Model", "blobs_of", "cases", "digests_of", "faults", "finish", "seed_of"]

MIB: Final = int(os.environ.get("TRANSFER_PROOF_MIB", "64"))
SEEDS: Final = int(os.environ.get("TRANSFER_PROOF_SEEDS", "1"))
FULL: Final = MIB >= 1024
KILLS: Final = 2
_FAULTS: Final = 20  # a GiB
_WITHIN: Final = 120.0 + 2 * MIB  # seconds for one of them
_RUNS: Final = 12  # of one command, until it has to have worked


@dataclass(frozen=True, kw_only=True)
class Model:
    """A checkpoint, and its image in the store of `home`."""

    folder: Path
    files: dict[str, str]  # path to sha256
    home: Modelcar
    ref: str
    digest: str


def cases(*short: str) -> list[Any]:
    """Profile and number of the run; of the short form only some profiles, if they are named."""
    return [
        pytest.param(name, number, id=f"{name}-{number}", marks=[pytest.mark.soak] if FULL or number else [])
        for name in sorted(PROFILES if FULL or not short else short)
        for number in range(SEEDS)
    ]


def seed_of(profile: str, number: int) -> int:
    """Each profile has faults of its own, so that the few of the short form are not the same ones sixteen times."""
    return 100 * number + sorted(PROFILES).index(profile)


def faults(seed: int) -> Faults:
    """Twenty a GiB; the short form has half as many in its few MiB."""
    return Faults(seed=seed, per_gib=_FAULTS * (1 if FULL else 1024 / MIB / 2))


def finish(home: Modelcar, registry: MisbehavingRegistry, arguments: list[str | Path], dice: random.Random) -> int:
    """Run the command until it has worked, and kill it on its way `KILLS` times. Returns how often it was killed.

    A run that gives up says so in a line and status 3, as after any failure of the world; the next one goes on.
    """
    began, killed = registry.moved(), 0
    for share in sorted(dice.uniform(0.05, 0.8) for _ in range(KILLS)):
        with home.start(*arguments, "--quiet") as process:
            _wait(process, lambda share=share: registry.moved() - began > share * (MIB << 20))  # type: ignore[misc]  # mypy takes no lambda with a default
            process.kill()
            said = process.communicate()[1]
        assert process.returncode in (0, 3, -signal.SIGKILL), said
        killed += process.returncode == -signal.SIGKILL
    for _ in range(_RUNS):
        done = run(BIN / "modelcar", *arguments, "--quiet", check=False, environment=home.environment, within=_WITHIN)
        if done.returncode == 0:
            return killed
        assert done.returncode == 3, done.stderr
        assert "internal error" not in done.stderr
    pytest.fail(f"{arguments[0]} does not get through: {done.stderr}")


def _wait(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    eventually(lambda: process.poll() is not None or condition(), "bytes move", within=600)


def digests_of(folder: Path) -> dict[str, str]:
    """Relative path to sha256 of all files, read piece by piece: models are larger than memory."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                found[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def blobs_of(ref: str) -> dict[str, Descriptor]:
    """All blobs of an image in a registry, by digest."""
    found: dict[str, Descriptor] = {}
    name = Reference.parse(ref)
    with Registry() as registry:

        def look(descriptor: Descriptor) -> None:
            document = registry.manifest(name, descriptor)
            for child in document.manifests if isinstance(document, Index) else ():
                look(child)
            for blob in document.blobs if isinstance(document, Manifest) else ():
                found[str(blob.digest)] = blob

        look(registry.resolve(name))
    return found
