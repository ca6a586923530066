"""Byte maps against bytes, virtual tars against an independent writer, chunks and packing against their definitions."""

from __future__ import annotations

import hashlib
import os
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from modelcar.layers.bytemap import ByteMap, FileSlice, Segment
from modelcar.layers.hashing import CHUNK_SIZE, chunk_bounds, hash_layer
from modelcar.layers.plan import pack
from modelcar.layers.tar import ALIGN_FROM, ALIGNMENT, Entry, Payload, build_tar
from tests.golden.independent_tar import chunk_table, write_layer
from tests.support.examples import examples
from tests.support.trees import Source, segment_bytes, segments_of, trees

_tmp = examples(100, HealthCheck.function_scoped_fixture)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("sources")
    return [Source(folder / str(size), os.urandom(size)) for size in (1, 700, 70_000)]


@_tmp
@given(st.data())
def test_byte_maps_read_as_the_bytes_they_stand_for(sources: list[Source], data: st.DataObject) -> None:
    segments: list[Segment] = data.draw(segments_of(sources))
    reference = b"".join(map(segment_bytes, segments))
    content = ByteMap(segments)
    assert content.size == len(reference)
    offset = data.draw(st.integers(0, len(reference)))
    length = data.draw(st.integers(0, len(reference) - offset))
    wanted = reference[offset : offset + length]

    assert b"".join(map(segment_bytes, content.segments(offset, length))) == wanted
    assert sum(s.size for s in content.segments(offset, length)) == length
    with content.open(offset, length) as reader:
        assert reader.read() == wanted
        assert reader.read() == b""
    with content.open(offset) as reader:
        assert reader.read(length) == wanted
        assert reader.remaining == len(reference) - offset - length
    with content.open(offset, length) as reader:
        step = data.draw(st.integers(1, max(1, length)))
        assert b"".join(iter(lambda: reader.read(step), b"")) == wanted
    with content.open(offset, length) as reader:
        skip = data.draw(st.integers(0, length))
        taken = reader.read(skip)
        taken += b"".join(os.pread(p.fd, p.size, p.offset) if isinstance(p, FileSlice) else p for p in reader.slices())
        assert taken == wanted
    clipped = ByteMap(list(content.segments(offset, length)))
    assert clipped.size == length


@_tmp
@given(st.data())
def test_ranges_outside_a_blob_are_refused(sources: list[Source], data: st.DataObject) -> None:
    content = ByteMap(data.draw(segments_of(sources)))
    offset = data.draw(st.integers(-10, content.size + 10))
    length = data.draw(st.none() | st.integers(-10, content.size + 10))
    if offset >= 0 and 0 <= (content.size - offset if length is None else length) <= content.size - offset:
        assert content.open(offset, length).remaining == sum(s.size for s in content.segments(offset, length))
        return
    with pytest.raises(ValueError, match="not within"):
        content.open(offset, length)
    with pytest.raises(ValueError, match="not within"):
        content.segments(offset, length)


@examples(150)
@given(trees())
def test_layers_equal_what_an_independent_writer_makes(entries: list[Entry]) -> None:
    layer = build_tar(entries)
    written, payloads = write_layer({e.path: (segment_bytes(e.content), e.executable) for e in entries})
    with layer.content.open() as reader:
        assert reader.read() == written
    assert [(p.path, p.offset, p.size) for p in layer.payloads] == payloads
    assert build_tar(reversed(entries)) == layer
    for payload in layer.payloads:
        assert payload.size < ALIGN_FROM or payload.offset % ALIGNMENT == 0

    digests = hash_layer(layer, content_digests=lambda p: len(p.path) % 2 == 0)
    assert digests.digest.hex == hashlib.sha256(written).hexdigest()
    assert [(c.offset, c.size) for c in digests.chunks] == chunk_table(len(written), payloads)
    for chunk in digests.chunks:
        assert chunk.digest.hex == hashlib.sha256(written[chunk.offset : chunk.offset + chunk.size]).hexdigest()
    assert {path: d.hex for path, d in digests.files.items()} == {
        e.path: hashlib.sha256(segment_bytes(e.content)).hexdigest() for e in entries if len(e.path) % 2 == 0
    }


@given(st.lists(st.tuples(st.integers(0, 2 * CHUNK_SIZE), st.integers(0, 3 * CHUNK_SIZE)), max_size=6), st.integers(0))
def test_chunks_tile_any_blob(gaps: list[tuple[int, int]], tail: int) -> None:
    position = 0
    payloads: list[Payload] = []
    for gap, size in gaps:
        payloads.append(Payload(path=str(len(payloads)), offset=position + gap, size=size))
        position += gap + size
    blob_size = position + tail % (2 * CHUNK_SIZE)
    chunks = list(chunk_bounds(blob_size, payloads))
    assert [offset for offset, _ in chunks] == [sum(s for _, s in chunks[:i]) for i in range(len(chunks))]
    assert sum(size for _, size in chunks) == blob_size
    assert all(0 < size <= CHUNK_SIZE for _, size in chunks)
    for payload in payloads:  # cut from their own start, whatever precedes them
        inside = [(o - payload.offset, s) for o, s in chunks if payload.offset <= o < payload.offset + payload.size]
        assert inside == list(chunk_bounds(payload.size, []))


@given(st.lists(st.integers(0, 3) | st.integers(0, 1 << 40), max_size=40), st.integers(1, 45))
def test_packing(sizes: list[int], limit: int) -> None:
    runs = pack(sizes, limit)
    assert [i for run in runs for i in run] == list(range(len(sizes)))  # order kept, nothing lost, none empty
    assert len(runs) == min(len(sizes), limit)  # the limit is kept and no more is merged than it demands
    assert runs == merged_one_by_one(sizes, limit)


def merged_one_by_one(sizes: list[int], limit: int) -> list[range]:
    """The definition: as long as there are too many, the first of the smallest pairs of neighbours becomes one."""
    runs = [range(i, i + 1) for i in range(len(sizes))]
    while len(runs) > limit:
        sums = [sum(sizes[left.start : right.stop]) for left, right in pairwise(runs)]
        i = sums.index(min(sums))
        runs[i : i + 2] = [range(runs[i].start, runs[i + 1].stop)]
    return runs


def test_packing_tens_of_thousands_of_files_takes_no_time_to_speak_of() -> None:
    """Compared with each other again after every merger they would take an hour."""
    runs = pack([i * 7919 % 1009 for i in range(30_000)], 57)
    assert len(runs) == 57
