"""One file between modelcar, skopeo, podman, buildah and containerd: they take ours, and we take theirs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelcar.store import ArchiveStore, Names
from tests.e2e.conftest import Published
from tests.e2e.support.commands import Modelcar, run
from tests.e2e.support.containerd import Containerd
from tests.e2e.support.podman import Podman
from tests.e2e.support.registries import manifest_bytes
from tests.support.checkpoints import files_of
from tests.support.images import validate_in
from tests.support.signing import KEY

pytestmark = pytest.mark.slow

COPY = ["skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"]


@pytest.fixture(scope="module")
def archive(model: Published, modelcar: Modelcar, workspace: Path) -> Path:
    path = workspace / "model.tar"
    written = modelcar("archive", model.ref, "-o", path)
    assert (written["digest"], written["size"]) == (model.digest, path.stat().st_size)
    return path


@pytest.fixture(scope="module")
def signed(model: Published, modelcar: Modelcar, embedded: str, workspace: Path) -> Path:
    """The same image under another name, signed: its archive has more than one entry."""
    ref, key, path = f"{embedded}/acme/signed:v1", workspace / "signing.key", workspace / "signed.tar"
    key.write_bytes(KEY.pkcs8_pem(b""))
    assert modelcar("build", model.folder, "-t", ref)["digest"] == model.digest
    modelcar("sign", ref, "--key", key)
    assert modelcar("archive", ref, "-o", path, "--key", key)["attachments"] > 0
    return path


@pytest.mark.debian("skopeo")
@pytest.mark.parametrize("which", ["archive", "signed"])
def test_skopeo_takes_ours(model: Published, which: str, embedded: str, request: pytest.FixtureRequest) -> None:
    archive = request.getfixturevalue(which)
    ref = f"{embedded}/by-skopeo/tiny:v1"
    run(*COPY, f"oci-archive:{archive}:v1", f"docker://{ref}")
    assert manifest_bytes(ref) == manifest_bytes(model.ref)


@pytest.mark.debian("skopeo")
def test_without_a_tag_skopeo_asks_which(archive: Path, signed: Path) -> None:
    """What docs/how-to/air-gap.md says of archives with signatures."""
    assert run("skopeo", "inspect", "--raw", f"oci-archive:{archive}").returncode == 0
    done = run("skopeo", "inspect", "--raw", f"oci-archive:{signed}", check=False)
    assert done.returncode != 0
    assert "more than one image in oci" in done.stderr


@pytest.mark.debian("skopeo")
def test_we_take_skopeos(model: Published, modelcar: Modelcar, embedded: str, tmp_path: Path) -> None:
    archive, ref = tmp_path / "theirs.tar", f"{embedded}/from-skopeo/tiny:v1"
    run(*COPY, f"docker://{model.ref}", f"oci-archive:{archive}:v1")
    store = ArchiveStore(archive)
    validate_in(store, Names(store).get("v1"))
    assert modelcar("pull", f"oci-archive:{archive}", "-o", tmp_path / "copy")["digest"] == model.digest
    assert files_of(tmp_path / "copy") == model.files
    assert modelcar("copy", f"oci-archive:{archive}:v1", ref)["digest"] == model.digest
    assert manifest_bytes(ref) == manifest_bytes(model.ref)
    assert modelcar("inspect", f"oci-archive:{archive}")["digest"] == model.digest


@pytest.fixture
def engine(podman_engine: Podman) -> Iterator[Podman]:
    podman_engine("image", "rm", "--all", "--force")  # what other tests have left
    yield podman_engine
    podman_engine("image", "rm", "--all", "--force")


@pytest.mark.root
@pytest.mark.debian("podman", "runc")
@pytest.mark.parametrize(
    "command",
    [
        ["load", "--input", "{archive}"],
        ["pull", "oci-archive:{archive}:v1"],
        ["pull", "oci-archive:{signed}:v1"],
    ],
    ids=" ".join,
)
def test_podman_takes_ours(model: Published, archive: Path, signed: Path, engine: Podman, command: list[str]) -> None:
    engine(*(word.format(archive=archive, signed=signed) for word in command))
    if command[0] == "load":
        assert model.ref in engine("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    (image,) = engine("image", "ls", "--quiet").stdout.split()
    mounted = Path(engine("image", "mount", image).stdout.strip())
    try:
        assert files_of(mounted / "models") == model.files
    finally:
        engine("image", "unmount", "--all")


@pytest.mark.root
@pytest.mark.debian("podman", "runc", "buildah")
@pytest.mark.parametrize("tool", ["podman", "buildah"])
def test_we_take_what_engines_save(
    model: Published, modelcar: Modelcar, engine: Podman, tmp_path: Path, tool: str
) -> None:
    engine.pull(model.ref)
    archive = tmp_path / "theirs.tar"
    if tool == "podman":
        engine("save", "--format", "oci-archive", "--output", archive, model.ref)
    else:
        engine.buildah("push", model.ref, f"oci-archive:{archive}:{model.ref}")
    modelcar("pull", f"oci-archive:{archive}", "-o", tmp_path / "copy")
    modelcar("pull", f"oci-archive:{archive}:{model.ref}", "-o", tmp_path / "again")
    assert files_of(tmp_path / "copy") == files_of(tmp_path / "again") == model.files


@pytest.mark.root
@pytest.mark.debian("containerd", "runc")
@pytest.mark.parametrize("which", ["archive", "signed"])
def test_containerd_takes_ours(
    model: Published, which: str, containerd_engine: Containerd, request: pytest.FixtureRequest
) -> None:
    archive = request.getfixturevalue(which)
    containerd_engine.ctr("image", "import", "--all-platforms", "--no-unpack", archive)
    listed = containerd_engine.ctr("image", "ls").stdout
    assert (model.ref if which == "archive" else model.ref.replace("tiny", "signed")) in listed
    assert model.digest in listed


@pytest.mark.debian("skopeo")
def test_compressed_ones_are_refused(archive: Path, modelcar: Modelcar, tmp_path: Path) -> None:
    packed = tmp_path / "model.tar.gz"
    packed.write_bytes(archive.read_bytes())
    run("gzip", "--fast", "--force", "--suffix", ".z", packed)
    line = modelcar.refusal(2, "inspect", f"oci-archive:{packed}.z")
    assert line.endswith("is compressed (gzip)")
    assert json.loads(run("skopeo", "inspect", "--raw", f"oci-archive:{packed}.z").stdout)
