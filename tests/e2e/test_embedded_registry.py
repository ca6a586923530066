"""The embedded registry and the tools that people point at it: what they push comes back as it was."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oras.client
import pytest

from modelcar.oci import Descriptor, Digest, compact_json
from modelcar.oci.media_types import CONFIG, INDEX, LAYER_TAR, MANIFEST
from modelcar.store.base import write_document
from modelcar.store.layout import OciLayout
from registry_shim.distribution import uploads
from registry_shim.distribution.context import Call
from registry_shim.testing import running_registry
from tests.e2e.support.commands import run
from tests.e2e.support.containerd import containerd
from tests.e2e.support.podman import podman
from tests.e2e.support.registries import get

pytestmark = pytest.mark.slow

LAYER = bytes(1024)  # the empty tar


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with running_registry() as address:
        yield address


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for sockets."""
    with tempfile.TemporaryDirectory(prefix="mc") as folder:
        yield Path(folder)


def image(layout: OciLayout, architecture: str) -> Descriptor:
    """An image with one layer, and weights beside it that no engine unpacks."""
    diff_ids = [str(Digest.of(LAYER))]
    config = compact_json(
        {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": Descriptor.of(CONFIG, config).to_dict(),
        "layers": [Descriptor.of(LAYER_TAR, LAYER).to_dict()],
    }
    content = compact_json(manifest)
    for document in (config, LAYER, content):
        write_document(layout, document)
    platform = {"os": "linux", "architecture": architecture}
    return Descriptor.from_dict({**Descriptor.of(MANIFEST, content).to_dict(), "platform": platform})


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An OCI layout with an image for two platforms, called `test`."""
    store = OciLayout(tmp_path / "layout")
    images = [image(store, architecture).to_dict() for architecture in ("amd64", "arm64")]
    index = compact_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": images})
    write_document(store, index)
    name = {"org.opencontainers.image.ref.name": "test"}
    top = {"schemaVersion": 2, "manifests": [Descriptor.of(INDEX, index, annotations=name).to_dict()]}
    (store.root / "index.json").write_bytes(compact_json(top))
    return store.root


def blobs(layout: Path) -> set[str]:
    return {path.name for path in (layout / "blobs" / "sha256").iterdir()}


def manifest_digest(registry: str, repository: str, tag: str) -> str:
    return str(Digest.of(get(registry, f"{repository}/manifests/{tag}")))


def push(layout: Path, remote: str) -> None:
    """As it is: skopeo would compress the layers."""
    run("skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout}:test", remote)


@pytest.mark.debian("skopeo")
def test_skopeo(registry: str, layout: Path, tmp_path: Path) -> None:
    remote = f"docker://{registry}/skopeo/image:v1"
    push(layout, remote)
    back = tmp_path / "back"
    run("skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", remote, f"oci:{back}:test")
    assert blobs(back) == blobs(layout)
    tags: dict[str, Any] = json.loads(
        run("skopeo", "list-tags", "--tls-verify=false", remote.removesuffix(":v1")).stdout
    )
    assert tags["Tags"] == ["v1"]
    run("skopeo", "delete", "--tls-verify=false", remote)
    refused = run("skopeo", "inspect", "--tls-verify=false", remote, check=False)
    assert "manifest unknown" in refused.stderr


@pytest.mark.debian("skopeo")
def test_skopeo_mounts_what_the_registry_has(registry: str, layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (f"docker://{registry}/mount/{name}:v1" for name in ("first", "second"))
    push(layout, first)
    mounted = []

    def mount(call: Call, digest: Digest) -> bool:
        mounted.append(real_mount(call, digest))
        return mounted[-1]

    real_mount = uploads._mount
    monkeypatch.setattr(uploads, "_mount", mount)
    run("skopeo", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", first, second)
    assert manifest_digest(registry, "mount/first", "v1") == manifest_digest(registry, "mount/second", "v1")
    assert mounted == [True], "the layer that both images have, once"


@pytest.mark.root
@pytest.mark.debian("buildah", "podman")
def test_buildah_and_podman(registry: str, short: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(os.urandom(3 << 20))
    remote = f"{registry}/buildah/image"
    with podman(short / "p") as engine:
        container = engine.buildah("from", "scratch")
        engine.buildah("copy", container, str(tmp_path / "weights"), "/weights")
        engine.buildah("commit", container, "localhost/built:1")
        engine.buildah("rm", container)
        engine.buildah("push", "--tls-verify=false", "localhost/built:1", f"docker://{remote}:1")
        pushed = manifest_digest(registry, "buildah/image", "1")
        engine("rmi", "--force", "localhost/built:1")

        engine.pull(f"{remote}:1")
        pulled = engine("image", "inspect", "--format", "{{.Digest}}", f"{remote}:1").stdout.strip()
        assert pulled == pushed
        engine("push", "--tls-verify=false", "--digestfile", tmp_path / "digest", f"{remote}:1", f"{remote}:2")
        assert (tmp_path / "digest").read_text() == manifest_digest(registry, "buildah/image", "2")
        engine("rmi", "--force", "--all")


@pytest.mark.root
@pytest.mark.debian("containerd", "ctr", "skopeo")
def test_containerd(registry: str, layout: Path, short: Path) -> None:
    ref, other = f"{registry}/ctr/image:v1", f"{registry}/ctr/other:v1"
    push(layout, f"docker://{ref}")
    pushed = manifest_digest(registry, "ctr/image", "v1")
    with containerd(short / "c") as engine:
        engine.pull(ref, "--all-platforms", "--snapshotter", "native")
        assert engine.content() == {f"sha256:{name}" for name in blobs(layout)}
        engine.ctr("image", "tag", ref, other)
        engine.ctr("image", "push", "--plain-http", other)
    assert manifest_digest(registry, "ctr/other", "v1") == pushed


def test_oras_py(registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(2 << 20)
    (tmp_path / "weights.safetensors").write_bytes(content)
    monkeypatch.chdir(tmp_path)  # oras takes paths below the current folder only
    target = f"{registry}/oras/model:v1"
    client = oras.client.OrasClient(hostname=registry, insecure=True)
    for chunked in (False, True):
        pushed = client.push(
            target=target, files=["weights.safetensors:application/octet-stream"], do_chunked=chunked, quiet=True
        )
        assert pushed.status_code == 201
        assert pushed.headers["Docker-Content-Digest"] == manifest_digest(registry, "oras/model", "v1")
        (path,) = client.pull(target=target, outdir=str(tmp_path / f"back-{chunked}"))
        assert Path(path).read_bytes() == content
    assert client.get_tags(target) == ["v1"]
    client.delete_tags(target, ["v1"])
    assert client.get_tags(target) == []
