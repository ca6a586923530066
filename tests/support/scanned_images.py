"""Images made by hand, layer by layer, and scans of them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from modelcar.layers.bytemap import Literal
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, media_types
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.fetch import StoreSource
from modelcar.packaging.plan import LayerKind
from modelcar.scanning.blobs import StoredBlobs
from modelcar.scanning.image import scan_image
from modelcar.scanning.report import Report
from modelcar.scanning.settings import ScanSettings
from modelcar.store import LocalStore, write_document

__all__ = [
    "artifact_of",
    "blob_of",
    "image_of",
    "index_of",
    "layer_of",
    "member",
    "rules",
    "scan",
    "tar_of",
]


def blob_of(store: LocalStore, content: bytes, media_type: str = media_types.LAYER_TAR) -> Descriptor:
    """`content` as a blob in the store."""
    write_document(store.content, content)
    return Descriptor.of(media_type, content)


def layer_of(store: LocalStore, files: Mapping[str, bytes], kind: str | None = LayerKind.FILES) -> Descriptor:
    """A layer as we build them."""
    tar = build_tar([Entry(path=path, content=Literal(content)) for path, content in files.items()])
    with tar.content.open() as reader:
        return blob_of(store, reader.read()).annotated({LAYER: kind} if kind else {})


def member(
    path: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
    mode: int = 0o644,
    pax: Mapping[str, str] | None = None,
) -> tuple[tarfile.TarInfo, bytes]:
    """A member of any kind, for `tar_of`."""
    info = tarfile.TarInfo(path)
    info.size, info.type, info.linkname, info.mode = len(content), kind, link, mode
    info.pax_headers = dict(pax or {})
    return info, content


def tar_of(
    store: LocalStore, *members: tuple[tarfile.TarInfo, bytes], media_type: str = media_types.LAYER_TAR
) -> Descriptor:
    """A layer as somebody else might make it; compressed if its media type says so."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    return blob_of(store, gzip.compress(content, mtime=0) if media_type.endswith("gzip") else content, media_type)


def image_of(
    store: LocalStore,
    layers: Sequence[Descriptor],
    *,
    diff_ids: Sequence[Digest] | None = None,
    annotations: Mapping[str, str] | None = None,
    **runtime: Any,
) -> Descriptor:
    """A container image; by default every layer is taken for its own diff id."""
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        diff_ids=tuple(layer.digest for layer in layers) if diff_ids is None else tuple(diff_ids),
        runtime=runtime,
    )
    manifest = Manifest(config=config.descriptor, layers=tuple(layers), annotations=annotations or {})
    write_document(store.content, config.content)
    write_document(store.content, manifest.content)
    return manifest.descriptor


def artifact_of(
    store: LocalStore,
    layers: Sequence[Descriptor],
    config: bytes = b"{}",
    config_type: str = media_types.MODELPACK_CONFIG,
) -> Descriptor:
    """An artifact in the shape of an image, such as a ModelPack."""
    described = blob_of(store, config, config_type)
    manifest = Manifest(artifact_type=media_types.MODELPACK_MANIFEST, config=described, layers=tuple(layers))
    write_document(store.content, manifest.content)
    return manifest.descriptor


def index_of(store: LocalStore, *manifests: Descriptor) -> Descriptor:
    """An index over them."""
    index = Index(manifests=manifests)
    write_document(store.content, index.content)
    return index.descriptor


def scan(store: LocalStore, root: Descriptor, settings: ScanSettings | None = None) -> Report:
    """The report on an image in the store."""
    source = StoreSource(store.content, root)
    return scan_image(source, StoredBlobs(store.content), settings or ScanSettings(), subject="test")


def rules(report: Report) -> set[str]:
    """The ids of the rules that apply."""
    return {finding.rule.id for finding in report.all_findings}
