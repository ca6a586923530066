"""What refers to a manifest: signatures, attestations, SBOMs. By the API, or by the tag that stands in for it.

Source: OCI distribution specification 1.1, "Listing Referrers" and "Pushing Manifests with Subject".
"""

from __future__ import annotations

import threading
from urllib.parse import urlencode

from modelcar.errors import InvalidDocument, ProtocolViolation, RegistryError
from modelcar.oci import Descriptor, Digest, Index, Manifest, Reference
from modelcar.oci.document import MAX_DOCUMENT
from modelcar.registry.documents import Documents, next_page
from modelcar.registry.session import OK, Call, Session

__all__ = ["Referrers", "fallback_tag"]

_NO_API = frozenset({404, 405, 501})
_MAX_PAGES = 100
_MAX_ENTRIES = 20_000  # of pages together: 100 of 4 MiB each would be gigabytes of descriptors
_WRITES = 4


def fallback_tag(digest: Digest) -> str:
    """The tag of the index that lists what refers to `digest` where a registry has no referrers API."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


class Referrers:
    def __init__(self, session: Session, documents: Documents) -> None:
        self._session = session
        self._documents = documents
        self._writing = threading.Lock()

    def find(self, ref: Reference, digest: Digest, artifact_type: str | None = None) -> Index:
        listed = self._by_api(ref, digest, artifact_type)
        entries = self._by_tag(ref, digest).manifests if listed is None else listed
        # Registries may ignore the filter, so it is applied again.
        wanted = [e for e in entries if artifact_type is None or e.artifact_type == artifact_type]
        return Index(manifests=tuple(wanted))

    def register(self, ref: Reference, document: Manifest | Index) -> None:
        """Add `document` to the fallback index of its subject.

        No registry locks, so two writers can lose each other's entry: what was written is read back, and written again
        where ours is missing.
        """
        subject = document.subject
        if subject is None:
            return
        entry = _entry(document)
        tag = ref.with_tag(fallback_tag(subject.digest))
        with self._writing:
            for _ in range(_WRITES):
                index = self._by_tag(ref, subject.digest)
                if any(known.digest == entry.digest for known in index.manifests):
                    return
                index = index.append(entry)
                self._documents.put(tag, index.content, index.media_type)
            if not any(known.digest == entry.digest for known in self._by_tag(ref, subject.digest).manifests):
                raise RegistryError(
                    f"{ref.registry}: registering {entry.digest} at {tag.tag}: others keep overwriting it",
                    hint="try again when nobody else signs this image",
                )

    def _by_api(self, ref: Reference, digest: Digest, artifact_type: str | None) -> list[Descriptor] | None:
        """`None` where the registry has no such API."""
        remote = self._session.remote(ref)
        what = f"listing what refers to {digest.algorithm}:{digest.short} in {ref.repository}"
        query = "?" + urlencode({"artifactType": artifact_type}) if artifact_type else ""
        url: str | None = remote.url(f"referrers/{digest}{query}")
        entries: list[Descriptor] = []
        for page in range(_MAX_PAGES):
            if url is None:
                return entries
            expect = OK | _NO_API if page == 0 else OK
            call = Call(method="GET", url=url, what=what, redirects=True, expect=expect)
            answer, content = self._session.fetch(remote, call, MAX_DOCUMENT)
            if answer.status not in OK:
                return None
            if page == 0 and "json" not in answer.headers.get("Content-Type", "").lower():
                return None  # the front page of something that answers every path
            try:
                entries.extend(Index.parse(content).manifests)
            except InvalidDocument as e:
                raise InvalidDocument(f"{ref.registry}: {what}: {e}", hint=e.hint) from None
            url = next_page(self._session, answer, remote, what)
            if url is not None and len(entries) >= _MAX_ENTRIES:
                break
        raise ProtocolViolation(f"{ref.registry}: {what}: the list has no end")

    def _by_tag(self, ref: Reference, digest: Digest) -> Index:
        found = self._documents.find(ref.with_tag(fallback_tag(digest)))
        return found if isinstance(found, Index) else Index()


def _entry(document: Manifest | Index) -> Descriptor:
    """How a referrers list describes `document`: its own type, or that of its config where it has none."""
    artifact_type = document.artifact_type
    if artifact_type is None and isinstance(document, Manifest):
        artifact_type = document.config.media_type
    plain = document.descriptor
    return Descriptor(
        media_type=plain.media_type,
        digest=plain.digest,
        size=plain.size,
        artifact_type=artifact_type,
        annotations=document.annotations,
    )
