"""Every command of docs/how-to/air-gap.md, run in the order of the page."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from registry_shim.testing import running_registry
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.signing import KEY, OTHER_KEY

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "air-gap.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHERS = ("skopeo", "podman", "ctr")  # what tests/e2e/test_interop_archive.py runs


def commands() -> list[str]:
    lines = [line for block in BLOCK.findall(PAGE.read_text()) for line in block.splitlines()]
    return [line for line in lines if not line.startswith(OTHERS)]


@pytest.mark.debian("bash", "openssl", "tar")
def test_the_guide(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "model")
    for name, key in {"signing": KEY, "attesting": OTHER_KEY}.items():
        (tmp_path / f"{name}.key").write_bytes(key.pkcs8_pem(b""))
        (tmp_path / f"{name}.pub").write_bytes(key.public.pem)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "MODELCAR_HOME": str(tmp_path / "home"),
        "FINGERPRINT": KEY.public.fingerprint.removeprefix("sha256:"),
    }
    found = commands()
    assert len(found) > 12
    with running_registry() as registry:
        for command in found:
            line = command.replace("registry.internal", registry)
            done = subprocess.run(
                ["bash", "-ec", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, (command, done.stderr)
            if command.startswith("openssl"):
                assert done.stdout.split()[0] == environment["FINGERPRINT"]
    assert files_of(tmp_path / "llm") == files_of(checkpoint)
    assert (tmp_path / "installed.pub").read_bytes() == KEY.public.pem
