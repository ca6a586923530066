"""The distribution API, as a profile speaks it."""

from __future__ import annotations

import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import quote

from modelcar.testing.registry.contents import Contents, Document
from modelcar.testing.registry.counters import Counters, Fate
from modelcar.testing.registry.faults import Fault, Wrong
from modelcar.testing.registry.messages import Asked, HangUp, Lost, Part, Told, error
from modelcar.testing.registry.profiles import Profile, Sharing
from modelcar.testing.registry.sessions import Session, Sessions
from modelcar.testing.registry.tokens import Doorkeeper

__all__ = ["Api"]

_PATH: Final = re.compile(r"/v2/(.+?)/(blobs/uploads|blobs|manifests|tags|referrers)/(.*)")
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
_PIECE: Final = re.compile(r"(\d+)-(\d+)")
_MANIFEST: Final = 4 << 20
_WAIT: Final = 30.0  # seconds for the request before to end


@dataclass(frozen=True, slots=True)
class Request:
    """One request with what was decided about it."""

    asked: Asked
    fault: Fault | None
    began: float

    def wrong(self, kind: Wrong) -> bool:
        """Whether this goes wrong before the body is read."""
        return self.fault is not None and self.fault.wrong is kind and not self.fault.after

    def elapsed(self) -> float:
        return time.monotonic() - self.began


