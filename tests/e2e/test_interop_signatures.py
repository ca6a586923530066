"""skopeo reads layouts that hold signatures, and we sign layouts that skopeo made."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from tests.e2e.support.commands import BIN, Modelcar, run

pytestmark = [pytest.mark.slow, pytest.mark.debian("skopeo")]

_numbers = count()


@pytest.fixture
def keys(modelcar: Modelcar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with a key pair `ours`."""
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    modelcar("keygen", "-o", tmp_path / "ours")
    return tmp_path


@pytest.fixture
def signed(modelcar: Modelcar, embedded: str, checkpoint: Path, keys: Path) -> str:
    """A signed image in the registry."""
    ref = f"{embedded}/acme/signed-{next(_numbers)}:v1"
    modelcar("build", checkpoint, "-t", ref, "--sign-key", keys / "ours.key", "--push")
    return ref


def test_a_signed_layout_is_read_by_name(signed: str, modelcar: Modelcar, keys: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    copied = modelcar("copy", signed, f"oci:{layout}:v1")
    raw = run("skopeo", "inspect", "--raw", f"oci:{layout}:v1").stdout
    inside = (layout / "blobs/sha256" / copied["digest"].removeprefix("sha256:")).read_text()
    assert raw == inside
    run("skopeo", "copy", "--all", "--preserve-digests", f"oci:{layout}:v1", f"dir:{tmp_path / 'dir'}")
    assert (tmp_path / "dir/manifest.json").read_text() == inside


def test_a_layout_that_skopeo_made_is_signed_in_place(
    signed: str, modelcar: Modelcar, keys: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    run(
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        f"docker://{signed}",
        f"oci:{layout}:v1",
    )
    refusal = run(BIN / "modelcar", "verify", f"oci:{layout}:v1", "--key", keys / "ours.pub", check=False)
    assert refusal.returncode == 1
    assert "nothing is attached to it" in refusal.stderr
    modelcar("sign", f"oci:{layout}:v1", "--key", keys / "ours.key")
    assert modelcar("verify", f"oci:{layout}:v1", "--key", keys / "ours.pub")["verified"]
    run("skopeo", "inspect", "--raw", f"oci:{layout}:v1")
