"""Whatever tensors a file has and whatever of them is wanted: what is loaded is what lies there, and nothing more."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelcar.checkpoint.formats.header import Tensor
from modelcar.checkpoint.formats.safetensors import DTYPE_BITS
from modelcar.errors import UsageError
from modelcar.loading.files import DiskFile, Piece
from modelcar.loading.frameworks import RawTensor
from modelcar.loading.load import load, stream
from modelcar.loading.parts import WHOLE, Part, Strips
from modelcar.loading.plan import pieces_of, plan_reads, want
from tests.support.examples import examples
from tests.support.weights import safetensors_bytes

BYTE_DTYPES = sorted(dtype for dtype, bits in DTYPE_BITS.items() if bits % 8 == 0)
shapes = st.lists(st.integers(0, 7), max_size=4).map(tuple)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Tensors in the order in which they lie, aligned or not."""
    tensors = {}
    for name in draw(st.lists(st.text("ab.", min_size=1, max_size=4), unique=True, max_size=6)):
        dtype, shape = draw(st.sampled_from(BYTE_DTYPES)), draw(shapes)
        size = math.prod(shape) * DTYPE_BITS[dtype] // 8
        tensors[name] = (dtype, shape, draw(st.binary(min_size=size, max_size=size)))
    return tensors


@st.composite
def parts(draw: st.DrawFn, shape: tuple[int, ...]) -> Part | None:
    if not shape or draw(st.booleans()):
        return draw(st.sampled_from([WHOLE, None]))
    dim = draw(st.integers(0, len(shape) - 1))
    edges = sorted(draw(st.lists(st.integers(0, shape[dim]), max_size=6)))
    return Part(dim=dim, ranges=tuple(zip(edges[::2], edges[1::2], strict=False)))


def cut(data: bytes, dtype: str, shape: tuple[int, ...], part: Part) -> tuple[tuple[int, ...], bytes]:
    """What numpy makes of it."""
    array = np.frombuffer(data, np.dtype(f"V{DTYPE_BITS[dtype] // 8}")).reshape(shape)
    if part.ranges is not None:
        pieces = [array.take(range(start, stop), axis=part.dim) for start, stop in part.ranges]
        array = np.concatenate([array.take([], axis=part.dim).astype(array.dtype), *pieces], axis=part.dim)
    return array.shape, array.tobytes()


@examples(150)
@given(contents(), st.data(), st.integers(0, 3), st.integers(1, 3))
def test_what_is_loaded_is_what_lies_there(
    tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]], data: st.DataObject, pad: int, workers: int
) -> None:
    chosen = {name: data.draw(parts(shape), label=name) for name, (_, shape, _) in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        file.write_bytes(safetensors_bytes(dict(tensors), pad=pad))
        whole: dict[str, RawTensor] = load(file, framework="raw", workers=workers)
        some: list[tuple[str, RawTensor]] = list(
            stream(file, framework="raw", rank=lambda name, *_: chosen[name], workers=workers, window=0)
        )
    assert {name: (t.dtype, t.shape, bytes(t.data)) for name, t in whole.items()} == dict(tensors)
    wanted = {name: part for name, part in chosen.items() if part is not None}
    assert [name for name, _ in some] == list(wanted)
    for name, tensor in some:
        dtype, shape, content = tensors[name]
        assert (tensor.shape, bytes(tensor.data)) == cut(content, dtype, shape, wanted[name])


class Chunked(DiskFile):
    """A file of which only whole chunks can be read, beginning before it."""

    def __init__(self, file: Path, chunk: int, gap: int) -> None:
        super().__init__(file, file.name)
        self.chunk = chunk
        self.gap = gap  # type: ignore[misc]  # a constant of the class
        self.content = bytes(chunk) + file.read_bytes() + bytes(chunk)

    def unit(self, offset: int) -> tuple[int, int]:
        start = (offset + 1) // self.chunk * self.chunk - 1
        return start, start + self.chunk

    def read_into(self, offset: int, pieces: Iterator[Piece], size: int) -> None:
        assert self.unit(offset)[0] == offset
        assert self.unit(offset + size)[0] == offset + size
        position = self.chunk + offset
        for piece in pieces:
            n = piece if isinstance(piece, int) else len(piece)
            if isinstance(piece, memoryview):
                piece[:] = self.content[position : position + n]
            position += n
        assert position == self.chunk + offset + size


@examples(150)
@given(contents(), st.data(), st.integers(1, 9), st.integers(0, 20), st.integers(1, 40))
def test_reads_are_whole_units_in_order_and_bring_every_byte_once(
    tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]], data: st.DataObject, chunk: int, gap: int, size: int
) -> None:
    chosen = {name: data.draw(parts(shape), label=name) for name, (_, shape, _) in tensors.items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(safetensors_bytes(dict(tensors)))
        file = Chunked(path, chunk, gap)
    wanted = want([file], lambda name, *_: chosen[name])
    memory = [bytearray(w.strips.size) for w in wanted]
    filled = [0] * len(wanted)
    last = -chunk
    for read in plan_reads([file], wanted, size=size):
        assert last <= read.offset
        assert read.size <= max(size, chunk)
        assert read.shares
        last = read.offset + read.size
        targets = [memoryview(memory[s.wanted])[s.start : s.stop] for s in read.shares]
        for share in read.shares:
            assert filled[share.wanted] == share.start
            filled[share.wanted] = share.stop
        file.read_into(read.offset, pieces_of(read, wanted, targets), read.size)
    assert filled == [w.strips.size for w in wanted]
    for w, content in zip(wanted, memory, strict=True):
        dtype, shape, data_ = tensors[w.name]
        part = chosen[w.name]
        assert part is not None
        assert (w.strips.shape, bytes(content)) == cut(data_, dtype, shape, part)


@given(st.sampled_from(["F4", "F6_E2M3"]), st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), st.data())
def test_packed_elements_are_cut_between_bytes_or_not_at_all(
    dtype: str, shape: tuple[int, ...], data: st.DataObject
) -> None:
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits % 8:
        return
    part = data.draw(parts(shape))
    if part is None or part.ranges is None:
        return
    tensor = Tensor(name="t", dtype=dtype, shape=shape, offset=0, size=bits // 8)
    places = np.arange(bits // 8 * 8).reshape(*shape, -1)  # of every bit
    expected: Any = np.concatenate(
        [places.take([], axis=part.dim), *(places.take(range(*edges), axis=part.dim) for edges in part.ranges)],
        axis=part.dim,
    ).reshape(-1)
    bits_each = DTYPE_BITS[dtype] * math.prod(shape[part.dim + 1 :])
    try:
        strips = Strips.of(tensor, part)
    except UsageError:
        edges = {shape[part.dim], *(edge for pair in part.ranges for edge in pair)}
        assert any(edge * bits_each % 8 for edge in edges)
        return
    found = [bit for offset, size in strips.within(*strips.extent) for bit in range(offset * 8, (offset + size) * 8)]
    assert found == list(expected)
