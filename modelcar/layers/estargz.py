"""eStargz: a layer that stargz-snapshotter mounts before it is there, as gzip that stores and does not compress.

The blob is a tar of policy v1 whose last member is a table of contents (TOC), in gzip members: one for each 4 MiB of a
payload, one for what lies between payloads, one for the TOC, and a footer that says where that is. So all but checksums
and digests is known from sizes, and the weights stay where they are. `docs/formats/estargz.md` documents it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelcar.errors import UnsafePath
from modelcar.layers.bytemap import ByteMap, FileRange, GzippedRange, Literal, Segment
from modelcar.layers.hashing import CHUNK_SIZE, Chunk, LayerDigests
from modelcar.layers.storedgzip import CRC_SIZE, gzip_member, member_size, members_size
from modelcar.layers.tar import BLOCK, Entry, TarMember, VirtualTar, build_tar, file_entry
from modelcar.oci import Digest, compact_json

__all__ = ["LANDMARK", "TOC_DIGEST", "TOC_NAME", "UNCOMPRESSED_SIZE", "EstargzPlan", "Region", "plan_estargz"]

TOC_NAME: Final = "stargz.index.json"
LANDMARK: Final = ".no.prefetch.landmark"  # says that a container need not wait for anything in the layer
TOC_DIGEST: Final = "containerd.io/snapshot/stargz/toc.digest"  # annotation of a layer
UNCOMPRESSED_SIZE: Final = "io.containers.estargz.uncompressed-size"  # the same
_LANDMARK: Final = Literal(b"\x0f")
_END: Final = bytes(2 * BLOCK)  # of a tar
_FOOTER_SIZE: Final = 51  # bytes
_UNKNOWN: Final = Digest("sha256", "0" * 64)  # as long as any


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """`[start, stop)` of the tar, a payload or what is between, in members of its own from `offset` of the blob."""

    start: int
    stop: int
    offset: int
    is_payload: bool

    @property
    def size(self) -> int:
        """Bytes of the tar."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class EstargzPlan:
    """A layer of files laid out as eStargz and not yet hashed.

    Attributes:
        tar: landmark and files, without the TOC.
        regions: tile the tar up to its end mark, where the TOC goes.
        toc_offset: where in the blob the TOC's member begins.
        toc_size: bytes of the TOC.
    """

    tar: VirtualTar
    regions: tuple[Region, ...]
    toc_offset: int
    toc_size: int

    @property
    def tar_size(self) -> int:
        """Bytes of the tar that the blob decompresses to."""
        return self.tar.content.size + BLOCK + self.toc_size + -self.toc_size % BLOCK

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        end = self.tar_size - (self.tar.content.size - len(_END))
        return self.toc_offset + member_size(end) + _FOOTER_SIZE

    def toc(self, chunks: Iterable[Chunk]) -> bytes:
        """The TOC; `chunks` are those of the payloads, with offsets in the tar, and may be more."""
        return _toc(self.tar.members, self.regions, {chunk.offset: chunk.digest for chunk in chunks})

    def ending(self, toc: bytes) -> bytes:
        """The end of the tar: the TOC, and the end mark."""
        return file_entry(TOC_NAME, len(toc)) + toc + bytes(-len(toc) % BLOCK) + _END

    def trailer(self, toc: bytes) -> bytes:
        """The end of the blob: the TOC's member, and the footer."""
        extra = b"SG\x16\x00%016xSTARGZ" % self.toc_offset
        footer = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff\x1a\x00" + extra + b"\x01\x00\x00\xff\xff" + bytes(8)
        return gzip_member(self.ending(toc)) + footer

    def content(self, digests: LayerDigests) -> ByteMap:
        """The blob, as `digests` of this plan complete it."""
        crcs = digests.packed.crcs if digests.packed is not None else b""
        segments: list[Segment] = []
        for region in self.regions:
            n = _chunk_count(region) * CRC_SIZE
            segments.append(self._segment(region, crcs[:n]))
            crcs = crcs[n:]
        return ByteMap([*segments, Literal(self.trailer(self.toc(digests.chunks)))])

    def _segment(self, region: Region, crcs: bytes) -> Segment:
        parts = list(self.tar.content.segments(region.start, region.size))
        if region.is_payload and len(parts) == 1 and isinstance(parts[0], FileRange):
            return GzippedRange.of(parts[0], CHUNK_SIZE, crcs)
        with self.tar.content.open(region.start, region.size) as reader:
            data = reader.read()
        member = CHUNK_SIZE if region.is_payload else len(data)
        return Literal(b"".join(gzip_member(data[at : at + member]) for at in range(0, len(data), member)))

    def toc_digest(self, digests: LayerDigests) -> Digest:
        """Of the layer's table of contents."""
        return Digest.of(self.toc(digests.chunks))

    def annotations(self, toc: Digest) -> dict[str, str]:
        """Those of the layer with that table of contents, for who mounts it."""
        return {TOC_DIGEST: str(toc), UNCOMPRESSED_SIZE: str(self.tar_size)}


