"""Manifests, indexes, tags: what is small, decides what is trusted, and is therefore verified before it is parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from modelcar.errors import (
    DigestMismatch,
    InvalidDigest,
    ModelcarError,
    ProtocolViolation,
    RemoteNotFound,
    UsageError,
)
from modelcar.oci import Descriptor, Digest, Index, Manifest, Reference, media_types, parse_manifest, parse_object
from modelcar.oci.document import MAX_DOCUMENT
from modelcar.oci.reference import is_tag
from modelcar.registry.session import OK, Call, Remote, Session
from modelcar.registry.transport import Answer

__all__ = ["ACCEPT", "Documents", "next_page"]

_TYPES = (media_types.INDEX, media_types.MANIFEST, media_types.DOCKER_MANIFEST_LIST, media_types.DOCKER_MANIFEST)
ACCEPT = ", ".join(_TYPES)
_PAGE = 1000
_MAX_PAGES = 10_000
_NEXT = re.compile(r'<([^<>]*)>\s*(?:;[^,]*)?;\s*rel="?next"?', re.IGNORECASE)
_NO_HEAD = frozenset({400, 403, 405, 501})  # answers of registries that know no HEAD, or say why only to a GET


class Documents:
    """Reads and writes manifests by tag or digest."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def resolve(self, ref: Reference) -> Descriptor:
        remote = self._session.remote(ref)
        what = f"resolving {_name(ref)}"
        headers = {"Accept": ACCEPT}
        call = Call(
            method="HEAD", url=_url(remote, ref), what=what, headers=headers, redirects=True, expect=OK | _NO_HEAD
        )
        with _naming(ref):
            answer = self._session.call(remote, call)
        answer.discard()
        digest = _stated_digest(answer, ref, what)
        media_type = _media_type(answer)
        if answer.status not in OK or answer.length is None or digest is None or not media_type:
            return self.manifest(ref).descriptor
        if ref.digest is not None and digest != ref.digest:
            raise DigestMismatch(f"{ref.registry}: {what}: the registry answers with {digest} instead")
        return Descriptor(media_type=media_type, digest=digest, size=answer.length)

    def manifest(self, ref: Reference, descriptor: Descriptor | None = None) -> Manifest | Index:
        if descriptor is not None:
            ref = ref.with_digest(descriptor.digest)
        document = self._read(ref, descriptor)
        assert document is not None  # noqa: S101  # 404 is not expected here
        return document

    def find(self, ref: Reference) -> Manifest | Index | None:
        """The manifest at `ref`, or `None` if there is none."""
        return self._read(ref, expect=OK | {404})

    def put(self, ref: Reference, content: bytes, media_type: str) -> Answer:
        """Write a manifest's bytes under the reference's tag, or its digest where it has no tag."""
        digest = Digest.of(content, ref.digest.algorithm if ref.digest else "sha256")
        if ref.digest is not None and ref.digest != digest:
            raise UsageError(f"{_name(ref)} cannot name a manifest whose digest is {digest}")
        remote = self._session.remote(ref, "pull,push")
        target = ref.tag or str(digest)
        what = f"writing manifest {ref.repository}{':' if ref.tag else '@'}{target}"
        call = Call(
            method="PUT",
            url=remote.url(f"manifests/{target}"),
            what=what,
            headers={"Content-Type": media_type, "Content-Length": str(len(content))},
            body=lambda: [content],
            expect=frozenset({200, 201, 202, 204}),
            patience=self._session.settings.commit_timeout,
        )
        answer = self._session.call(remote, call)
        answer.discard()
        stated = _stated_digest(answer, ref, what)
        if stated is not None and stated.algorithm == digest.algorithm and stated != digest:
            raise DigestMismatch(f"{ref.registry}: {what}: the registry stored it as {stated}, not {digest}")
        return answer

    def delete(self, ref: Reference) -> None:
        remote = self._session.remote(ref, "pull,delete")
        call = Call(
            method="DELETE",
            url=_url(remote, ref),
            what=f"deleting manifest {_name(ref)}",
            expect=frozenset({200, 202, 204}),
        )
        self._session.call(remote, call).discard()

    def tags(self, ref: Reference) -> Iterator[str]:
        remote = self._session.remote(ref)
        what = f"listing the tags of {ref.repository}"
        url = remote.url("tags/list") + "?" + urlencode({"n": _PAGE})
        for _ in range(_MAX_PAGES):
            call = Call(method="GET", url=url, what=what, redirects=True)
            answer, content = self._session.fetch(remote, call, MAX_DOCUMENT)
            following = next_page(self._session, answer, remote, what)
            where = f"{ref.registry}: {what}"
            tags = parse_object(content, where).get("tags") or []
            if not isinstance(tags, list) or not all(isinstance(t, str) and is_tag(t) for t in tags):
                raise ProtocolViolation(f"{where}: the answer is not a list of tags", status=200)
            yield from tags
            if following is None or not tags:
                return
            url = following
        raise ProtocolViolation(f"{ref.registry}: {what}: the list has no end")

    def _read(
        self, ref: Reference, descriptor: Descriptor | None = None, expect: frozenset[int] = OK
    ) -> Manifest | Index | None:
        answer, content = self._get(ref, expect)
        if answer.status not in OK:
            return None
        try:
            if descriptor is not None:
                descriptor.check(content)
            return parse_manifest(content, descriptor.media_type if descriptor else _media_type(answer))
        except ModelcarError as e:
            raise _located(e, ref) from None

    def fetch(self, ref: Reference) -> tuple[Descriptor, bytes]:
        """A manifest of any kind, verified against its digest and not parsed."""
        answer, content = self._get(ref, OK)
        digest = ref.digest or _stated_digest(answer, ref, _reading(ref)) or Digest.of(content)
        return Descriptor(media_type=_media_type(answer), digest=digest, size=len(content)), content

    def _get(self, ref: Reference, expect: frozenset[int]) -> tuple[Answer, bytes]:
        """The answer to a GET and its bytes, which hash to the digest that is asked for, or that it states."""
        remote = self._session.remote(ref)
        call = Call(
            method="GET",
            url=_url(remote, ref),
            what=_reading(ref),
            headers={"Accept": ACCEPT},
            redirects=True,
            expect=expect,
        )
        with _naming(ref):
            answer, content = self._session.fetch(remote, call, MAX_DOCUMENT)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":  # asked for no other
            raise ProtocolViolation(f"{ref.registry}: {call.what}: the answer is encoded, so no digest can fit")
        expected = ref.digest or _stated_digest(answer, ref, call.what)
        if answer.status in OK and expected is not None:
            try:
                expected.check(content, "what it returned")
            except ModelcarError as e:
                raise _located(e, ref) from None
        return answer, content


