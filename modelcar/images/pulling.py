"""Image to files, or to the local store: parallel ranges, verified, gone on with after a kill. What `modelcar pull` and
`modelcar.pull` do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.errors import NotFound, UsageError
from modelcar.images.described import DescribedModel, describe_image
from modelcar.images.file_pull import SourceChunks, pull_files
from modelcar.images.nearby import NearbySource, nearby_store
from modelcar.images.rank_pull import ChooseDownloads, RankPull, pull_ranks
from modelcar.images.reader import ModelReader
from modelcar.images.store_pull import ranged_blobs
from modelcar.images.watching import UNWATCHED, Watcher
from modelcar.lazy.download import Downloads, registry_downloads
from modelcar.oci import Descriptor, Digest, Manifest, Platform, Reference
from modelcar.packaging.fetch import LayoutSource, RangedSource, RegistrySource, bring_image, choose_manifest
from modelcar.packaging.labels import layer_labels
from modelcar.packaging.locations import Location, StoredLocation
from modelcar.packaging.unpack import Unpacked, unpack_model
from modelcar.ranks import RankPlan
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.carry import Carried, carry_attachments
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.store import LocalStore

__all__ = ["FilesRequest", "PulledFiles", "PulledImage", "PulledParts", "pull_image", "pull_model", "pull_parts"]

_DEFAULTS: Final = ClientSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRequest:
    """Which files of which model are wanted, and where.

    Attributes:
        ref: a reference, or an OCI layout or archive.
        folder: does not exist or is empty.
        include: patterns as the shell's, over the whole path; `*` matches `/`, too. None: all files.
        platform: of an image for several platforms, take this one; models are the same in all of them.
        remote: pass the local store over.
    """

    ref: Location
    folder: Path
    include: tuple[str, ...] = ()
    platform: Platform | None = None
    remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledFiles:
    """Files in a folder: how many, their bytes, and the image that they are of."""

    root: Descriptor
    files: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledParts:
    """What some ranks need, in a folder."""

    root: Descriptor
    plan: RankPlan
    model: DescribedModel
    pulled: RankPull


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """An image in the local store, and what is attached to it."""

    root: Descriptor
    carried: Carried


def pull_model(
    request: FilesRequest,
    settings: ClientSettings = _DEFAULTS,
    watcher: Watcher = UNWATCHED,
    store: LocalStore | None = None,
) -> PulledFiles:
    """Fill a folder with the model's files, all at once at the end.

    Layers that `store` has, by default the user's own if there is one, are copied from there.

    Raises:
        UsageError: the folder has something in it, or the image is not for that platform.
        NotFound: there is no such image, or no pattern fits a file.
        InvalidContent: what came is not what was promised; the folder is as it was.
        WorldError: the registry refuses or cannot be reached, or the disk fails; the next call goes on.
    """
    labels: dict[Digest, str] = {}
    with (
        nearby_store(store) as nearby,
        watcher.phase("pull", labels) as report,
        Registry(settings, report) as registry,
    ):
        source = _source(request, registry, nearby)
        root = source.resolve()
        manifest = choose_manifest(source, root, request.platform)
        labels.update(layer_labels(manifest, source.read))
        reader = _reader(source, manifest, required=bool(request.include))
        unpacked: Unpacked
        if reader is not None and (request.include or isinstance(request.ref, Reference)):
            with _downloads(source, request.ref, settings) as downloads:
                unpacked = pull_files(
                    reader,
                    downloads,
                    request.folder,
                    include=request.include,
                    workers=settings.concurrency,
                    progress=report,
                    here=source.has if isinstance(source, NearbySource) else lambda _: None,
                )
        else:
            unpacked = unpack_model(
                manifest, source.open_layer, request.folder, workers=settings.concurrency, progress=report
            )
    return PulledFiles(root=root, files=unpacked.files, size=unpacked.size)


def pull_parts(
    request: FilesRequest,
    plan_for: Callable[[DescribedModel], RankPlan],
    settings: ClientSettings = _DEFAULTS,
    watcher: Watcher = UNWATCHED,
    store: LocalStore | None = None,
) -> PulledParts:
    """Fill a folder with what the ranks of a plan have something of. `plan_for` makes the plan.

    Raises: as `pull_model`, and what `plan_for` raises.
    """
    labels: dict[Digest, str] = {}
    with (
        nearby_store(store) as nearby,
        watcher.phase("pull", labels) as report,
        Registry(settings, report) as registry,
    ):
        source = _source(request, registry, nearby)
        root = source.resolve()
        reader = ModelReader(source, root, request.platform)
        labels.update(layer_labels(reader.manifest, source.read))
        model = describe_image(reader)
        plan = plan_for(model)
        with _near_or_far(source, request.ref, settings) as downloads:
            pulled = pull_ranks(
                reader,
                downloads,
                plan,
                request.folder,
                name=str(request.ref),
                workers=settings.concurrency,
                progress=report,
            )
    return PulledParts(root=root, plan=plan, model=model, pulled=pulled)


def pull_image(
    ref: Reference, store: LocalStore, settings: ClientSettings = _DEFAULTS, watcher: Watcher = UNWATCHED
) -> PulledImage:
    """Bring an image into `store`, under its name, with its signatures and attestations.

    Raises:
        UsageError: it has no tag to be kept under.
        NotFound: there is no such image.
        InvalidContent: what came is not what was promised; nothing is named.
        WorldError: the registry refuses or cannot be reached, or the disk fails; the next call goes on.
    """
    if ref.tag is None:
        raise UsageError(f"{ref} has no name to keep it under in the local store", hint="add -o DIR to get its files")
    with store.session():
        with (
            watcher.phase("pull") as report,
            Registry(settings, report) as registry,
            registry_downloads(ref, settings) as downloads,
        ):
            source = RegistrySource(ref, registry)
            bring = ranged_blobs(source, source.resolve(), downloads, store.content, report)
            root = bring_image(ref, store, registry, bring=bring)
            carried = carry_attachments(RegistryPlace(registry, ref), LayoutPlace(store.content), root)
        store.names.put(f"{ref.name}:{ref.tag}", root)
    return PulledImage(root=root, carried=carried)


def _source(request: FilesRequest, registry: Registry, nearby: LocalStore | None) -> RangedSource:
    ref = request.ref
    if isinstance(ref, StoredLocation):
        return LayoutSource(ref)
    if nearby is None or request.remote:
        return RegistrySource(ref, registry)
    return NearbySource(ref, registry, nearby)


def _reader(source: RangedSource, manifest: Manifest, *, required: bool) -> ModelReader | None:
    """`None` for an image of which only whole layers can be verified."""
    try:
        return ModelReader(source, manifest.descriptor)
    except (NotFound, UsageError):
        if required:
            raise
        return None


@contextmanager
def _downloads(source: RangedSource, ref: Location, settings: ClientSettings) -> Iterator[Downloads]:
    if isinstance(ref, Reference):
        with registry_downloads(ref, settings) as downloads:
            yield downloads
    else:
        with Downloads(SourceChunks(source, str(ref))) as downloads:
            yield downloads


@contextmanager
def _near_or_far(source: RangedSource, ref: Location, settings: ClientSettings) -> Iterator[ChooseDownloads]:
    """What is on this machine comes from there."""
    with _downloads(source, ref, settings) as far, Downloads(SourceChunks(source, str(ref))) as near:
        yield lambda layer: near if isinstance(source, NearbySource) and source.has(layer) is not None else far
