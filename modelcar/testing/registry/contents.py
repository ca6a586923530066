"""What the registry holds, in a folder that outlives its process: blobs by repository, and manifests."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

__all__ = ["Contents", "Document", "sha256"]

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return sha256(self.content)


class Contents:
    """Safe to use from several threads, and after a kill between any two steps: files appear by rename."""

    def __init__(self, folder: Path) -> None:
        self._blobs, self._links, self._manifests = folder / "blobs", folder / "links", folder / "manifests"
        self.uploads = folder / "uploads"
        for place in (self._blobs, self._links, self._manifests, self.uploads):
            place.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._number = 0

    def new_file(self) -> Path:
        with self._lock:
            self._number += 1
            return self.uploads / f"{os.getpid()}-{self._number}"

    def adopt(self, file: Path, repository: str, digest: str) -> bool:
        """Keep what was uploaded to `file`; returns whether that is its digest. The file is gone afterwards."""
        if _digest_of(file) != digest:
            file.unlink()
            return False
        file.replace(self._blobs / quote(digest, safe=""))
        self.link(repository, digest)
        return True

    def put(self, content: bytes, repository: str) -> str:
        file, digest = self.new_file(), sha256(content)
        file.write_bytes(content)
        self.adopt(file, repository, digest)
        return digest

    def link(self, repository: str, digest: str) -> None:
        folder = self._links / quote(repository, safe="")
        folder.mkdir(exist_ok=True)
        (folder / quote(digest, safe="")).touch()

    def blob(self, digest: str, repository: str | None = None) -> Path | None:
        """Its file; with `repository`, only if it is in there."""
        if repository is not None and not (self._links / quote(repository, safe="") / quote(digest, safe="")).exists():
            return None
        file = self._blobs / quote(digest, safe="")
        return file if file.exists() else None

    def digests(self) -> list[str]:
        return sorted(unquote(file.name) for file in self._blobs.iterdir())

    def document(self, repository: str, reference: str) -> Document | None:
        try:
            raw = self._place(repository, reference).read_bytes()
        except FileNotFoundError:
            return None
        head, _, content = raw.partition(b"\n")
        return Document(json.loads(head)["mediaType"], content)

    def put_document(self, repository: str, reference: str, document: Document) -> None:
        head = json.dumps({"mediaType": document.media_type}).encode()
        for name in (reference, document.digest):
            new = self.new_file()
            new.write_bytes(head + b"\n" + document.content)
            new.replace(self._place(repository, name))

    def delete_document(self, repository: str, reference: str) -> bool:
        place = self._place(repository, reference)
        there = place.exists()
        place.unlink(missing_ok=True)
        return there

    def tags(self, repository: str) -> list[str]:
        folder = self._manifests / quote(repository, safe="")
        names = [unquote(file.name) for file in folder.iterdir()] if folder.is_dir() else []
        return sorted(name for name in names if ":" not in name)

    def _place(self, repository: str, reference: str) -> Path:
        folder = self._manifests / quote(repository, safe="")
        folder.mkdir(exist_ok=True)
        return folder / quote(reference, safe="")


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _digest_of(file: Path) -> str:
    with file.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
