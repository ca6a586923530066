"""Writing blobs: mounted where possible, else in one request, else in pieces; continued where a connection was cut.

Nothing is visible in the registry before the closing request, whose digest the registry checks. A session that is given
up is deleted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol
from urllib.parse import quote

from modelcar.errors import DigestMismatch, InvalidDigest, ProtocolViolation, RegistryError, Unreachable
from modelcar.layers.bytemap import ByteMap, FileSlice
from modelcar.oci import Descriptor, Digest
from modelcar.registry.cancel import detached
from modelcar.registry.problems import no_answer, retry_after
from modelcar.registry.session import RETRIED, Call, Remote, Session, backoff
from modelcar.registry.transport import Answer, Broken

__all__ = ["BlobSource", "Upload", "map_source"]

_PIECE = 8 << 20  # how much goes to the kernel at once, so that progress moves and cancelling is noticed
_FALLBACK_CHUNK = 32 << 20
_SMALLEST_CHUNK = 1 << 20
_GHCR_CHUNK = 4 << 20
_MAX_WAIT = 120.0
_STORED: Final = frozenset({200, 201, 204})  # 201 by the specification; Artifactory answers 200 and 204
_TAKEN: Final = frozenset({200, 201, 202, 204})
_UNLIKED: Final = frozenset({400, 405, 411, 413, 501})  # what registries say that want pieces instead of one request
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")


class BlobSource(Protocol):
    """Where a blob's bytes come from: any range of them, any number of times."""

    def __call__(self, offset: int, length: int) -> Iterator[bytes | FileSlice]: ...


def map_source(source: ByteMap) -> BlobSource:
    """The pieces of a byte map."""

    def pieces(offset: int, length: int) -> Iterator[bytes | FileSlice]:
        with source.open(offset, length) as reader:
            for piece in reader.slices():
                if isinstance(piece, FileSlice):
                    for start in range(0, piece.size, _PIECE):
                        yield replace(piece, offset=piece.offset + start, size=min(_PIECE, piece.size - start))
                else:
                    yield piece

    return pieces


