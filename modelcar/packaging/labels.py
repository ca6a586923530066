"""What layers are called for people."""

from __future__ import annotations

from collections.abc import Callable

from modelcar.errors import ModelcarError
from modelcar.oci import Descriptor, Digest, ImageConfig, Manifest
from modelcar.packaging.fetch import ImageSource, choose_manifest

__all__ = ["image_labels", "layer_labels"]


def layer_labels(manifest: Manifest, read: Callable[[Descriptor], bytes]) -> dict[Digest, str]:
    """The names that modelcar gave to layers when it built the image: a shard's file name, say.

    They are for people alone, so what cannot be read has none. `read` returns the config's bytes.
    """
    if not manifest.is_image:
        return {}
    try:
        config = ImageConfig.parse(read(manifest.config))
    except ModelcarError:
        return {}
    steps = [step for step in config.history if not step.get("empty_layer")]
    if len(steps) != len(manifest.layers):
        return {}
    return {
        layer.digest: str(step["comment"])
        for layer, step in zip(manifest.layers, steps, strict=True)
        if str(step.get("created_by")).startswith("modelcar ") and "comment" in step
    }


def image_labels(source: ImageSource, root: Descriptor) -> dict[Digest, str]:
    """The names of the layers of the first image at `root`."""
    try:
        return layer_labels(choose_manifest(source, root), source.read)
    except ModelcarError:  # whoever needs the image itself will say what is wrong with it
        return {}