def plan_estargz(entries: Sequence[Entry]) -> EstargzPlan:
    """Lay out files. Costs no I/O.

    Raises:
        UnsafePath: as `build_tar`, or a path is one that the format keeps for itself.
    """
    if any(entry.path == TOC_NAME for entry in entries):
        raise UnsafePath(f"{TOC_NAME} is the name of an eStargz layer's own table of contents", hint="rename it")
    tar = build_tar([Entry(path=LANDMARK, content=_LANDMARK), *entries])
    regions = tuple(_regions(tar))
    last = regions[-1]
    return EstargzPlan(
        tar=tar,
        regions=regions,
        toc_offset=last.offset + _stored_size(last),
        toc_size=len(_toc(tar.members, regions, {})),
    )


def _regions(tar: VirtualTar) -> Iterator[Region]:
    stop = tar.content.size - len(_END)
    bounds = []
    position = 0
    for payload in tar.payloads:
        bounds += [(position, payload.offset, False), (payload.offset, payload.offset + payload.size, True)]
        position = payload.offset + payload.size
    offset = 0
    for start, end, is_payload in [*bounds, (position, stop, False)]:
        if start < end:
            region = Region(start=start, stop=end, offset=offset, is_payload=is_payload)
            yield region
            offset += _stored_size(region)


def _stored_size(region: Region) -> int:
    return members_size(region.size, CHUNK_SIZE) if region.is_payload else member_size(region.size)


def _chunk_count(region: Region) -> int:
    return -(-region.size // CHUNK_SIZE) if region.is_payload else 0


def _toc(members: Iterable[TarMember], regions: Iterable[Region], digests: Mapping[int, Digest]) -> bytes:
    """The TOC; of what `digests` does not have by its offset in the tar, a digest as long as any stands in it."""
    offsets = {region.start: region.offset for region in regions if region.is_payload}
    entries = [entry for member in members for entry in _toc_entries(member, offsets.get(member.offset, 0), digests)]
    return compact_json({"version": 1, "entries": entries})


def _toc_entries(member: TarMember, offset: int, digests: Mapping[int, Digest]) -> Iterator[dict[str, Any]]:
    """A member's entry, and one more for each further chunk of it; `offset` is that of its first one in the blob."""
    owner = {"mode": member.mode, "uid": 0, "gid": 0}
    if member.is_folder or not member.size:
        yield {"name": member.name, "type": "dir" if member.is_folder else "reg", **owner}
        return
    for start in range(0, member.size, CHUNK_SIZE):
        digest = str(digests.get(member.offset + start, _UNKNOWN))
        entry: dict[str, Any] = {"name": member.name, "type": "chunk" if start else "reg"}
        if not start:
            entry |= {"size": member.size, **owner}
        entry["offset"] = offset + start // CHUNK_SIZE * member_size(CHUNK_SIZE)
        if member.size <= CHUNK_SIZE:
            entry["digest"] = digest
        if start:
            entry["chunkOffset"] = start
        if start + CHUNK_SIZE < member.size:  # the last one goes to the end
            entry["chunkSize"] = CHUNK_SIZE
        yield {**entry, "chunkDigest": digest}
