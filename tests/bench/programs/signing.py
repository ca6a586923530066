"""Sign an image of 60 layers in the local store, or verify it; the time that takes, and what it reads.

python -m tests.bench.programs.signing sign|verify FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from modelcar.checkpoint import open_checkpoint
from modelcar.oci import Descriptor, Manifest
from modelcar.packaging.base import DEFAULT_PLATFORMS, holder_base
from modelcar.packaging.build import build_image
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.keys.authority import KeyAuthority
from modelcar.signing.keys.generate import generate_key
from modelcar.signing.keys.key import PrivateKey
from modelcar.signing.places import LayoutPlace
from modelcar.signing.sign import sign_image
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.verify import verify_signature
from modelcar.store import LocalStore
from tests.bench.measure import parse_io
from tests.bench.model import sharded_model

_LAYERS = 60
_SHARD = 8 << 20  # bytes
_TIMES = 5


def build(folder: Path) -> tuple[LayoutPlace, Descriptor]:
    """An image whose manifests have 60 layers each, most of them weights."""
    model = sharded_model(folder / "model", _LAYERS - 3, _SHARD)  # and small files, the index, the holder
    store = LocalStore(folder / "home")
    bases = [holder_base(platform) for platform in DEFAULT_PLATFORMS]
    with store.session():
        image = build_image(open_checkpoint(str(model.folder)), store, bases, max_layers=_LAYERS)
        store.names.put("localhost/bench:v1", image.index)
    place = LayoutPlace(store.content, "localhost/bench")
    first = place.document(image.index).manifests[0]  # type: ignore[union-attr]  # an index
    manifest = place.document(first)
    assert isinstance(manifest, Manifest)
    assert len(manifest.layers) == _LAYERS, len(manifest.layers)
    return place, image.index


def main(verb: str, folder: str) -> None:
    place, root = build(Path(folder))
    keys = [generate_key() for _ in range(_TIMES)]
    walls, read = zip(*(_timed(job) for job in _jobs(verb, place, root, keys)), strict=True)
    (Path(folder) / "read").write_text(json.dumps(max(read)))
    print(median(walls))


def _jobs(verb: str, place: LayoutPlace, root: Descriptor, keys: list[PrivateKey]) -> list[Callable[[], object]]:
    """Every signing is by another key, because signing again writes nothing; verifying is by one."""
    now = datetime.now(UTC)
    if verb == "sign":
        return [lambda key=key: sign_image(place, root, KeySignatory(key), created=now) for key in keys]  # type: ignore[misc]  # mypy takes no lambda with a default
    sign_image(place, root, KeySignatory(keys[0]), created=now)
    authority = KeyAuthority([keys[0].public])

    def verify() -> object:
        evidence = gather_evidence(place, root.digest)
        return verify_signature(digest=root.digest, evidence=evidence, authority=authority)

    return [verify] * _TIMES


def _timed(job: Callable[[], object]) -> tuple[float, int]:
    """Seconds, and bytes read by system calls of whatever kind."""
    before, began = _read(), time.perf_counter()
    job()
    return time.perf_counter() - began, _read() - before


def _read() -> int:
    return parse_io(Path("/proc/self/io").read_text())["rchar"]


if __name__ == "__main__":
    main(*sys.argv[1:])
