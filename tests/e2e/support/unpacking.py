"""`python -m tests.e2e.support.unpacking ROOT SOCKET`: the snapshotter with lazy layers that are no mounts of ours.

A layer is fetched whole from the image's registry, over plain HTTP, unpacked, and bound read-only to where the
snapshotter wants it: as real as it gets without a shim, and without anything that serves the kernel.
"""

from __future__ import annotations

import http.client
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from modelcar.errors import NotFound, WorldError
from modelcar.mounts.process.unmounting import mounted
from modelcar.oci import Digest, Manifest, Reference
from modelcar.packaging.annotations import SNAPSHOT_LAYER
from modelcar.packaging.inspect import index_layer_of
from registry_shim.mounts.layered import folder_name
from registry_shim.snapshotter.records import ModelImage
from registry_shim.snapshotter.run import SnapshotterSettings, run
from scripts.release.source import unpack

__all__ = ["UnpackingMounter"]


class UnpackingMounter:
    """A `LayerMounter`; unpacks into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, image: ModelImage, layer: Digest) -> None:
        manifest = self._manifest(image)
        if index_layer_of(manifest) is None or layer not in (each.digest for each in manifest.layers):
            raise NotFound(f"{image.reference} has no index")

    def mount(self, image: ModelImage, target: Path) -> None:
        if (self._folder / "away").exists():
            raise WorldError("the test has taken it away")
        place = self._folder / str(image.manifest.hex)
        if not place.exists():
            new = place.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            for layer in self._manifest(image).layers:
                if SNAPSHOT_LAYER in layer.annotations:
                    content = _get(image, f"blobs/{layer.digest}", "")
                    layer.check(content)
                    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                        unpack(tar, new / folder_name(layer.digest), "tar")
            new.rename(place)
        if mounted(target) is None:
            _run("mount", "--bind", place, target)
            _run("mount", "-o", "remount,bind,ro", target)

    def recover(self, target: Path) -> None:
        """A bind mount needs nobody."""

    def unmount(self, target: Path) -> None:
        while mounted(target) is not None:
            _run("umount", "--lazy", target)

    def _manifest(self, image: ModelImage) -> Manifest:
        kind = "application/vnd.oci.image.manifest.v1+json"
        content = _get(image, f"manifests/{image.manifest}", kind)
        image.manifest.check(content, "the manifest")
        return Manifest.parse(content, kind)


def _get(image: ModelImage, path: str, accept: str) -> bytes:
    reference = Reference.parse(image.reference)
    connection = http.client.HTTPConnection(reference.registry, timeout=20)
    try:
        connection.request("GET", f"/v2/{reference.repository}/{path}", headers={"Accept": accept} if accept else {})
        response = connection.getresponse()
        content = response.read()
    except OSError as e:
        raise WorldError(f"{reference.registry}: {e}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise NotFound(f"{reference.registry} answers {response.status}")
    return content


def _run(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise WorldError(f"{command[0]}: {done.stderr.strip()}")


def _say() -> None:
    print("ready", flush=True)


if __name__ == "__main__":
    root, socket = map(Path, sys.argv[1:])
    run(SnapshotterSettings(root=root, socket=socket), UnpackingMounter(root.with_name("unpacked")), ready=_say)