class _Rejected(Exception):
    """A request of the upload failed; `status` is `None` where there was no answer."""

    def __init__(self, error: Exception, status: int | None = None, wait: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status
        self.wait = wait

    @property
    def codes(self) -> tuple[str, ...]:
        return self.error.codes if isinstance(self.error, RegistryError) else ()


class Upload:
    """One blob on its way to one repository."""

    def __init__(
        self,
        session: Session,
        remote: Remote,
        descriptor: Descriptor,
        source: BlobSource,
        advance: Callable[[int], None],
    ) -> None:
        self._session, self._remote, self._descriptor = session, remote, descriptor
        self._source, self._advance = source, advance
        self._what = f"uploading {descriptor.digest.algorithm}:{descriptor.digest.short} to {remote.repository}"
        self._chunk = session.settings.chunk_size  # None: everything in one request
        self._location: str | None = None
        self._least = 0  # the registry's smallest chunk
        self._offset = 0  # bytes the registry is known to have
        self._reported = 0  # bytes that progress has been told about
        self._resumed = False

    def run(self, mount_from: Sequence[str] = ()) -> str:
        """Upload, and return how: "exists", "mounted", or "" if the bytes were moved."""
        if self._exists():
            return "exists"
        try:
            if self._mount(mount_from):
                return "mounted"
            if self._location is None:
                self._begin()
            self._transfer()
        except BaseException as e:
            if not isinstance(e, Unreachable):
                self._abandon()
            raise
        return ""

    def _exists(self) -> bool:
        """A blob of another size is a damaged one: upload it again."""
        call = self._call("HEAD", self._remote.url(f"blobs/{self._descriptor.digest}"), frozenset({200, 404}))
        answer = self._session.call(self._remote, call)
        answer.discard()
        return answer.status == 200 and answer.length in (None, self._descriptor.size)

    def _mount(self, repositories: Sequence[str]) -> bool:
        for repository in repositories:
            if repository == self._remote.repository:
                continue
            self._abandon()
            query = f"?mount={quote(str(self._descriptor.digest))}&from={quote(repository)}"
            call = self._call("POST", self._remote.url("blobs/uploads/") + query, frozenset({201, 202}))
            try:
                answer = self._session.call(self._remote.also(f"repository:{repository}:pull"), call)
            except Unreachable:
                raise
            except RegistryError:
                continue  # not allowed to read there, or no mounting here: the bytes will do
            answer.discard()
            if answer.status == 201:
                return True
            self._follow(answer)
        return False

    def _begin(self) -> None:
        call = self._call("POST", self._remote.url("blobs/uploads/"), frozenset({202}))
        answer = self._session.call(self._remote, call)
        answer.discard()
        self._offset, self._resumed = 0, False
        self._report(0)
        self._follow(answer)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        self._least = int(least) if least.isascii() and least.isdigit() else 0

    def _transfer(self) -> None:
        """Try until the registry has the blob."""
        failures = furthest = 0
        while True:
            try:
                if self._chunk is None and self._offset == 0:
                    self._put(0, self._descriptor.size)
                    return
                if self._patch():
                    self._put(self._descriptor.size, 0)
                    return
            except _Rejected as rejected:
                failures += 1
                if self._offset > furthest:
                    furthest, failures = self._offset, 1
                if failures >= self._session.settings.attempts or rejected.wait > _MAX_WAIT:
                    raise rejected.error from None
                if not self._recover(rejected, failures):
                    raise rejected.error from None
                if self._offset > furthest:
                    furthest, failures = self._offset, 0

    def _recover(self, rejected: _Rejected, failures: int) -> bool:
        """Prepare another try that may go better; `False` if there is none."""
        status, chunked = rejected.status, self._chunk is not None
        if status is None or status in RETRIED:
            if failures > 1 and status is not None and not chunked:
                self._chunk = _FALLBACK_CHUNK  # Docker Hub answers large single requests with 504
            self._session.pause(max(backoff(failures), rejected.wait))
            if not self._resume():
                self._restart()
        elif status == 416:
            before = self._offset
            if not self._resume():
                self._restart()
            if self._offset <= before:
                self._chunk = min(self._chunk or _GHCR_CHUNK, _GHCR_CHUNK)
        elif status == 404 or (self._resumed and "DIGEST_INVALID" in rejected.codes):
            self._restart()  # the session is gone, or what it kept of us was damaged
        elif status == 413 and self._chunk is not None and self._chunk > max(_SMALLEST_CHUNK, self._least):
            self._chunk = max(_SMALLEST_CHUNK, self._least, self._chunk // 8)
            self._restart()
        elif status in _UNLIKED and not chunked and self._descriptor.size and not set(rejected.codes) & _FINAL_CODES:
            self._chunk = _FALLBACK_CHUNK
            self._restart()
        else:
            return False
        return True

    def _put(self, offset: int, length: int) -> None:
        """The closing request, with the last `length` bytes: all of them, or none."""
        location = self._location or ""
        url = f"{location}{'&' if '?' in location else '?'}digest={quote(str(self._descriptor.digest))}"
        answer = self._send("PUT", url, offset, length, _STORED)
        stated = answer.headers.get("Docker-Content-Digest")
        self._location = None
        try:
            if stated and Digest.parse(stated).algorithm != self._descriptor.digest.algorithm:
                stated = None
        except InvalidDigest:
            stated = "something that is no digest"
        if stated and stated != str(self._descriptor.digest):
            raise DigestMismatch(f"{self._remote.registry}: {self._what}: the registry stored it as {stated}")

    def _patch(self) -> bool:
        """Send what the session does not have yet; `False` if the registry takes no pieces after all."""
        size = self._descriptor.size
        while self._offset < size:
            start = self._offset
            rest = size - start
            length = rest if self._chunk is None else min(rest, max(self._chunk, self._least))
            headers = {"Content-Range": f"{start}-{start + length - 1}"}
            answer = self._send("PATCH", self._location or "", start, length, _TAKEN, headers)
            if answer.status == 201:
                self._chunk = None  # ECR's way to say so
                self._restart()
                return False
            self._follow(answer, optional=True)
            kept = _kept(answer)
            if kept is not None and not start <= kept <= start + length:
                raise ProtocolViolation(f"{self._remote.registry}: {self._what}: it counts other bytes than were sent")
            self._offset = start + length if kept is None else kept
            self._report(self._offset)
            if self._offset == start:
                raise _Rejected(
                    ProtocolViolation(f"{self._remote.registry}: {self._what}: it keeps nothing of a piece")
                )
        return True

    def _resume(self) -> bool:
        """Ask the session how far it has come, and go on from there."""
        if self._location is None:
            return False
        try:
            answer = self._session.call(
                self._remote, self._call("GET", self._location, frozenset({200, 202, 204}), attempts=2)
            )
        except RegistryError:
            return False
        answer.discard()
        kept = _kept(answer)
        if kept is None or kept <= 1 or kept > self._descriptor.size:
            return False  # "0-0" means one byte or none
        self._follow(answer, optional=True)
        self._offset, self._resumed = kept, True
        self._report(kept)
        return True

    def _restart(self) -> None:
        self._abandon()
        self._begin()

    def _abandon(self) -> None:
        """Delete the session, if there is one, so that the registry need not keep its bytes. Never raises."""
        location, self._location = self._location, None
        if location is None:
            return
        with detached():
            try:
                call = self._call("DELETE", location, _TAKEN, attempts=1, patience=5.0)
                self._session.once(self._remote, call).close()
            except (Broken, RegistryError):
                pass

    def _send(
        self,
        method: str,
        url: str,
        offset: int,
        length: int,
        expect: frozenset[int],
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request with bytes of the blob, tried once."""
        call = Call(
            method=method,
            url=url,
            what=self._what,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(length), **(headers or {})},
            body=(lambda: self._pieces(offset, length)) if length else None,
            expect=expect,
            patience=self._session.settings.commit_timeout,
        )
        try:
            answer = self._session.once(self._remote, call)
        except Broken as e:
            self._session.check_cancelled()
            raise _Rejected(no_answer(e, self._remote.registry, self._what)) from None
        if answer.status not in expect:
            wait = retry_after(answer) or 0.0
            raise _Rejected(self._session.refusal(answer, self._remote, self._what), answer.status, wait)
        answer.discard()
        return answer

    def _pieces(self, offset: int, length: int) -> Iterator[bytes | FileSlice]:
        """The body of a request; progress follows what the kernel has taken."""
        self._report(offset)
        for piece in self._source(offset, length):
            yield piece
            offset += piece.size if isinstance(piece, FileSlice) else len(piece)
            self._report(offset)

    def _report(self, offset: int) -> None:
        if offset != self._reported:
            self._advance(offset - self._reported)
            self._reported = offset

    def _follow(self, answer: Answer, *, optional: bool = False) -> None:
        """Where the session goes on; every answer may name another place."""
        location = answer.headers.get("Location")
        if location:
            self._location = self._session.resolve_url(answer.url, location, self._remote, self._what)
        elif not optional:
            raise ProtocolViolation(f"{self._remote.registry}: {self._what}: the registry opened no upload session")

    def _call(
        self,
        method: str,
        url: str,
        expect: frozenset[int],
        *,
        attempts: int | None = None,
        patience: float | None = None,
    ) -> Call:
        return Call(
            method=method,
            url=url,
            what=self._what,
            expect=expect,
            redirects=method == "HEAD",
            attempts=attempts,
            patience=patience,
        )


_FINAL_CODES = frozenset({"DIGEST_INVALID", "SIZE_INVALID", "NAME_INVALID", "UNAUTHORIZED", "DENIED"})


def _kept(answer: Answer) -> int | None:
    """How many bytes a session has, by the `Range` header of its answer."""
    match = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
    return int(match[1]) + 1 if match else None
