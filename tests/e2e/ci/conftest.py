"""A registry, keys and checkpoints for jobs, and a record of every argument that modelcar is given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.ci.doors import DOORS, Job, Outcome
from tests.e2e.support.commands import BIN, Modelcar
from tests.e2e.support.registries import embedded_registry
from tests.support.checkpoints import make_checkpoint
from tests.support.gate import EVIL

PASSWORD = "correct horse"
_DAEMONS = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """`keys`: sign.key and attest.key with their public parts. `image`: a name in a repository of this test."""

    folder: Path
    keys: Path
    image: str
    modelcar: Modelcar

    def checkpoint(self, *, evil: bool = False) -> Path:
        folder = make_checkpoint(self.folder / ("evil" if evil else "model"))
        if evil:
            (folder / "pytorch_model.bin").write_bytes(EVIL)
        return folder

    def settings(self, source: Path, **more: str) -> dict[str, str]:
        """A job that packages `source` without fault and signs with keys."""
        return {
            "MODEL_SOURCE": str(source),
            "MODEL_IMAGE": self.image,
            "MODEL_SIGNING": "key",
            "MODEL_SIGN_KEY": (self.keys / "sign.key").read_text(),
            "MODEL_ATTEST_KEY": (self.keys / "attest.key").read_text(),
            "COSIGN_PASSWORD": PASSWORD,
            **more,
        }

    def run(
        self,
        door: Callable[[Job], Outcome],
        settings: Mapping[str, str],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        own = {
            "PATH": _DAEMONS,
            "HOME": str(self.folder / "home"),
            "MODELCAR": str(self.folder / "recorder"),
            "TMPDIR": str(self.folder / "tmp"),
        }
        return door(Job(work=work, settings=settings, environment={**own, **(environment or {})}))

    @property
    def arguments(self) -> str:
        """Everything that modelcar was called with, as other users of the machine see it."""
        file = self.folder / "arguments"
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One for all tests; each uses repositories of its own."""
    with embedded_registry(tmp_path_factory.mktemp("ci") / "registry") as address:
        yield address


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    modelcar = Modelcar(folder / "home")
    modelcar.environment["COSIGN_PASSWORD"] = PASSWORD
    for name in ("sign", "attest"):
        modelcar("keygen", "-o", folder / name)
    return folder


@pytest.fixture
def bench(tmp_path: Path, keys: Path, registry: str, request: pytest.FixtureRequest) -> Bench:
    (tmp_path / "tmp").mkdir()
    recorder = tmp_path / "recorder"
    recorder.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{tmp_path}/arguments\nexec {BIN}/modelcar "$@"\n')
    recorder.chmod(0o755)
    test = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return Bench(
        folder=tmp_path, keys=keys, image=f"{registry}/{test}/tiny:v1", modelcar=Modelcar(tmp_path / "checker")
    )


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Callable[[Job], Outcome]:
    return DOORS[request.param]
