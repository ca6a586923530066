"""What the commands `build`, `push` and `pull` do, for Python programs.

```python
import modelcar

modelcar.build("./my-model", "ghcr.io/org/my-model:v1")
modelcar.push("ghcr.io/org/my-model:v1")
modelcar.pull("ghcr.io/org/my-model:v1", "./copy")
```
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Final

from modelcar.checkpoint import Checkpoint, open_checkpoint
from modelcar.errors import UsageError
from modelcar.images.gate import gated
from modelcar.images.local import find_local, new_name
from modelcar.images.publish import publish_image
from modelcar.images.scan_folders import spool_folder
from modelcar.oci import Descriptor, Platform, Reference
from modelcar.packaging.base import DEFAULT_PLATFORMS, Base, foreign_bases, holder_base, scratch_base
from modelcar.packaging.build import BuiltImage, build_image
from modelcar.packaging.fetch import LayoutSource, RegistrySource, bring_image, choose_manifest
from modelcar.packaging.locations import StoredLocation, parse_location
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, Packing
from modelcar.packaging.unpack import Unpacked, unpack_model
from modelcar.progress import SILENT, Progress
from modelcar.registry import ClientSettings, Registry
from modelcar.scanning.settings import ScanSettings
from modelcar.store import LocalStore, default_home

__all__ = ["build", "choose_bases", "pull", "push"]

_DEFAULTS: Final = ClientSettings()


def build(
    source: str | PathLike[str] | Checkpoint,
    ref: str | Reference,
    *,
    base: str = "holder",
    platforms: Sequence[str | Platform] = (),
    max_layers: int = DEFAULT_MAX_LAYERS,
    packing: str | Packing = Packing.TAR,
    content_digests: bool = False,
    scan: bool = True,
    store: LocalStore | None = None,
    settings: ClientSettings = _DEFAULTS,
    progress: Progress = SILENT,
) -> BuiltImage:
    """Package a checkpoint as the image `ref` in the local store.

    The weights stay where they are and the image refers to them, so keep them until it is pushed or exported.

    Args:
        source: what `open_checkpoint` takes, or a checkpoint that it returned.
        base: `holder`, `scratch`, or an image: a reference, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
        platforms: such as `linux/arm64`; by default that and linux/amd64, as far as the base has them.
        max_layers: the most that the image may have.
        packing: `estargz` or `soci` for the snapshotters of that name; by default plain tars, for our own.
        content_digests: also record the digest of every weight file, which costs one more hash of its bytes.
        scan: look for what does harm beside it.
        store: by default the user's own, as for the command.

    Raises:
        UsageError: the source cannot be packaged, or the name or an option makes no sense.
        Denied: the scan found what must not be shipped; nothing was named.
        WorldError: a file changed meanwhile, a disk or registry failed.
    """
    name, packing = new_name(_reference(ref)), _packing(packing)
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source, lazy=True)
    store = store or LocalStore(default_home())
    with store.session():
        with Registry(settings, progress) as registry:
            bases = choose_bases(base, [_platform(platform) for platform in platforms], store, registry)
        subject = None if isinstance(source, Checkpoint) else fspath(source)
        how = ScanSettings(spool=spool_folder())
        with gated(checkpoint, how, subject) if scan else nullcontext() as gate:
            image = build_image(
                checkpoint,
                store,
                bases,
                max_layers=max_layers,
                packing=packing,
                content_digests=content_digests,
                progress=progress,
                upload=gate.watch if gate is not None else None,
                arrived=gate.look if gate is not None else lambda _: None,
            )
            if gate is not None:
                gate.require()
        store.names.put(name, image.index)
    return image


def push(
    ref: str | Reference,
    target: str | Reference | None = None,
    *,
    store: LocalStore | None = None,
    settings: ClientSettings = _DEFAULTS,
    progress: Progress = SILENT,
) -> Descriptor:
    """Push the image `ref` of the local store to its registry, or to `target`; returns its descriptor.

    Signatures and attestations go along. One that was killed goes on where the registry has come to.

    Raises:
        NotFound: there is no such image in the local store.
        TooLarge: the registry is known not to take one of the layers.
        WorldError: a weight file has changed since the build, or the registry refuses or cannot be reached.
    """
    ref = _reference(ref)
    store = store or LocalStore(default_home())
    remembering = replace(settings, state=settings.state or store.registries)
    with store.session(), Registry(remembering, progress) as registry:
        root = find_local(store, ref)
        publish_image(registry, store.content, root, _reference(target or ref))
    return root


def pull(
    ref: str | Reference,
    folder: str | PathLike[str],
    *,
    platform: str | Platform | None = None,
    settings: ClientSettings = _DEFAULTS,
    progress: Progress = SILENT,
) -> Unpacked:
    """Put the model's files of an image, verified, into `folder`, which must not exist or be empty.

    Args:
        ref: a reference, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
        platform: of an image for several platforms, take this one; models are the same in all of them.

    Raises:
        UsageError: `folder` has something in it, or the image is not for `platform`.
        InvalidContent: what came is not what was promised; `folder` is as it was.
        WorldError: the registry refuses or cannot be reached, or the disk fails.
    """
    location = parse_location(ref) if isinstance(ref, str) else ref
    with Registry(settings, progress) as registry:
        source = LayoutSource(location) if isinstance(location, StoredLocation) else RegistrySource(location, registry)
        manifest = choose_manifest(source, source.resolve(), _platform(platform) if platform else None)
        return unpack_model(manifest, source.open_layer, Path(folder), workers=settings.concurrency, progress=progress)


def choose_bases(base: str, platforms: Sequence[Platform], store: LocalStore, registry: Registry) -> list[Base]:
    """What `holder`, `scratch` or the name of an image means; an image is brought into `store`.

    Raises:
        UsageError: there is none for one of `platforms`.
    """
    platforms = list({str(platform): platform for platform in platforms}.values())
    wanted = platforms or DEFAULT_PLATFORMS
    if base == "holder":
        return [holder_base(platform) for platform in wanted]
    if base == "scratch":
        return [scratch_base(platform) for platform in wanted]
    root = bring_image(parse_location(base), store, registry, wanted)
    return foreign_bases(store.content, root, platforms or None, base)


def _packing(packing: str | Packing) -> Packing:
    try:
        return Packing(packing)
    except ValueError:
        raise UsageError(f"{packing!r} is not a way to pack layers", hint=f"one of {', '.join(Packing)}") from None


def _platform(platform: str | Platform) -> Platform:
    return Platform.parse(platform) if isinstance(platform, str) else platform


def _reference(ref: str | Reference) -> Reference:
    return Reference.parse(ref) if isinstance(ref, str) else ref