def next_page(session: Session, answer: Answer, remote: Remote, what: str) -> str | None:
    """The URL of the page after `answer`, if any; on the same registry."""
    match = _NEXT.search(answer.headers.get("Link", ""))
    return session.resolve_url(answer.url, match[1], remote, what) if match else None


@contextmanager
def _naming(ref: Reference) -> Iterator[None]:
    """Let the error say which tag is not there."""
    try:
        yield
    except RemoteNotFound as e:
        if ref.digest is None:
            e.missing = str(ref)
        raise


def _reading(ref: Reference) -> str:
    return f"reading manifest {_name(ref)}"


def _located(error: ModelcarError, ref: Reference) -> ModelcarError:
    """The same error, saying of which manifest of which registry."""
    return type(error)(f"{ref.registry}: {_reading(ref)}: {error}", hint=error.hint)


def _url(remote: Remote, ref: Reference) -> str:
    return remote.url(f"manifests/{ref.target}")


def _name(ref: Reference) -> str:
    return f"{ref.repository}{'@' if ref.digest else ':'}{ref.target}"


def _media_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def _stated_digest(answer: Answer, ref: Reference, what: str) -> Digest | None:
    text = answer.headers.get("Docker-Content-Digest")
    if not text:
        return None
    try:
        return Digest.parse(text)
    except InvalidDigest:
        raise ProtocolViolation(f"{ref.registry}: {what}: its Docker-Content-Digest is not a digest") from None
