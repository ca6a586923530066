"""An eStargz reader that shares no code with modelcar: the blob's footer, its table, and files chunk by chunk."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Estargz", "read_estargz"]

FOOTER = 51


@dataclass(frozen=True, slots=True)
class Estargz:
    """What a blob says of itself: the table as it is written, and its entries."""

    blob: bytes
    toc_offset: int
    toc: bytes
    entries: list[dict[str, Any]]

    def file(self, name: str) -> bytes:
        """A file's bytes, each chunk unpacked on its own from where the table says, and checked."""
        (entries,) = [entries for entries in self._files() if entries[0]["name"] == name]
        return self._content(entries)

    def files(self) -> dict[str, bytes]:
        """All of them."""
        files = list(self._files())
        assert len({entries[0]["name"] for entries in files}) == len(files)
        return {entries[0]["name"]: self._content(entries) for entries in files}

    def _files(self) -> Iterator[list[dict[str, Any]]]:
        """The entries of each file: its own, and those of its further chunks."""
        found: list[dict[str, Any]] = []
        for entry in self.entries:
            if entry["type"] != "chunk":
                if found:
                    yield found
                found = [entry] if entry["type"] == "reg" else []
            elif found:
                found.append(entry)
        if found:
            yield found

    def _content(self, entries: list[dict[str, Any]]) -> bytes:
        size, data = int(entries[0].get("size", 0)), b""
        for entry in entries:
            if entry.get("offset"):
                length = entry.get("chunkSize") or size - entry.get("chunkOffset", 0)
                part = one_member(self.blob[entry["offset"] :])[:length]
                assert entry["chunkDigest"] == f"sha256:{hashlib.sha256(part).hexdigest()}"
                assert entry.get("chunkOffset", 0) == len(data)
                data += part
        assert len(data) == size
        return data


def read_estargz(blob: bytes) -> Estargz:
    """Read the footer, and the table where that says it is, as a lazy mount would."""
    footer = blob[-FOOTER:]
    assert footer[:16] == bytes.fromhex("1f8b08040000000000ff 1a00 5347 1600")
    assert footer[32:38] == b"STARGZ"
    assert zlib.decompressobj(31).decompress(footer) == b""
    toc_offset = int(footer[16:32], 16)
    with tarfile.open(fileobj=io.BytesIO(one_member(blob[toc_offset:-FOOTER]))) as tar:
        assert tar.getnames() == ["stargz.index.json"]
        member = tar.extractfile("stargz.index.json")
        assert member is not None
        toc = member.read()
    document = json.loads(toc)
    assert document.keys() == {"version", "entries"}
    assert document["version"] == 1
    return Estargz(blob=blob, toc_offset=toc_offset, toc=toc, entries=document["entries"])


def one_member(data: bytes) -> bytes:
    """What the gzip member at the start of `data` holds, its checksum checked."""
    unpacking = zlib.decompressobj(31)
    content = unpacking.decompress(data)
    assert unpacking.eof
    return content
