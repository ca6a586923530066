"""What the commands `build`, `push` and `pull` do, for Python programs.

```python
import modelcar

modelcar.build("./my-model", "ghcr.io/org/my-model:v1")
modelcar.push("ghcr.io/org/my-model:v1")
modelcar.pull("ghcr.io/org/my-model:v1", "./copy")
```
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelcar.checkpoint import Checkpoint
from modelcar.errors import UsageError
from modelcar.images.building import BuildRequest, Built, Signer, build_model
from modelcar.images.local import find_local
from modelcar.images.publish import mount_repositories, publish_image
from modelcar.images.pulling import FilesRequest, PulledFiles, PulledImage, pull_image, pull_model
from modelcar.images.sources import Wishes
from modelcar.images.watching import Watched
from modelcar.oci import Descriptor, Platform, Reference
from modelcar.packaging.locations import parse_location
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, Packing
from modelcar.progress import SILENT, Progress
from modelcar.registry import ClientSettings, Registry
from modelcar.store import LocalStore, default_home

if TYPE_CHECKING:
    from modelcar.signing.signatory import Signatory

__all__ = ["build", "pull", "push"]

_DEFAULTS: Final = ClientSettings()
_PASSWORD: Final = "COSIGN_PASSWORD"  # noqa: S105  # the variable's name


def build(
    source: str | PathLike[str] | Checkpoint,
    ref: str | Reference,
    *,
    base: str = "holder",
    platforms: Sequence[str | Platform] = (),
    max_layers: int = DEFAULT_MAX_LAYERS,
    packing: str | Packing = Packing.TAR,
    content_digests: bool = False,
    allow: Sequence[str] = (),
    ignore: Sequence[str] = (),
    adapter_of: str | Reference | None = None,
    with_base: bool = False,
    adapter_name: str | None = None,
    mount_from: Sequence[str] = (),
    scan: bool = True,
    push: bool = False,
    keep: bool = True,
    sign_key: str | PathLike[str] | None = None,
    signatory: Signatory | None = None,
    store: LocalStore | None = None,
    settings: ClientSettings = _DEFAULTS,
    progress: Progress = SILENT,
) -> Built:
    """Package a checkpoint as the image `ref` in the local store, and push it if that is wanted.

    The weights stay where they are and the image refers to them, so keep them until it is pushed or exported.

    Args:
        source: what `open_checkpoint` takes, or a checkpoint that it returned.
        base: `holder`, `scratch`, or an image: a reference, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
        platforms: such as `linux/arm64`; by default that and linux/amd64, as far as the base has them.
        max_layers: the most that the image may have.
        packing: `estargz` or `soci` for the snapshotters of that name; by default plain tars, for our own.
        content_digests: also record the digest of every weight file, which costs one more hash of its bytes.
        allow: of a source elsewhere, only what fits one of these patterns; `ignore`: not what fits one of these.
        adapter_of: the image that this is an adapter of; it is named by its digest.
        with_base: the image has that one's layers, too, so that it serves both; they are neither fetched nor hashed.
        adapter_name: the adapter's files lie in `adapters/NAME/`; with the base that is the last part of `ref`.
        mount_from: with `push`, repositories of the same registry that may have layers.
        scan: look for what does harm beside it.
        push: layers leave while others are hashed; the tag appears when all is there.
        keep: with `push`, weights from elsewhere stay in the cache; without, two shards are on the disk at most.
        sign_key: sign it with this private key: a file, `env://NAME`, or a key service's URL. A key with a password
            takes it from `COSIGN_PASSWORD`.
        signatory: or let this one sign it.
        store: by default the user's own, as for the command.

    Raises:
        UsageError: the source cannot be packaged, or the name or an option makes no sense.
        Denied: the scan found what must not be shipped; nothing was named or tagged.
        TooLarge: the registry is known not to take one of the layers.
        WorldError: a file changed meanwhile, a disk or registry failed.
    """
    request = BuildRequest(
        source=source if isinstance(source, Checkpoint) else fspath(source),
        ref=_reference(ref),
        base=base,
        platforms=tuple(map(_platform, platforms)),
        max_layers=max_layers,
        packing=_packing(packing),
        content_digests=content_digests,
        wishes=Wishes(allow=tuple(allow), ignore=tuple(ignore)),
        scan=scan,
        push=push,
        keep=keep,
        signer=_signer(sign_key, signatory),
        adapter_of=_reference(adapter_of) if adapter_of is not None else None,
        with_base=with_base,
        adapter_name=adapter_name,
        mount_from=tuple(mount_from),
    )
    store = store or LocalStore(default_home())
    return build_model(request, store, _remembering(settings, store), Watched(progress))


def push(
    ref: str | Reference,
    target: str | Reference | None = None,
    *,
    mount_from: Sequence[str] = (),
    store: LocalStore | None = None,
    settings: ClientSettings = _DEFAULTS,
    progress: Progress = SILENT,
) -> Descriptor:
    """Push the image `ref` of the local store to its registry, or to `target`; returns its descriptor.

    Signatures and attestations go along. One that was killed goes on where the registry has come to. `mount_from` are
    repositories of the same registry that may have layers.

    Raises:
        NotFound: there is no such image in the local store.
        TooLarge: the registry is known not to take one of the layers.
        WorldError: a weight file has changed since the build, or the registry refuses or cannot be reached.
    """
    ref = _reference(ref)
    store = store or LocalStore(default_home())
    with store.session(), Registry(_remembering(settings, store), progress) as registry:
        root, target = find_local(store, ref), _reference(target or ref)
        repositories = mount_repositories(mount_from, target)
        publish_image(registry, store.content, root, target, mount_from=repositories)
    return root


def pull(
    ref: str | Reference,
    output: str | PathLike[str] | None = None,
    *,
    include: Sequence[str] = (),
    platform: str | Platform | None = None,
    remote: bool = False,
    store: LocalStore | None = None,
    settings: ClientSettings = _DEFAULTS,
    progress: Progress = SILENT,
) -> PulledFiles | PulledImage:
    """Put the model's files of an image, verified, into the folder `output`, which must not exist or be empty; without
    one, keep the image in the local store under its name, with its signatures and attestations.

    Files come by parallel ranges, and a pull that ended early, even by kill -9, goes on where it was. Layers that the
    local store has are copied from there.

    Args:
        ref: a reference; for a folder also `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
        include: for a folder, only files that fit one of these patterns, such as `*.json`; `*` takes slashes, too.
        platform: for a folder, of an image for several platforms take this one; models are the same in all of them.
        remote: for a folder, bring all of it from the registry, whatever the local store has.
        store: by default the user's own, as for the command.

    Raises:
        UsageError: `output` has something in it, or an option makes no sense.
        NotFound: there is no such image, or no pattern fits a file.
        InvalidContent: what came is not what was promised; `output` is as it was.
        WorldError: the registry refuses or cannot be reached, or the disk fails.
    """
    location = parse_location(ref) if isinstance(ref, str) else ref
    if output is not None:
        request = FilesRequest(
            ref=location,
            folder=Path(output),
            include=tuple(include),
            platform=_platform(platform) if platform is not None else None,
            remote=remote,
        )
        return pull_model(request, settings, Watched(progress), store)
    if include or platform is not None:
        raise UsageError("the local store takes a whole image", hint="`include` and `platform` go with `output`")
    if not isinstance(location, Reference):
        raise UsageError(f"{location} has no name to keep it under in the local store", hint="name an `output` folder")
    return pull_image(location, store or LocalStore(default_home()), settings, Watched(progress))


def _signer(key: str | PathLike[str] | None, signatory: Signatory | None) -> Signer | None:
    if key is not None and signatory is not None:
        raise UsageError("either a key signs or a signatory does", hint="give one of the two")
    if key is not None:
        from modelcar.signing.keys.load import load_signing_key
        from modelcar.signing.signatory import KeySignatory

        signatory = KeySignatory(load_signing_key(fspath(key), _password))
    chosen = signatory
    return Signer(signatory=lambda: chosen) if chosen is not None else None


def _password() -> bytes:
    password = os.environ.get(_PASSWORD)
    if password is None:
        raise UsageError("the key has a password", hint=f"set {_PASSWORD}")
    return os.fsencode(password)


def _remembering(settings: ClientSettings, store: LocalStore) -> ClientSettings:
    """An upload that was killed goes on, and what registries take is tried out once."""
    return replace(settings, state=settings.state or store.registries)


def _packing(packing: str | Packing) -> Packing:
    try:
        return Packing(packing)
    except ValueError:
        raise UsageError(f"{packing!r} is not a way to pack layers", hint=f"one of {', '.join(Packing)}") from None


def _platform(platform: str | Platform) -> Platform:
    return Platform.parse(platform) if isinstance(platform, str) else platform


def _reference(ref: str | Reference) -> Reference:
    return Reference.parse(ref) if isinstance(ref, str) else ref
