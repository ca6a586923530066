"""The requests of an upload, each as the specification has it; what follows an answer is decided elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Final
from urllib.parse import quote

from modelcar.backoff import retry_after
from modelcar.errors import DigestMismatch, InvalidDigest, ProtocolViolation, RegistryError, Unreachable
from modelcar.layers.bytemap import FileSlice
from modelcar.oci import Digest
from modelcar.registry.cancel import detached
from modelcar.registry.problems import no_answer
from modelcar.registry.session import Call, Remote, Session
from modelcar.registry.transport import Answer, Broken

__all__ = ["Asked", "Opened", "Rejected", "Wire"]

_STORED: Final = frozenset({200, 201, 204})  # 201 by the specification; Artifactory answers 200 and 204
_TAKEN: Final = frozenset({200, 201, 202, 204})
_LAST_WORDS: Final = 1.0  # seconds for them, where somebody waits for the end
_COMMIT_RATE: Final = 20e6  # bytes a second; slower ones have not been seen to copy what they have
_RANGE: Final = re.compile(r"(?:bytes=)?0-(\d{1,19})")

Body = Callable[[], Iterable[bytes | FileSlice]]


class Rejected(Exception):
    """A request with bytes of the blob failed; `status` is `None` where there was no answer."""

    def __init__(self, error: Exception, status: int | None = None, wait: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.status = status
        self.wait = wait

    @property
    def codes(self) -> tuple[str, ...]:
        return self.error.codes if isinstance(self.error, RegistryError) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An upload session: where it goes on, and the smallest piece (bytes) that it takes but for the last."""

    location: str
    least: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a session said of itself: the bytes that it has (`None`: nothing of that), and where it goes on."""

    kept: int | None
    location: str | None


class Wire:
    """The requests of one upload. All raise `RegistryError` where the registry refuses or cannot be reached."""

    def __init__(self, session: Session, remote: Remote, what: str) -> None:
        self._session, self._remote, self.what = session, remote, what

    def exists(self, digest: Digest, size: int) -> bool:
        """Whether the repository has the blob, as far as it says. One of another size is a damaged one, and does not
        count."""
        url = self._remote.url(f"blobs/{digest}")
        answer = self._ask("HEAD", url, frozenset({200, 404, 405, 501}))
        if answer.status in (405, 501):
            return self._can_be_read(url, size)
        return answer.status == 200 and answer.length in (None, size)

    def _can_be_read(self, url: str, size: int) -> bool:
        """What HEAD would have told, by the beginning of an answer to GET."""
        first = {"Range": "bytes=0-0"} if size else {}
        expected = frozenset({200, 206, 404, 405, 416, 501})
        call = Call(method="GET", url=url, what=self.what, expect=expected, headers=first, redirects=True)
        answer = self._session.call(self._remote, call)
        answer.close()
        if answer.status == 206:
            return answer.headers.get("Content-Range", "").rpartition("/")[2] in ("*", str(size))
        return answer.status == 200 and answer.length in (None, size)

    def mount(self, digest: Digest, repository: str) -> Opened | None:
        """`None` if it is mounted now; else the session that the registry opened instead. Raises `RegistryError` where
        one may not read there, or there is no mounting."""
        query = f"?mount={quote(str(digest))}&from={quote(repository)}"
        remote = self._remote.also(f"repository:{repository}:pull")
        answer = self._ask("POST", self._remote.url("blobs/uploads/") + query, frozenset({201, 202}), remote)
        return None if answer.status == 201 else self._opened(answer)

    def open(self) -> Opened:
        """A new session."""
        return self._opened(self._ask("POST", self._remote.url("blobs/uploads/"), frozenset({202})))

    def ask(self, location: str) -> Asked | None:
        """How far a session is; `None` if the registry does not know it."""
        try:
            answer = self._ask("GET", location, frozenset({200, 202, 204, 404, 410}))
        except Unreachable:
            raise
        except RegistryError:
            return Asked(kept=None, location=None)
        if answer.status in (404, 410):
            return None
        return Asked(kept=kept(answer), location=self.following(answer))

    def patch(self, location: str, start: int, length: int, body: Body, *, alone: bool) -> Answer:
        """A piece; `alone` if it is all there is. Raises `Rejected`."""
        headers = {} if alone else {"Content-Range": f"{start}-{start + length - 1}"}
        return self._send("PATCH", location, length, body, _TAKEN, headers)

    def put(self, location: str, digest: Digest, length: int, body: Body, size: int) -> None:
        """The closing request, with the last `length` bytes of `size`: all of them, or none. Raises `Rejected`."""
        url = f"{location}{'&' if '?' in location else '?'}digest={quote(str(digest))}"
        self._check(self._send("PUT", url, length, body, _STORED, size=size), digest)

    def once(self, digest: Digest, size: int, body: Body) -> None:
        """Everything in one request without a session. Raises `Rejected`, also where a session is opened instead."""
        url = f"{self._remote.url('blobs/uploads/')}?digest={quote(str(digest))}"
        answer = self._send("POST", url, size, body, _TAKEN, size=size)
        if answer.status == 202:
            location = self.following(answer)
            if location is not None:
                self.delete(location)
            raise Rejected(ProtocolViolation(f"{self._remote.registry}: {self.what}: it wants a session"), 202)
        self._check(answer, digest)

    def delete(self, location: str, *, brief: bool = False) -> None:
        """Give up a session, so that the registry need not keep its bytes. Never raises; `brief`: does not wait for a
        registry that stands still."""

        def tell() -> None:
            call = Call(method="DELETE", url=location, what=self.what, expect=_TAKEN, attempts=1, patience=5.0)
            with suppress(Broken, RegistryError):
                self._session.once(self._remote, call).close()

        if not brief:
            with detached():
                tell()
            return
        telling = Thread(target=tell, name="modelcar-giving-up", daemon=True)
        telling.start()
        telling.join(_LAST_WORDS)

    def following(self, answer: Answer) -> str | None:
        """Where the session goes on; every answer may name another place."""
        location = answer.headers.get("Location")
        return self._session.resolve_url(answer.url, location, self._remote, self.what) if location else None

    def _opened(self, answer: Answer) -> Opened:
        location = self.following(answer)
        if location is None:
            raise ProtocolViolation(f"{self._remote.registry}: {self.what}: the registry opened no upload session")
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        return Opened(location=location, least=int(least) if least.isascii() and least.isdigit() else 0)

    def _check(self, answer: Answer, digest: Digest) -> None:
        """A registry that names another digest of the same kind has stored something else."""
        stated = answer.headers.get("Docker-Content-Digest")
        try:
            if not stated or Digest.parse(stated).algorithm != digest.algorithm:
                return
        except InvalidDigest:
            stated = "something that is no digest"
        if stated != str(digest):
            raise DigestMismatch(f"{self._remote.registry}: {self.what}: the registry stored it as {stated}")

    def _send(
        self,
        method: str,
        url: str,
        length: int,
        body: Body,
        expect: frozenset[int],
        headers: dict[str, str] | None = None,
        size: int = 0,
    ) -> Answer:
        """One request with bytes of the blob, tried once; `size` are those that the registry may have to look at."""
        call = Call(
            method=method,
            url=url,
            what=self.what,
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(length), **(headers or {})},
            body=body if length else None,
            expect=expect,
            patience=self._session.settings.commit_timeout + size / _COMMIT_RATE,
        )
        try:
            answer = self._session.once(self._remote, call)
        except Broken as e:
            self._session.check_cancelled()
            raise Rejected(no_answer(e, self._remote.registry, self.what)) from None
        if answer.status not in expect:
            wait = retry_after(answer.headers.get("Retry-After"))
            raise Rejected(self._session.refusal(answer, self._remote, self.what), answer.status, wait)
        answer.discard()
        return answer

    def _ask(
        self,
        method: str,
        url: str,
        expect: frozenset[int],
        remote: Remote | None = None,
    ) -> Answer:
        call = Call(method=method, url=url, what=self.what, expect=expect, redirects=method == "HEAD")
        answer = self._session.call(remote or self._remote, call)
        answer.discard()
        return answer


def kept(answer: Answer) -> int | None:
    """How many bytes a session has, by the `Range` header of its answer."""
    match = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
    return int(match[1]) + 1 if match else None
