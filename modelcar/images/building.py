"""Checkpoint to image in one go: hashed and scanned, signed, named, pushed. What `modelcar build` and `modelcar.build`
do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelcar.checkpoint import Checkpoint
from modelcar.errors import UsageError
from modelcar.images.adapters import Adapter, AdapterRequest, note_base, prepare_adapter
from modelcar.images.bases import OWN_BASES, choose_bases, own_bases, planned_bases
from modelcar.images.gate import Upload
from modelcar.images.local import new_name
from modelcar.images.object_cache import bringing
from modelcar.images.passing import RepositoryTarget, spool_for
from modelcar.images.publish import mount_repositories, publish_image
from modelcar.images.scanned import BuildScan, scanning
from modelcar.images.sources import ALL, Wishes, open_wanted
from modelcar.images.watching import UNWATCHED, Watcher
from modelcar.oci import Digest, Platform, Reference
from modelcar.packaging.base import Base
from modelcar.packaging.build import BuiltImage, build_image
from modelcar.packaging.outline import Outline, outline_image
from modelcar.packaging.passing import Passing
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, Packing
from modelcar.packaging.streams import Begin
from modelcar.progress import Progress
from modelcar.registry import ClientSettings, Registry
from modelcar.registry.tally import Moved
from modelcar.scanning.report import Report
from modelcar.signing.places import LayoutPlace
from modelcar.store import LocalStore

if TYPE_CHECKING:  # `build` starts without what only those who sign need
    from modelcar.signing.signatory import Signatory

__all__ = ["BuildRequest", "Built", "Signer", "build_model", "outline_model"]

_DEFAULTS: Final = ClientSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Who signs what is built.

    Attributes:
        signatory: asked when there is something to sign: the certificate of an identity is valid for minutes, and
            hashing may take longer. A key is better opened before: it may ask for a password.
        legacy: also write cosign's older form, which an identity's signature has not.
    """

    signatory: Callable[[], Signatory]
    legacy: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What to build, and what to do with it.

    Attributes:
        source: what people type, or what `open_checkpoint` returned.
        ref: the name, with a tag.
        base: `holder`, `scratch`, or an image: a reference, `oci:DIR[:TAG]` or `oci-archive:FILE[:TAG]`.
        platforms: by default those that there are of linux/amd64 and linux/arm64.
        max_layers: the most that the image may have.
        content_digests: also record the digest of every weight file, which costs one more hash of its bytes.
        wishes: which files of a source elsewhere are wanted.
        scan: look for what does harm beside it.
        push: and push it when it is built.
        keep: weights from elsewhere stay in a cache; without, they go through to the registry.
        adapter_of: the image that this is an adapter of.
        with_base: the image has that one's layers, too, so that it serves both.
        adapter_name: the adapter's files lie in `adapters/NAME/`; with the base that is the repository's last part.
        mount_from: repositories of the same registry that may have layers, besides the base's.
    """

    source: str | Checkpoint
    ref: Reference
    base: str = "holder"
    platforms: tuple[Platform, ...] = ()
    max_layers: int = DEFAULT_MAX_LAYERS
    packing: Packing = Packing.TAR
    content_digests: bool = False
    wishes: Wishes = ALL
    scan: bool = True
    push: bool = False
    keep: bool = True
    signer: Signer | None = None
    adapter_of: Reference | None = None
    with_base: bool = False
    adapter_name: str | None = None
    mount_from: tuple[str, ...] = ()

    @property
    def subject(self) -> str | None:
        """What people call the source."""
        return self.source if isinstance(self.source, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of it: `report` of the scan, `signatory` who signed, `moved` what a push sent."""

    name: str
    image: BuiltImage
    report: Report | None
    signatory: Signatory | None
    moved: Moved | None

    @property
    def digest(self) -> Digest:
        """The image's."""
        return self.image.index.digest


def build_model(
    request: BuildRequest, store: LocalStore, settings: ClientSettings = _DEFAULTS, watcher: Watcher = UNWATCHED
) -> Built:
    """Build an image into `store`, under its name, and push it if that is wanted.

    Raises:
        UsageError: the source cannot be packaged, or the request makes no sense.
        Denied: the scan found what must not be shipped; nothing was named, signed or tagged.
        WorldError: a file changed meanwhile, a disk or registry failed.
    """
    name = _check(request)
    own = own_bases(request.base, request.platforms) if request.base in OWN_BASES else []  # costs nothing, may fail
    with ExitStack() as stack:
        stack.enter_context(store.session())  # before anything is brought that a collection could take for left over
        spool = _spool(request, store, stack)
        checkpoint = _open(request, spool, watcher)
        stack.enter_context(bringing(checkpoint, store.home))
        bases = own or _foreign_bases(request, store, settings, watcher)
        adapter = _adapter(request, checkpoint, store, settings)
        with scanning(checkpoint, request.subject, scan=request.scan) as scan:
            work = _Work(request, checkpoint, store, bases, adapter, scan)
            built = work.pushed(settings, watcher, spool) if request.push else work.local(watcher)
        if request.base in OWN_BASES and not adapter.folder:  # or it is not all of the image, or it lies elsewhere
            scan.remember(built.digest, name)
    return built


