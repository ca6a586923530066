"""Reading blobs: verified on the way, and continued after a cut connection where it was cut."""

from __future__ import annotations

import io
import re
from typing import Any

from modelcar.errors import DigestMismatch, ProtocolViolation, SizeMismatch
from modelcar.oci import Descriptor
from modelcar.registry.problems import no_answer
from modelcar.registry.session import BACKOFF, Call, Remote, Session
from modelcar.registry.transport import Answer, Broken

__all__ = ["BLOCK", "BlobStream"]

BLOCK = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_PROGRESS = 1 << 20  # bytes that make a new failure count as the first


class BlobStream(io.RawIOBase):
    """The bytes of a blob, or of a range of it, in order. A context manager; for one thread.

    A whole blob is verified: before its last bytes are returned, size and digest have been found to be as the
    descriptor promises. A range is not (only its length is), so whoever reads ranges has digests of their own.

    Args:
        exact: take no bytes but those that were asked for; else, of a registry that ignores ranges, what lies before
            them is read and dropped.

    Raises, on any read:
        DigestMismatch, SizeMismatch: the registry returned something else.
        RegistryError: the registry refuses, or the connection broke more often than the settings allow.
    """

    def __init__(
        self,
        session: Session,
        remote: Remote,
        descriptor: Descriptor,
        *,
        offset: int = 0,
        length: int | None = None,
        verify: bool = True,
        exact: bool = False,
    ) -> None:
        super().__init__()
        stop = descriptor.size if length is None else offset + length
        if not 0 <= offset <= stop <= descriptor.size:
            raise ValueError(f"range {offset}-{stop} is not within {descriptor.size} bytes")
        self.size = stop - offset
        self._session, self._remote, self._descriptor = session, remote, descriptor
        self._what = f"downloading {descriptor.digest.algorithm}:{descriptor.digest.short} from {remote.repository}"
        self._position, self._stop = offset, stop
        whole = self.size == descriptor.size
        self._hash = descriptor.digest.hasher() if verify and whole else None
        self._answer: Answer | None = None
        self._exact = exact
        self._failures, self._failed_at = 0, offset
        if self.size == 0:
            self._verify()
        else:
            self._open()

    @property
    def remaining(self) -> int:
        return self._stop - self._position

    def readable(self) -> bool:
        return True

    def read(self, n: int | None = -1, /) -> bytes:
        """Up to `n` bytes, fewer only before a cut or at the end; all that remain if `n` is negative."""
        if n is None or n < 0:
            return self.readall()
        return self._next(min(n, self.remaining)) if n and self.remaining else b""

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(BLOCK), b""))

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed and (answer := getattr(self, "_answer", None)) is not None:
            answer.close()
        super().close()

    def _next(self, want: int) -> bytes:
        while True:
            self._session.check_cancelled()
            try:
                if self._answer is None:
                    self._ask()
                data = self._answer.read(want) if self._answer else b""
                if not data:
                    raise Broken("the answer ended early")
            except Broken as e:
                self._lost(e)
                continue
            self._position += len(data)
            if (wait := self._session.throttle.take(len(data))) > 0:
                self._session.pause(wait)
            if self._hash is not None:
                self._hash.update(data)
            if self._position == self._stop:
                self._end()
            return data

    def _open(self) -> None:
        """Ask until the first byte that is wanted is the next to come."""
        while True:
            try:
                return self._ask()
            except Broken as e:
                self._lost(e)

    def _ask(self) -> None:
        """Open the connection that yields the bytes from the current position."""
        start, total = self._position, self._descriptor.size
        part = start > 0 or self._stop < total
        headers = {"Range": f"bytes={start}-{self._stop - 1}"} if part else {}
        call = Call(
            method="GET",
            url=self._remote.url(f"blobs/{self._descriptor.digest}"),
            what=self._what,
            headers=headers,
            redirects=True,
            expect=frozenset({200, 206, 416} if part else {200}),
        )
        answer = self._session.call(self._remote, call)
        self._answer = answer
        try:
            if answer.status == 416:
                raise SizeMismatch(f"{self._where()}: the registry has fewer than the {total} bytes promised")
            if answer.status == 206:
                self._check_range(answer, start)
            elif part and self._exact:
                raise ProtocolViolation(
                    f"{self._where()}: asked for a range of {self.remaining} bytes, it sends the whole blob"
                )
            elif answer.length is not None and answer.length != total:
                raise SizeMismatch(
                    f"{self._where()}: the registry has {answer.length} bytes where {total} were promised"
                )
            elif part:
                self._skip(answer, start)
        except BaseException:
            answer.close()
            self._answer = None
            raise

    def _check_range(self, answer: Answer, start: int) -> None:
        """Only the exact range that was asked for will do: anything else would put bytes in the wrong place."""
        text = answer.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(text)
        total = self._descriptor.size
        if (
            match is None
            or (int(match[1]), int(match[2])) != (start, self._stop - 1)
            or match[3] not in ("*", str(total))
        ):
            raise ProtocolViolation(
                f"{self._where()}: asked for bytes {start}-{self._stop - 1}, it answers with others"
            )
        if answer.length is not None and answer.length != self.remaining:
            raise ProtocolViolation(f"{self._where()}: the length of its answer is not that of its range")

    def _skip(self, answer: Answer, n: int) -> None:
        """A registry that ignores ranges starts again from the beginning: read past what is not wanted."""
        while n:
            self._session.check_cancelled()
            data = answer.read(min(n, BLOCK))
            if not data:
                raise Broken("the answer ended early")
            n -= len(data)

    def _lost(self, error: Broken) -> None:
        """The connection broke. Get ready for another one, or give up."""
        self._session.check_cancelled()
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        if self._position - self._failed_at >= _PROGRESS:
            self._failures = 0
        self._failures, self._failed_at = self._failures + 1, self._position
        if error.final or self._failures >= self._session.settings.attempts:
            done = f"{self._what}, {self._position} of {self._descriptor.size} bytes done"
            raise no_answer(error, self._remote.registry, done)
        self._session.again_after(BACKOFF.after(self._failures), f"{self._where()}, at byte {self._position}: {error}")

    def _end(self) -> None:
        """All bytes are here: nothing may follow, and they must be the right ones."""
        answer, self._answer = self._answer, None
        if answer is not None:
            surplus = b""
            if self._hash is not None and answer.length is None:
                try:
                    surplus = answer.read(1)
                except Broken:
                    surplus = b""
            answer.close()
            if surplus:
                raise SizeMismatch(f"{self._where()}: more than the {self._descriptor.size} bytes promised")
        self._verify()

    def _verify(self) -> None:
        digest = self._descriptor.digest
        if self._hash is not None and self._hash.hexdigest() != digest.hex:
            raise DigestMismatch(
                f"{self._where()}: the bytes hash to {digest.algorithm}:{self._hash.hexdigest()}, not to {digest}"
            )

    def _where(self) -> str:
        return f"{self._remote.registry}: {self._what}"