class Api:
    """Answers of the registry (`answer`), and of the other host that it may lead to (`answer_elsewhere`)."""

    def __init__(self, profile: Profile, contents: Contents, counters: Counters, home: str, elsewhere: str) -> None:
        self.profile, self.contents = profile, contents
        self.sessions = Sessions(profile, contents, counters)
        self.doorkeeper = Doorkeeper(profile.token_seconds)
        self._counters = counters
        self._home, self._elsewhere = home, elsewhere
        self._put_refusals = count()
        self._dice = random.Random(0)  # noqa: S311  # which replica gets a request
        self._lock = threading.Lock()

    def answer(self, asked: Asked, fault: Fault | None) -> Told:
        request = Request(asked, fault, time.monotonic())
        match = _PATH.fullmatch(asked.path)
        repository, kind, rest = match.groups() if match else ("", "", "")
        realm = f"{self._elsewhere}/token"
        if request.wrong(Wrong.EXPIRED_TOKEN) and self.doorkeeper.expires(asked):
            return self.doorkeeper.challenge(realm, repository)
        self.doorkeeper.check(asked, realm, repository)
        if asked.path == "/v2/":
            return Told(headers={"Content-Type": "application/json"}, body=b"{}")
        answers: dict[str, Callable[[Request, str, str], Told]] = {
            "blobs/uploads": self._upload,
            "blobs": self._blob,
            "manifests": self._manifest,
            "tags": self._tags,
        }
        return answers[kind](request, repository, rest) if kind in answers else error(404, "NAME_UNKNOWN")

    def answer_elsewhere(self, asked: Asked) -> Told:
        if asked.path == "/token":
            return self.doorkeeper.issue()
        digest = asked.path.removeprefix("/blobs/")
        file = self.contents.blob(digest)
        if file is None or asked.method not in ("GET", "HEAD"):
            return error(404, "BLOB_UNKNOWN")
        self.doorkeeper.check_signature(asked, digest)
        return self._sent(asked, file, digest)

    def _blob(self, request: Request, repository: str, digest: str) -> Told:
        asked = request.asked
        if asked.method == "HEAD" and not self.profile.heads:
            return error(405, "UNSUPPORTED")
        if asked.method not in ("GET", "HEAD"):
            return error(405, "UNSUPPORTED")
        file = self.contents.blob(digest, repository)
        if file is None:
            return error(404, "BLOB_UNKNOWN")
        if asked.method == "GET" and (self.profile.redirects or request.wrong(Wrong.REDIRECT)):
            return Told(status=307, headers={"Location": self.doorkeeper.signed(self._elsewhere, digest)})
        return self._sent(asked, file, digest)

    def _sent(self, asked: Asked, file: Path, digest: str) -> Told:
        size = file.stat().st_size
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        match = _RANGE.fullmatch(asked.headers.get("range", "")) if self.profile.ranges else None
        if self.profile.ranges:
            headers["Accept-Ranges"] = "bytes"
        if match is None or asked.method == "HEAD":
            return Told(headers=headers, body=Part(file, 0, size))
        start, stop = int(match[1]), min(int(match[2] or size) + 1, size)
        if start >= size:
            return error(416, "RANGE_INVALID", {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Told(status=206, headers=headers, body=Part(file, start, stop - start))

    def _upload(self, request: Request, repository: str, name: str) -> Told:
        asked = request.asked
        replica = self._replica()
        if asked.method == "POST":
            return self._begin(request, repository, replica)
        if request.wrong(Wrong.LOST_SESSION):
            self.sessions.forget(name)
        session = self.sessions.find(name, asked, replica)
        if asked.method == "DELETE":
            self.sessions.forget(name, Fate.GIVEN_UP)
            return Told(status=204)
        if not session.lock.acquire(timeout=_WAIT):
            return error(503, "UNAVAILABLE")
        try:
            match asked.method:
                case "GET":
                    return self._asked(session)
                case "PATCH":
                    return self._patch(request, session)
                case "PUT":
                    return self._close(request, session)
            return error(405, "UNSUPPORTED")
        except Lost:
            self.sessions.forget(name)
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        finally:
            session.lock.release()

    def _replica(self) -> int:
        with self._lock:
            return 0 if self.profile.sharing is Sharing.ALL else self._dice.randrange(2)

    def _begin(self, request: Request, repository: str, replica: int) -> Told:
        asked = request.asked
        mount, source = asked.query.get("mount"), asked.query.get("from")
        if mount and source and self.profile.mounts and self.contents.blob(mount, source) is not None:
            self.contents.link(repository, mount)
            self._counters.add("mounts")
            return Told(status=201, headers=self._stored(repository, mount))
        session = self.sessions.open(repository, replica)
        self._counters.add("sessions")
        if asked.query.get("digest") and self.profile.post_whole:
            try:
                self.sessions.append(session, asked, request.elapsed)
            except Lost:
                return error(404, "BLOB_UPLOAD_UNKNOWN")
            return self._commit(request, session)
        headers = {"OCI-Chunk-Min-Length": str(self.profile.min_chunk)} if self.profile.min_chunk else {}
        return self._told_so_far(session, 202, headers)

    def _patch(self, request: Request, session: Session) -> Told:
        profile, asked = self.profile, request.asked
        match = _PIECE.fullmatch(asked.headers.get("content-range", ""))
        if profile.patches == 0:
            return error(405, "UNSUPPORTED")
        if session.closed or (profile.patches is not None and session.pieces >= profile.patches):
            return error(400, "UNSUPPORTED")
        if match is not None and int(match[1]) != session.size:
            return self._out_of_order(session)
        if session.pieces and session.last < profile.min_chunk:
            return error(400, "SIZE_INVALID")
        if profile.patch_limit is not None and (asked.body.length or 0) > profile.patch_limit:
            return self._out_of_order(session)
        session.pieces += 1
        self.sessions.append(session, asked, request.elapsed)
        session.closed = profile.patch_status == 201
        return self._told_so_far(session, profile.patch_status)

    def _close(self, request: Request, session: Session) -> Told:
        profile, asked = self.profile, request.asked
        match = _PIECE.fullmatch(asked.headers.get("content-range", ""))
        if match is not None and int(match[1]) != session.size:
            return self._out_of_order(session)
        if profile.put_limit is not None and (asked.body.length or 0) > profile.put_limit:
            refusals = profile.put_refusals
            return error(refusals[next(self._put_refusals) % len(refusals)], "UNKNOWN")
        self.sessions.append(session, asked, request.elapsed)
        return self._commit(request, session)

    def _commit(self, request: Request, session: Session) -> Told:
        digest = request.asked.query.get("digest", "")
        self.sessions.finish(session)
        os.truncate(session.file, session.size)
        delay = self.profile.commit_seconds * session.size / (1 << 30)
        if request.fault is not None and request.wrong(Wrong.SLOW_COMMIT):
            delay += request.fault.seconds
        time.sleep(delay)
        if not self.contents.adopt(session.file, session.repository, digest):
            self._counters.ended_as(Fate.DAMAGED, session.size)
            return error(400, "DIGEST_INVALID")
        self._counters.add("commits")
        self._counters.ended_as(Fate.COMMITTED, session.size)
        if request.fault is not None and request.wrong(Wrong.LOST_ANSWER):
            raise HangUp
        return Told(status=self.profile.put_status, headers=self._stored(session.repository, digest))

    def _out_of_order(self, session: Session) -> Told:
        told = self._told_so_far(session, 416)
        return replace(error(416, "RANGE_INVALID"), headers=told.headers)

    def _told_so_far(self, session: Session, status: int, headers: dict[str, str] | None = None) -> Told:
        """Where the session goes on. An empty one is said to have "0-0", as Docker's registry says."""
        location = f"/v2/{session.repository}/blobs/uploads/{session.name}"
        if not self.profile.relative_location:
            location = self._home + location
        if self.profile.signed_location:
            location += f"?_state={session.signature}"
        extent = f"0-{max(0, session.size - 1)}"
        known = {"Location": location, "Range": extent, "Docker-Upload-UUID": session.name}
        return Told(status=status, headers={**known, **(headers or {})})

    def _asked(self, session: Session) -> Told:
        """How far a session is, for whoever asks."""
        if not self.profile.resumes:
            return error(404, "UNSUPPORTED")
        told = self._told_so_far(session, 204)
        return (
            replace(told, headers={**told.headers, "Range": f"0-{session.size}"})
            if self.profile.counts_one_more
            else told
        )

    def _stored(self, repository: str, digest: str) -> dict[str, str]:
        base = "" if self.profile.relative_location else self._home
        return {"Location": f"{base}/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest}

    def _manifest(self, request: Request, repository: str, reference: str) -> Told:
        asked = request.asked
        if asked.method == "PUT":
            return self._put_manifest(asked, repository, reference)
        if asked.method == "DELETE":
            gone = self.contents.delete_document(repository, reference)
            return Told(status=202) if gone else error(404, "MANIFEST_UNKNOWN")
        document = self.contents.document(repository, reference)
        if document is None:
            return error(404, "MANIFEST_UNKNOWN")
        headers = {"Content-Type": document.media_type, "Docker-Content-Digest": document.digest}
        return Told(headers=headers, body=document.content)

    def _put_manifest(self, asked: Asked, repository: str, reference: str) -> Told:
        content = b"".join(asked.body.blocks())
        if len(content) > _MANIFEST:
            return error(413, "SIZE_INVALID")
        document = Document(asked.headers.get("content-type", ""), content)
        if ":" in reference and reference != document.digest:
            return error(400, "DIGEST_INVALID")
        if any(self.contents.blob(digest, repository) is None for digest in _blobs_of(content)):
            return error(400, "MANIFEST_BLOB_UNKNOWN")
        self.contents.put_document(repository, reference, document)
        location = f"{self._home}/v2/{repository}/manifests/{quote(document.digest, safe=':')}"
        return Told(status=201, headers={"Location": location, "Docker-Content-Digest": document.digest})

    def _tags(self, request: Request, repository: str, _rest: str) -> Told:
        del request
        body = json.dumps({"name": repository, "tags": self.contents.tags(repository)}).encode()
        return Told(headers={"Content-Type": "application/json"}, body=body)


def _blobs_of(manifest: bytes) -> list[str]:
    """A registry takes no image whose blobs it has not got."""
    document = json.loads(manifest)
    blobs = [document.get("config"), *document.get("layers", [])]
    return [blob["digest"] for blob in blobs if blob and "urls" not in blob]
