"""Every modelcar command of docs/how-to/sign-and-verify.md, run in the order of the page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from modelcar.cli import main
from registry_shim.testing import running_registry
from tests.support.checkpoints import make_checkpoint
from tests.support.signing import KEY

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "sign-and-verify.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in BLOCK.findall(PAGE.read_text()) for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("modelcar ")]


def test_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    make_checkpoint(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": str(tmp_path),
        "MODELCAR_HOME": str(tmp_path / "home"),
        "COSIGN_PASSWORD": "secret",
        "SIGNING_KEY": KEY.pkcs8_pem(b"").decode(),
        "VERIFYING_KEY": KEY.public.pem.decode(),
    }.items():
        monkeypatch.setenv(name, value)
    found = commands()
    assert len(found) > 15
    with running_registry() as registry:
        for command in found:
            status = main([word.replace("ghcr.io", registry) for word in command])
            assert status == 0, (command, capsys.readouterr().err)
