"""Images for other models to lie in."""

from __future__ import annotations

from modelcar.layers.bytemap import Literal
from modelcar.layers.tar import Entry, build_tar
from modelcar.oci import Descriptor, ImageConfig, Manifest, Platform, media_types
from modelcar.store import LocalStore, write_document

__all__ = ["AMD64", "ARM64", "add_base"]

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")


def add_base(store: LocalStore, platform: Platform, media_type: str = media_types.LAYER_TAR) -> Manifest:
    """Put a one-layer image for `platform` into the store."""
    tar = build_tar([Entry(path="bin/sh", content=Literal(str(platform).encode()), executable=True)])
    blob = tar.content.open().read()
    layer = Descriptor.of(media_type, blob)
    config = ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        diff_ids=(layer.digest,),
        runtime={"Entrypoint": ["/bin/sh"], "Env": ["A=1"], "Labels": {"base": "yes"}},
        history=({"created_by": "base", "created": "2020-01-01T00:00:00Z"},),
        rest={"created": "2020-01-01T00:00:00Z", "author": "someone"},
    )
    manifest = Manifest(config=config.descriptor, layers=(layer,))
    for content in (blob, config.content, manifest.content):
        write_document(store.content, content)
    return manifest
