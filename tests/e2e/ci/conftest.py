"""A registry, keys and checkpoints for jobs, and a record of every argument that modelcar is given."""

from __future__ import annotations

import os
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
    """`settings`: a job that packages a checkpoint without fault and signs with keys."""

    folder: Path
    registry: str
    modelcar: Modelcar

    def checkpoint(self, *, evil: bool = False) -> Path:
        folder = make_checkpoint(self.folder / ("evil" if evil else "model"))
        if evil:
            (folder / "pytorch_model.bin").write_bytes(EVIL)
        return folder

    def settings(self, source: Path, **more: str) -> dict[str, str]:
        return {
            "MODEL_SOURCE": str(source),
            "MODEL_IMAGE": f"{self.registry}/acme/tiny:v1",
            "MODEL_SIGNING": "key",
            "MODEL_SIGN_KEY": (self.folder / "sign.key").read_text(),
            "MODEL_ATTEST_KEY": (self.folder / "attest.key").read_text(),
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


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    modelcar = Modelcar(tmp_path / "checker")
    modelcar.environment["COSIGN_PASSWORD"] = PASSWORD
    for name in ("sign", "attest"):
        modelcar("keygen", "-o", tmp_path / name)
    (tmp_path / "tmp").mkdir()
    recorder = tmp_path / "recorder"
    recorder.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{tmp_path}/arguments\nexec {BIN}/modelcar "$@"\n')
    recorder.chmod(0o755)
    with embedded_registry(tmp_path / "registry") as registry:
        yield Bench(folder=tmp_path, registry=registry, modelcar=modelcar)


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Callable[[Job], Outcome]:
    return DOORS[request.param]
