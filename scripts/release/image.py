"""The image of shim, webhook and controller: a Python base by its digest, and one layer of ours on top of it.

No Dockerfile, no container engine, no clock, no network: the layer is a tar by the same policy as a model's, and the
manifests are the library's own values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from modelcar.errors import UsageError
from modelcar.layers.tar import build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.oci.validate import validate
from modelcar.packaging.base import foreign_bases
from modelcar.store.base import Store, write_document
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names
from scripts.release.wheels import Wheel, site_entries

__all__ = ["BaseLock", "build_image"]

_USER: Final = "65532:65532"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLock:
    """locks/base.json. `image`: the base by its digest; the others say where its Python looks for things."""

    image: str
    tag: str
    packages: str
    programs: str
    python: str

    @classmethod
    def read(cls, file: Path) -> BaseLock:
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """`wheels`: those of others, by architecture. `labels`: of the image and its index."""

    name: str
    ours: Wheel
    wheels: Mapping[str, Sequence[Wheel]]
    lock: BaseLock
    labels: Mapping[str, str]
    epoch: int


def build_image(request: ImageRequest, base: OciLayout, target: OciLayout) -> Descriptor:
    """Write the image to `target` under its name; returns its index.

    Raises:
        UsageError: the base has no image for an architecture, or is not the one that the lock names.
        SourceError: the wheels do not fit together.
    """
    root = Names(base).only()
    if str(root.digest) != request.lock.image.partition("@")[2]:
        raise UsageError(f"the base is {root.digest}, and the lock names {request.lock.image}")
    entries = []
    for architecture in sorted(request.wheels):
        platform = Platform(os="linux", architecture=architecture)
        (found,) = foreign_bases(base, root, [platform], request.lock.image)
        for layer in found.layers:
            _copy(base, target, layer)
        layer, diff_id = _add_layer(request, architecture, target)
        config = _config(request, found.config, diff_id)
        config_digest = write_document(target, config.content)
        manifest = Manifest(
            media_type=media_types.MANIFEST,
            config=Descriptor(media_type=media_types.CONFIG, digest=config_digest, size=len(config.content)),
            layers=(*found.layers, layer),
            annotations=request.labels,
        )
        write_document(target, manifest.content)
        entries.append(
            Descriptor(
                media_type=media_types.MANIFEST,
                digest=manifest.digest,
                size=len(manifest.content),
                platform=config.platform,
            )
        )
    index = Index(media_type=media_types.INDEX, manifests=tuple(entries), annotations=request.labels)
    write_document(target, index.content)
    validate(index.descriptor, target.open)  # type: ignore[arg-type]  # a ByteReader reads like any stream
    Names(target).put(request.name, index.descriptor)
    return index.descriptor


def _add_layer(request: ImageRequest, architecture: str, target: OciLayout) -> tuple[Descriptor, Digest]:
    """Not compressed: then its digest depends on no version of a compressor."""
    lock = request.lock
    tar = build_tar(
        site_entries(
            list(request.wheels[architecture]),
            request.ours,
            packages=lock.packages,
            programs=lock.programs,
            python=lock.python,
        )
    )
    with tar.content.open() as reader:
        digest = Digest.of(reader.read())
    target.materialise(digest, tar.content)
    return Descriptor(media_type=media_types.LAYER_TAR, digest=digest, size=tar.content.size), digest


def _config(request: ImageRequest, base: ImageConfig, diff_id: Digest) -> ImageConfig:
    """The base's configuration with a user who is nobody, and nothing that is written while it runs."""
    environment = [*base.runtime.get("Env", ()), "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"]
    runtime: dict[str, Any] = {**base.runtime, "User": _USER, "Env": environment, "Cmd": ["modelcar"]}
    runtime["Labels"] = {**base.runtime.get("Labels", {}), **request.labels}
    runtime.pop("Entrypoint", None)
    created = f"{datetime.fromtimestamp(request.epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"
    ours = {"created": created, "created_by": "modelcar release"}
    history = (*base.history, ours) if base.history or not base.diff_ids else ()  # of all layers, or of none
    return base.edited(
        diff_ids=(*base.diff_ids, diff_id),
        runtime=runtime,
        history=history,
        rest={**base.rest, "created": created},
    )


def _copy(source: Store, target: Store, blob: Descriptor) -> None:
    if blob.digest in target:
        return
    with source.open(blob.digest) as reader, target.begin(blob.digest) as writer:
        while piece := reader.read(1 << 20):
            writer.write(piece)
        writer.commit(blob.digest)
