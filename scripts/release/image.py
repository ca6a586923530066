"""The image of shim, webhook and controller: a Python base by its digest, and one layer of ours on top of it.

No Dockerfile, no container engine, no clock, no network: the layer is a tar by the same policy as a model's, and the
manifests are the library's own values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from modelcar.layers.tar import VirtualTar, build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, media_types
from modelcar.oci.validate import validate
from modelcar.store.base import Store, write_document
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names
from scripts.release.base import BaseLock, base_of, python_of
from scripts.release.needs import check_needs
from scripts.release.source import Source
from scripts.release.wheels import Wheel, check_wheels, site_entries

__all__ = ["ARCHITECTURES", "ImageRequest", "build_image", "labels_of"]

ARCHITECTURES: Final = ("amd64", "arm64")  # of nodes
_USER: Final = "65532:65532"
_ENVIRONMENT: Final = {
    # Nobody has a home in the base: what a person runs with it (its store, caches, logins) needs a folder that any user
    # may write to, also where the root is read-only and this one a volume, as in the bundle.
    "HOME": "/tmp",  # noqa: S108  # the container's own
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """`extras`: of our wheel. `wheels`: those of others, by architecture. `labels`: of the image and its index."""

    name: str
    ours: Wheel
    extras: Collection[str]
    wheels: Mapping[str, Sequence[Wheel]]
    lock: BaseLock
    labels: Mapping[str, str]
    epoch: int


def labels_of(source: Source, lock: BaseLock, url: str | None) -> dict[str, str]:
    """As labels and as annotations. `url`: of the repository, which registries link to; not of the commit alone.

    Source: https://specs.opencontainers.org/image-spec/annotations/
    """
    found = {
        "base.digest": lock.digest,
        "base.name": f"{lock.repository}:{lock.tag}",
        "created": _rfc3339(source.epoch),
        "description": "Models in OCI images: the command, the registry of each node, the webhook, the controller",
        "licenses": "Apache-2.0",
        "revision": source.commit,
        "title": "modelcar",
        "version": source.version,
    } | ({"source": url, "url": url} if url else {})
    return {f"org.opencontainers.image.{name}": text for name, text in sorted(found.items())}


def build_image(request: ImageRequest, base: OciLayout, target: OciLayout) -> Descriptor:
    """Write the image to `target` under its name; returns its index.

    Raises:
        UsageError: the base has no image or no Python for an architecture, or is not the one that the lock names.
        SourceError: the wheels do not fit together, or not to that Python.
    """
    architectures = sorted(request.wheels)
    python = python_of(base, request.lock, architectures)
    entries = []
    for architecture in architectures:
        found = base_of(base, request.lock, architecture)
        for layer in found.layers:
            _copy(base, target, layer)
        check_wheels(request.wheels[architecture], python, architecture)
        check_needs(request.ours, request.extras, request.wheels[architecture], python, architecture)
        tar = build_tar(site_entries(request.wheels[architecture], request.ours, python))
        layer, diff_id = _add_layer(tar, target)
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


def _add_layer(tar: VirtualTar, target: OciLayout) -> tuple[Descriptor, Digest]:
    """Not compressed: then its digest depends on no version of a compressor."""
    with tar.content.open() as reader:
        digest = Digest.of(reader.read())
    target.materialise(digest, tar.content)
    return Descriptor(media_type=media_types.LAYER_TAR, digest=digest, size=tar.content.size), digest


def _config(request: ImageRequest, base: ImageConfig, diff_id: Digest) -> ImageConfig:
    """The base's configuration with a user who is nobody, and with our command as what it is started with."""
    environment = dict(text.partition("=")[::2] for text in base.runtime.get("Env", ())) | _ENVIRONMENT
    runtime: dict[str, Any] = {
        **base.runtime,
        "User": _USER,
        "Env": [f"{name}={text}" for name, text in environment.items()],
        "Entrypoint": ["modelcar"],
        "Cmd": ["--help"],
        "Labels": {**base.runtime.get("Labels", {}), **request.labels},
    }
    created = _rfc3339(request.epoch)
    ours = {"created": created, "created_by": "modelcar release"}
    history = (*base.history, ours) if base.history or not base.diff_ids else ()  # of all layers, or of none
    return base.edited(
        diff_ids=(*base.diff_ids, diff_id),
        runtime=runtime,
        history=history,
        rest={**base.rest, "created": created},
    )


def _rfc3339(epoch: int) -> str:
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _copy(source: Store, target: Store, blob: Descriptor) -> None:
    if blob.digest in target:
        return
    with source.open(blob.digest) as reader, target.begin(blob.digest) as writer:
        while piece := reader.read(1 << 20):
            writer.write(piece)
        writer.commit(blob.digest)