def outline_model(
    request: BuildRequest,
    store: LocalStore | None,
    settings: ClientSettings = _DEFAULTS,
    watcher: Watcher = UNWATCHED,
) -> Outline:
    """What `build_model` would build. No weight is read, nothing is brought, and nothing is written.

    Args:
        store: where the base of an adapter is looked for before its registry is asked, if there is one.

    Raises:
        UsageError: as `build_model`.
        WorldError: a registry refuses or cannot be reached.
    """
    _check(request)
    checkpoint = _open(request, None, watcher)
    with Registry(settings) as registry:
        bases = planned_bases(request.base, request.platforms, registry)
        adapter = prepare_adapter(_adapter_request(request), checkpoint, store, registry)
    return outline_image(
        checkpoint,
        bases,
        max_layers=request.max_layers,
        packing=request.packing,
        annotations=adapter.annotations,
        beneath=adapter.beneath,
        folder=adapter.folder,
    )


def _check(request: BuildRequest) -> str:
    """The image's name. Raises `UsageError` for a request that makes no sense, whatever the source is."""
    if not request.keep and not request.push:
        raise UsageError("--no-cache keeps no weights here", hint="add --push, so that they are somewhere")
    mount_repositories(request.mount_from, request.ref)
    return new_name(request.ref)


def _spool(request: BuildRequest, store: LocalStore, stack: ExitStack) -> Path | None:
    if request.keep:
        return None
    if request.subject is None:
        raise UsageError("an open checkpoint has its cache already", hint="name the source, so that it needs none")
    return stack.enter_context(spool_for(store.spool, request.subject))


def _open(request: BuildRequest, spool: Path | None, watcher: Watcher) -> Checkpoint:
    if isinstance(request.source, Checkpoint):
        return request.source
    checkpoint = open_wanted(request.source, request.wishes, spool=spool)
    for note in checkpoint.facts().notes:
        watcher.note(note)
    return checkpoint


def _foreign_bases(
    request: BuildRequest, store: LocalStore, settings: ClientSettings, watcher: Watcher
) -> Sequence[Base]:
    with watcher.phase("base") as report, Registry(settings, report) as registry:
        return choose_bases(request.base, request.platforms, store, registry)


def _adapter(request: BuildRequest, checkpoint: Checkpoint, store: LocalStore, settings: ClientSettings) -> Adapter:
    with Registry(settings) as registry:
        adapter = prepare_adapter(_adapter_request(request), checkpoint, store, registry)
    note_base(adapter, request.adapter_of, store)
    return adapter


def _adapter_request(request: BuildRequest) -> AdapterRequest:
    return AdapterRequest(
        base=request.adapter_of,
        with_base=request.with_base,
        name=request.adapter_name,
        default_name=request.ref.repository.rpartition("/")[2],
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """One build, once everything that it needs is at hand."""

    request: BuildRequest
    checkpoint: Checkpoint
    store: LocalStore
    bases: Sequence[Base]
    adapter: Adapter
    scan: BuildScan

    def local(self, watcher: Watcher) -> Built:
        with watcher.phase("hash") as report:
            image = self._build(progress=report, upload=self.scan.watch)
        return self._finished(image)

    def pushed(self, settings: ClientSettings, watcher: Watcher, spool: Path | None) -> Built:
        """Layers are on their way while they are hashed, or as soon as their digest is known; the tag comes when all is
        there."""
        ref, scan = self.request.ref, self.scan
        mount_from = mount_repositories(self.request.mount_from, ref)

        def check(outline: Outline) -> None:
            registry.require(ref, {layer.label: layer.size for layer in outline.layers}, outline.manifests)

        with watcher.phase("build") as report, Registry(settings, report) as registry:
            with registry.uploading(ref, mount_from=mount_from) as upload:
                target = RepositoryTarget(registry, ref)
                image = self._build(
                    progress=report,
                    upload=scan.hold(upload),
                    streaming=scan.stream(upload),
                    passing=Passing(target=target, spool=spool) if spool is not None else None,
                    expected=check,
                )
            built = self._finished(image)
            publish_image(registry, self.store.content, image.index, ref, mount_from=mount_from)
            return replace(built, moved=registry.moved)

    def _build(
        self,
        *,
        progress: Progress,
        upload: Upload | None,
        streaming: Begin | None = None,
        passing: Passing | None = None,
        expected: Callable[[Outline], None] = lambda _: None,
    ) -> BuiltImage:
        """The image, which the scan has nothing against."""
        request, adapter = self.request, self.adapter
        image = build_image(
            self.checkpoint,
            self.store,
            self.bases,
            max_layers=request.max_layers,
            packing=request.packing,
            content_digests=request.content_digests,
            annotations=adapter.annotations,
            beneath=adapter.beneath,
            folder=adapter.folder,
            progress=progress,
            upload=upload,
            streaming=streaming,
            passing=passing,
            arrived=self.scan.look,
            expected=expected,
        )
        self.scan.require()
        return image

    def _finished(self, image: BuiltImage) -> Built:
        """Name the image in the store and sign it there."""
        name = new_name(self.request.ref)
        self.store.names.put(name, image.index)
        signatory = _sign(self.request, self.store, image)
        return Built(name=name, image=image, report=self.scan.report, signatory=signatory, moved=None)


def _sign(request: BuildRequest, store: LocalStore, image: BuiltImage) -> Signatory | None:
    if request.signer is None:
        return None
    from modelcar.signing.sign import BOTH, Format, sign_image

    signatory = request.signer.signatory()
    formats = BOTH if request.signer.legacy else (Format.BUNDLE,)
    place = LayoutPlace(store.content, request.ref.name)
    sign_image(place, image.index, signatory, formats=formats, created=datetime.now(UTC))
    return signatory
