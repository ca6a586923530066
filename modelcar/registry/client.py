"""`Registry`: everything that one can do with remote images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

from modelcar.errors import DigestMismatch, ProtocolViolation, SizeMismatch, SourceChanged, UsageError
from modelcar.layers.bytemap import ByteMap, FileSlice
from modelcar.oci import Descriptor, Digest, Index, Manifest, Reference, parse_manifest
from modelcar.progress import SILENT, Progress
from modelcar.registry.cancel import JobGroup, run_parallel
from modelcar.registry.credentials import Login
from modelcar.registry.documents import Documents
from modelcar.registry.download import BLOCK, BlobStream
from modelcar.registry.earlier_pushes import earlier_sizes
from modelcar.registry.preflight import Preflight
from modelcar.registry.referrers import Referrers
from modelcar.registry.session import Call, Session
from modelcar.registry.settings import ClientSettings
from modelcar.registry.tally import Moved
from modelcar.registry.tree import Tree, collect
from modelcar.registry.upload import BlobSource, fingerprint, map_source
from modelcar.registry.uploader import Uploader, Uploading
from modelcar.store.base import Store, Writer, read_document, write_document

__all__ = ["Registry"]

_DEFAULTS = ClientSettings()


class Registry:
    """A client of any number of registries. A context manager; safe to share between threads.

    >>> with Registry() as registry:                                         # doctest: +SKIP
    ...     registry.pull(Reference.parse("ghcr.io/org/model:v1"), store)

    Every method raises a `RegistryError` where the registry refuses or cannot be reached, and an `InvalidContent` where
    what it returns is not what was promised.
    """

    def __init__(
        self,
        settings: ClientSettings = _DEFAULTS,
        progress: Progress = SILENT,
        *,
        sleep: Callable[[float], None] | None = None,
        session: Session | None = None,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._session = session or Session(settings, sleep)
        self._documents = Documents(self._session)
        self._referrers = Referrers(self._session, self._documents)
        self._uploader = Uploader(self._session, progress)

    def acting_as(self, authorization: str) -> Registry:
        """This client for somebody else: requests carry that `Authorization` header as it is, and their challenges are
        not answered. With `""`, for anybody: no login is used. Connections are shared and stay this client's to close.
        """
        return Registry(self._settings, self._progress, session=self._session.acting_as(authorization))

    def logged_in_as(self, login: Login | None) -> Registry:
        """This client with another account, whatever is asked for; with `None` nobody's. Connections are shared and
        stay this client's to close."""
        return Registry(self._settings, self._progress, session=self._session.logged_in_as(login))

    def resolve(self, ref: Reference) -> Descriptor:
        """What `ref` points to at the moment."""
        return self._documents.resolve(ref)

    def manifest(self, ref: Reference, descriptor: Descriptor | None = None) -> Manifest | Index:
        """The manifest that `ref`, or `descriptor` in its repository, names; verified, at most 4 MiB."""
        return self._documents.manifest(ref, descriptor)

    def challenge(self, ref: Reference) -> str | None:
        """What the registry wants to know of who asks (`WWW-Authenticate`), before any credentials; `None`: nothing."""
        return self._session.challenge(self._session.remote(ref))

    def document(self, ref: Reference) -> tuple[Descriptor, bytes]:
        """The bytes of a manifest, verified but not parsed, so of any kind; at most 4 MiB. Its media type is what the
        registry says (`""` where it says nothing)."""
        return self._documents.fetch(ref)

    def tags(self, ref: Reference) -> Iterator[str]:
        """All tags of the repository."""
        return self._documents.tags(ref)

    def blob_size(self, ref: Reference, digest: Digest) -> int | None:
        """The size of a blob in bytes; `None` if the repository has no such blob."""
        remote = self._session.remote(ref)
        what = f"looking for {digest.algorithm}:{digest.short} in {ref.repository}"
        call = Call(
            method="HEAD", url=remote.url(f"blobs/{digest}"), what=what, redirects=True, expect=frozenset({200, 404})
        )
        answer = self._session.call(remote, call)
        answer.discard()
        if answer.status == 404:
            return None
        if answer.length is None:
            raise ProtocolViolation(f"{ref.registry}: {what}: it does not say how large the blob is", status=200)
        return answer.length

    def has_blob(self, ref: Reference, digest: Digest, size: int) -> bool:
        """Whether the repository has this blob; if so, a `push` afterwards does not look at it again."""
        there = self.blob_size(ref, digest) == size
        if there:
            self._uploader.note_there(ref, digest)
        return there

    def open_blob(
        self, ref: Reference, descriptor: Descriptor, offset: int = 0, length: int | None = None, *, exact: bool = False
    ) -> BlobStream:
        """A stream of a blob, verified if it is read whole, or of a range of it: see `BlobStream`."""
        remote = self._session.remote(ref)
        return BlobStream(self._session, remote, descriptor, offset=offset, length=length, exact=exact)

    def fetch_blob(self, ref: Reference, descriptor: Descriptor, writer: Writer) -> None:
        """Write a blob, verified, to `writer`, which the caller commits."""
        self._fetch(ref, descriptor, writer, verify=True)

    def upload_blob(
        self, ref: Reference, descriptor: Descriptor, source: ByteMap, *, mount_from: Sequence[str] = ()
    ) -> None:
        """Make sure that the repository has this blob. `mount_from`: repositories of this registry that may have it."""
        if source.size != descriptor.size:
            raise SizeMismatch(f"{descriptor.digest} has {source.size} bytes where {descriptor.size} were promised")
        content = fingerprint(source)
        self._uploader.upload(ref, descriptor, map_source(source), content=content, mount_from=mount_from)

    @contextmanager
    def uploading(self, ref: Reference, *, mount_from: Sequence[str] = ()) -> Iterator[Uploading]:
        """Upload blobs while others are still being made, or while they are hashed themselves. `mount_from`:
        repositories of this registry that may have them.

        What is yielded takes them, from any thread, and raises where an upload before has failed. Leaving the block
        waits for all; a `push` afterwards does not look at them again.
        """
        self._uploader.meet(ref)
        with JobGroup(self._settings.concurrency) as group:
            earlier = partial(self._earlier_sizes, ref, mount_from)
            yield Uploading(self._uploader, ref, group, self._progress, earlier, mount_from)

    def preflight(
        self, ref: Reference, layers: Mapping[str, int], manifests: Mapping[str, int] | None = None
    ) -> Preflight:
        """What is known of pushing these layers and manifests (label to bytes) there; asks nobody."""
        return self._uploader.preflight(ref, layers, manifests)

    def require(self, ref: Reference, layers: Mapping[str, int], manifests: Mapping[str, int]) -> None:
        """Hold all that is to be sent against what is known of the registry, which is asked who it is.

        Raises:
            TooLarge: it will not take a layer or a manifest.
        """
        self._uploader.meet(ref)
        self._uploader.preflight(ref, layers, manifests).require()

    @property
    def moved(self) -> Moved:
        """How many bytes of blobs this client has uploaded, or had not to."""
        return self._uploader.tally.moved

    def put_manifest(self, ref: Reference, content: bytes, media_type: str) -> Digest:
        """Write a manifest under the reference's tag, or its digest; if it has a subject, it becomes its referrer."""
        document = parse_manifest(content, media_type)
        answer = self._documents.put(ref, content, media_type)
        if document.subject is not None and "OCI-Subject" not in answer.headers:
            self._referrers.register(ref, document)
        return document.digest

    def delete_manifest(self, ref: Reference) -> None:
        """Delete what `ref` names: a tag, or a manifest by digest with all its tags."""
        self._documents.delete(ref)

    def referrers(self, ref: Reference, digest: Digest, artifact_type: str | None = None) -> Index:
        """Manifests in this repository whose subject is `digest`; an empty index if there are none."""
        return self._referrers.find(ref, digest, artifact_type)

    def push(
        self, store: Store, descriptor: Descriptor, ref: Reference, *, mount_from: Sequence[str] = ()
    ) -> Descriptor:
        """Upload an image, or an index with all its images, from `store`.

        Every source is checked before the first byte leaves; the reference points to the image only once all of it is
        there.

        Raises:
            TooLarge: the registry is known not to take one of the layers; nothing is sent.
        """
        _check_target(ref, descriptor)

        def read(child: Descriptor) -> Manifest | Index:
            return parse_manifest(read_document(store, child), child.media_type)

        tree = collect(read(descriptor), descriptor.digest, read)
        missing = [blob for digest, blob in tree.blobs.items() if not self._uploader.has_sent(ref, digest)]
        sources = {blob.digest: _checked(store, blob) for blob in missing}
        self._require(ref, missing, tree)
        self._progress.expect(sum(blob.size for blob in missing))
        jobs = [partial(self.upload_blob, ref, blob, sources[blob.digest], mount_from=mount_from) for blob in missing]
        run_parallel(jobs, self._settings.concurrency)
        self._publish(tree, ref)
        return descriptor

    def pull(
        self, ref: Reference, store: Store, *, bring: Callable[[Descriptor], bool] = lambda _: False
    ) -> Descriptor:
        """Download an image, or an index with all its images, into `store`; manifests only after what they list.

        `bring` is asked first for each blob that is not there: whether it has put it into `store`, verified.
        """
        root = self.manifest(ref)
        tree = collect(root, ref.digest or root.digest, lambda child: self.manifest(ref, child))
        self._expect(tree)
        run_parallel(
            [partial(self._pull_blob, ref, blob, store, bring) for blob in tree.blobs.values()],
            self._settings.concurrency,
        )
        for digest, document in tree.documents:
            write_document(store, document.content, digest)
        return root.descriptor

    def copy(self, source: Reference, target: Reference) -> Descriptor:
        """Copy an image, or an index with all its images, between repositories without a copy on this machine."""
        root = self.manifest(source)
        _check_target(target, root.descriptor)
        tree = collect(root, source.digest or root.digest, lambda child: self.manifest(source, child))
        mount_from = [source.repository] if source.registry == target.registry else []
        if not mount_from:
            self._require(target, tree.blobs.values(), tree)
        self._expect(tree)
        upload = partial(self._uploader.upload, target, mount_from=mount_from)
        jobs = [partial(upload, blob, self._relay(source, blob)) for blob in tree.blobs.values()]
        run_parallel(jobs, self._settings.concurrency)
        self._publish(tree, target)
        return root.descriptor

    def copy_blob(
        self, source: Reference, target: Reference, blob: Descriptor, *, mount_from: Sequence[str] = ()
    ) -> None:
        """Make sure that the repository of `target` has a blob that the one of `source` has: by a mount within one
        registry, or else through this machine, where nothing of it stays. `mount_from`: repositories of the target's
        registry that may have it, too.

        Raises:
            NotFound: it is not there.
            InvalidContent: something else came.
            RegistryError: one of the two refuses or cannot be reached.
        """
        near = [source.repository] if source.registry == target.registry else []
        self._progress.expect(blob.size)
        self._uploader.upload(target, blob, self._relay(source, blob), mount_from=[*near, *mount_from])

    def close(self) -> None:
        self._session.close()

    def _earlier_sizes(self, ref: Reference, others: Sequence[str]) -> frozenset[int]:
        places = [ref, *(replace(ref, repository=name) for name in others)]
        return frozenset().union(*(earlier_sizes(self._documents, place) for place in places))

    def _expect(self, tree: Tree) -> None:
        self._progress.expect(sum(blob.size for blob in tree.blobs.values()))

    def _publish(self, tree: Tree, ref: Reference) -> None:
        """Write the manifests, children first; only the last of them gets the tag."""
        last, _ = tree.documents[-1]
        for digest, document in tree.documents:
            place = Reference(registry=ref.registry, repository=ref.repository, digest=digest)
            self.put_manifest(ref if digest == last else place, document.content, document.media_type)

    def _require(self, ref: Reference, blobs: Iterable[Descriptor], tree: Tree) -> None:
        manifests = {f"{digest.algorithm}:{digest.short}": len(document.content) for digest, document in tree.documents}
        self.require(ref, {_label(blob): blob.size for blob in blobs}, manifests)

    def _pull_blob(self, ref: Reference, blob: Descriptor, store: Store, bring: Callable[[Descriptor], bool]) -> None:
        key = str(blob.digest)
        if _is_usable(store, blob, ref):
            self._progress.start(key, _label(blob), blob.size)
            self._progress.finish(key, "exists")
            return
        if bring(blob):
            return
        with store.begin(blob.digest) as writer:
            self._fetch(ref, blob, writer, verify=False)  # the commit hashes what was written
            try:
                writer.commit(blob.digest)
            except DigestMismatch as e:
                raise DigestMismatch(f"{ref.registry}: downloading from {ref.repository}: {e}", hint=e.hint) from None

    def _fetch(self, ref: Reference, blob: Descriptor, writer: Writer, *, verify: bool) -> None:
        key = str(blob.digest)
        self._progress.start(key, _label(blob), blob.size)
        with BlobStream(self._session, self._session.remote(ref), blob, verify=verify) as stream:
            while data := stream.read(BLOCK):
                writer.write(data)
                self._progress.advance(key, len(data))
        self._progress.finish(key)

    def _relay(self, ref: Reference, blob: Descriptor) -> BlobSource:
        """A blob elsewhere, as something to upload."""

        def pieces(offset: int, length: int) -> Iterator[bytes | FileSlice]:
            with self.open_blob(ref, blob, offset, length) as stream:
                while data := stream.read(BLOCK):
                    yield data

        return pieces

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _checked(store: Store, blob: Descriptor) -> ByteMap:
    """The blob's byte map, known to be complete and unchanged since it was hashed."""
    source = store.map(blob.digest)
    if source.size != blob.size:
        raise SizeMismatch(f"{blob.digest} has {source.size} bytes where {blob.size} were promised")
    source.check()
    return source


def _is_usable(store: Store, blob: Descriptor, ref: Reference) -> bool:
    """Whether `store` has the blob. A recipe does not count if its files are gone or changed: that image is damaged."""
    if blob.digest not in store:
        return False
    content = store.map(blob.digest)
    if content.size != blob.size:
        raise SizeMismatch(f"{ref}: {blob.digest} has not the {blob.size} bytes that its manifest claims")
    try:
        content.check()
    except SourceChanged:
        return False
    return True


def _check_target(ref: Reference, descriptor: Descriptor) -> None:
    if ref.digest is not None and ref.digest != descriptor.digest:
        raise UsageError(f"{ref} names another image than {descriptor.digest}", hint="leave out the digest")


def _label(blob: Descriptor) -> str:
    return blob.annotations.get("org.opencontainers.image.title") or f"{blob.digest.algorithm}:{blob.digest.short}"
