"""olot: adds model files as layers to an OCI layout that is there already."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from tests.bench.measure import Measurement
from tests.bench.race import Run

__all__ = ["TAG", "build"]

TAG: Final = "v1"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"


def build(run: Run, layout: Path) -> Measurement:
    """`olot LAYOUT FILE...` on top of an image whose one layer is empty: the least base that it takes."""
    _write_base(layout)
    return run.measure([run.bench.peers.bin / "olot", layout, *run.bench.model.files], disk=[run.folder])


def _write_base(layout: Path) -> None:
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    layer = _put(layout, bytes(1024), "application/vnd.oci.image.layer.v1.tar")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "history": [{"created_by": "bench"}],
    }
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _put(layout, json.dumps(config).encode(), _CONFIG),
        "layers": [layer],
    }
    entry = _put(layout, json.dumps(manifest).encode(), _MANIFEST) | {
        "annotations": {"org.opencontainers.image.ref.name": TAG}
    }
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def _put(layout: Path, data: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
