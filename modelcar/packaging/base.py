"""What an image has besides the model: our holder, nothing, or someone else's image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from modelcar.errors import InvalidDocument, NotFound, UsageError
from modelcar.holder import HOLDER_PATH, holder_bytes
from modelcar.layers.bytemap import ByteMap, Literal
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, media_types
from modelcar.oci.document import Fields
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.plan import LayerKind
from modelcar.store.base import Store, read_document
from modelcar.store.tree import load

__all__ = ["DEFAULT_PLATFORMS", "Base", "foreign_bases", "holder_base", "scratch_base"]

DEFAULT_PLATFORMS: Final = (
    Platform(os="linux", architecture="amd64"),
    Platform(os="linux", architecture="arm64"),
)
_USER: Final = "65532:65532"
_OCI_LAYER = {
    media_types.DOCKER_LAYER: media_types.LAYER_TAR,
    media_types.DOCKER_LAYER_GZIP: media_types.LAYER_TAR_GZIP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """For one platform: a config without the model, the layers on top of it, and those blobs that are new."""

    config: ImageConfig
    layers: tuple[Descriptor, ...] = ()
    blobs: Mapping[Digest, ByteMap] = field(default_factory=dict)


def holder_base(platform: Platform) -> Base:
    """Our holder: a static program that keeps the model's folder alive and publishes it.

    Raises:
        UsageError: there is no holder for this platform.
    """
    if platform.os != "linux" or platform.architecture not in ("amd64", "arm64"):
        raise UsageError(
            f"there is no holder for {platform}", hint="use linux/amd64 or linux/arm64, --base scratch, or --base IMAGE"
        )
    program = Literal(holder_bytes("arm64" if platform.architecture == "arm64" else "amd64"))
    tar = build_tar([Entry(path=HOLDER_PATH.lstrip("/"), content=program, executable=True)])
    with tar.content.open() as reader:
        blob = reader.read()
    digest = Digest.of(blob)
    layer = Descriptor(
        media_type=media_types.LAYER_TAR, digest=digest, size=len(blob), annotations={LAYER: LayerKind.HOLDER}
    )
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        diff_ids=(digest,),
        runtime={"User": _USER, "Entrypoint": [HOLDER_PATH], "WorkingDir": "/"},
        history=({"created_by": "modelcar holder", "comment": "keeps the model mounted and publishes it"},),
    )
    return Base(config=config, layers=(layer,), blobs={digest: ByteMap([Literal(blob)])})


def scratch_base(platform: Platform) -> Base:
    """Nothing: for image volumes only, since such an image cannot be run."""
    return Base(
        config=ImageConfig(architecture=platform.architecture, os=platform.os, variant=platform.variant, diff_ids=())
    )


def foreign_bases(
    store: Store, root: Descriptor, platforms: Sequence[Platform] | None, name: str, *, complete: bool = True
) -> list[Base]:
    """The parts of an image in `store` that serve as base, for `platforms`, or for every one it has that we default to.

    Args:
        complete: `store` has its layers, too, and not its documents alone.

    Raises:
        UsageError: the image lacks a platform that was asked for.
        InvalidDocument: it is not an image that engines can run.
        NotFound: a layer is missing.
    """
    document = load(store, root)
    if isinstance(document, Manifest):
        base = _foreign_base(store, document, name, complete)
        found = base.config.platform
        if platforms and not all((p.os, p.architecture) == (found.os, found.architecture) for p in platforms):
            raise UsageError(f"{name} is for {found} only", hint=f"ask for --platform {found}, or use another base")
        return [base]
    bases = []
    for platform in platforms or [p for p in DEFAULT_PLATFORMS if document.select(p)]:
        manifest = load(store, select(document, platform, name))
        if isinstance(manifest, Index):
            raise InvalidDocument(f"{name} has an index within its index for {platform}")
        bases.append(_foreign_base(store, manifest, name, complete))
    if not bases:
        raise UsageError(f"{name} has neither linux/amd64 nor linux/arm64", hint="name its platforms with --platform")
    return bases


def select(index: Index, platform: Platform, name: str) -> Descriptor:
    """The entry for `platform`. Raises `UsageError` saying which there are."""
    entry = index.select(platform)
    if entry is None:
        platforms = {str(m.platform) for m in index.manifests if m.platform and m.platform.os != "unknown"}
        there = ", ".join(sorted(platforms)) or "none"
        raise UsageError(f"{name} has no image for {platform}; it has {there}")
    return entry


def _foreign_base(store: Store, manifest: Manifest, name: str, complete: bool) -> Base:
    if not manifest.is_image:
        raise InvalidDocument(f"{name} is not a container image: its config is {manifest.config.media_type}")
    if any(layer.annotations.get(LAYER) in (LayerKind.WEIGHTS, LayerKind.FILES) for layer in manifest.layers):
        raise UsageError(f"{name} has a model in it already", hint="its files would lie over yours; use another base")
    try:
        config = ImageConfig.parse(read_document(store, manifest.config))
        Fields(config.runtime, "config.config").text_map("Labels")  # to which ours are added
    except InvalidDocument as e:
        raise InvalidDocument(f"{name} cannot be a base: {e}", hint=e.hint) from None
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidDocument(f"{name} has {len(manifest.layers)} layers and {len(config.diff_ids)} diff ids")
    missing = [layer.digest for layer in manifest.layers if layer.digest not in store]
    if complete and missing:
        raise NotFound(f"{name} is not complete here: {missing[0]} is missing")
    return Base(
        config=config.edited(media_type=media_types.CONFIG, rest=_without_clock(config.rest)),
        layers=tuple(
            Descriptor(media_type=_OCI_LAYER.get(d.media_type, d.media_type), digest=d.digest, size=d.size, urls=d.urls)
            for d in manifest.layers
        ),
    )


def _without_clock(rest: Mapping[str, Any]) -> dict[str, Any]:
    """The base's own build time would be read as ours."""
    return {key: value for key, value in rest.items() if key not in ("created", "container", "docker_version")}
