"""An image from a layout into an engine's own storage."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.engines.archive import engine_archive, pieces_of
from modelcar.engines.engine import Engine
from modelcar.errors import UsageError, WorldError
from modelcar.oci import Descriptor, Digest, Manifest, Platform, Reference
from modelcar.packaging.fetch import StoreSource, choose_manifest
from modelcar.progress import SILENT, Progress
from modelcar.store import Layout

__all__ = ["Loaded", "load_image"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What an engine has now: `name` is `manifest`, of `size` bytes with all its layers; `engine_id` is its own id."""

    name: str
    manifest: Digest
    engine_id: str
    size: int


def load_image(
    engine: Engine,
    layout: Layout,
    root: Descriptor,
    name: Reference,
    *,
    platform: Platform | None = None,
    progress: Progress = SILENT,
) -> Loaded:
    """Load the image `root` of `layout` into `engine` as `name`; of an index, what the engine's platform runs.

    Raises:
        UsageError: `name` has no tag, or there is no image for that platform.
        SourceChanged: a weight file is not what it was when the image was built; the engine has nothing new.
        InvalidContent: the image is not what its digests say.
        WorldError: the engine refuses, or has another image by that name afterwards.
    """
    if name.tag is None:
        raise UsageError(f"{name} has no tag, and engines call images by theirs", hint="give it a name with --tag")
    manifest = choose_manifest(StoreSource(layout, root), root, platform or engine.platform())
    content = engine_archive(layout, manifest, name, progress=progress)
    engine.load(pieces_of(content, progress))
    whole_name = f"{name.name}:{name.tag}"
    return Loaded(
        name=whole_name,
        manifest=manifest.digest,
        engine_id=_loaded_id(engine, whole_name, manifest),
        size=sum(layer.size for layer in manifest.layers),
    )


def _loaded_id(engine: Engine, name: str, manifest: Manifest) -> str:
    """The engine's id, which is the digest of the configuration or, with containerd's storage, of the manifest."""
    found = engine.image_id(name)
    if found not in (str(manifest.config.digest), str(manifest.digest)):
        raise WorldError(f"{engine.name} took the image and has {found or 'nothing'} as {name} now")
    return found
