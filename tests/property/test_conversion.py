"""Any state dict, in either format of torch, comes back equal; any damage ends in one clear error."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelcar.conversion import convert
from modelcar.errors import ModelcarError
from tests.support.examples import examples
from tests.support.safetensors_reader import metadata_of, tensors_of
from tests.support.torch_writer import KINDS, Ordered, Storage, Tensor, legacy, zipped

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=300).filter(lambda name: name != "__metadata__")
MOST = 40  # elements of a storage


@st.composite
def storages(draw: st.DrawFn) -> list[Storage]:
    found = []
    for key in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(sorted(KINDS)))
        size = KINDS[kind][0] * draw(st.integers(1, MOST))
        found.append(Storage(key=str(key), data=draw(st.binary(min_size=size, max_size=size)), kind=kind))
    return found


@st.composite
def views(draw: st.DrawFn, among: list[Storage]) -> Tensor:
    """Any tensor that fits a storage, by sizes, strides and offset drawn so that it does."""
    storage = draw(st.sampled_from(among))
    offset = draw(st.integers(0, storage.count - 1))
    room = storage.count - 1 - offset
    shape, strides = [], []
    for _ in range(draw(st.integers(0, 4))):
        size = draw(st.integers(0, 5))
        stride = draw(st.integers(0, room // (size - 1) if size > 1 else MOST))
        room -= max(0, size - 1) * stride
        shape.append(size)
        strides.append(stride)
    order = draw(st.permutations(range(len(shape))))
    return Tensor(
        storage=storage,
        offset=offset,
        shape=tuple(shape[i] for i in order),
        strides=tuple(strides[i] for i in order),
        function=draw(st.sampled_from(["_rebuild_tensor", "_rebuild_tensor_v2"])),
        parameter=draw(st.booleans()),
    )


@st.composite
def state_dicts(draw: st.DrawFn) -> dict[str, Tensor]:
    among = draw(storages())
    found: dict[str, Tensor] = draw(st.dictionaries(names, views(among), min_size=1, max_size=5))
    return found


def elements(tensor: Tensor) -> bytes:
    """One by one, as the definition of strides has it."""
    assert tensor.strides is not None
    item = KINDS[tensor.storage.kind][0]
    found = b""
    for index in product(*map(range, tensor.shape)):
        at = tensor.offset + sum(i * stride for i, stride in zip(index, tensor.strides, strict=True))
        found += tensor.storage.data[at * item : (at + 1) * item]
    return found


def files(value: Any, tensors: Mapping[str, Tensor]) -> tuple[bytes, bytes]:
    used = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    zip_file = zipped(value, {key: storage.data for key, storage in used.items()})
    return zip_file, legacy(value, {key: (storage.count, storage.data) for key, storage in used.items()})


def check(content: bytes, tensors: Mapping[str, Tensor]) -> None:
    with TemporaryDirectory() as name:
        file, out = Path(name) / "x.bin", Path(name) / "out"
        file.write_bytes(content)
        done = convert(file, out)
        found = tensors_of(out / "x.safetensors")
        for key, tensor in tensors.items():
            dtype = KINDS[tensor.storage.kind][1]
            assert found[done.dropped.get(key, key)] == (dtype, tensor.shape, elements(tensor))
        assert found.keys() | done.dropped.keys() == tensors.keys()
        for dropped, kept in done.dropped.items():
            assert kept < dropped
            assert metadata_of(out / "x.safetensors").get(dropped) in (kept, "pt" if dropped == "format" else kept)


@given(tensors=state_dicts(), wrapped=st.sampled_from(["plain", "ordered", "pairs", "state_dict"]))
@examples(60)
def test_what_was_saved_is_there(tensors: dict[str, Tensor], wrapped: str) -> None:
    items = tuple(tensors.items())
    value: Any = {
        "plain": tensors,
        "ordered": Ordered(items),
        "pairs": Ordered(items, from_pairs=True),
        "state_dict": {"step": 3, "state_dict": Ordered(items)},
    }[wrapped]
    for content in files(value, tensors):
        check(content, tensors)


@given(data=st.data(), tensors=state_dicts())
@examples(150)
def test_damage_is_refused_or_harmless(data: st.DataObject, tensors: dict[str, Tensor]) -> None:
    content = bytearray(data.draw(st.sampled_from(files(tensors, tensors))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        content = content or bytearray(b"\0")
    survives(bytes(content))


@given(numbers=st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-3, 50), min_size=7, max_size=7))
@examples(150)
def test_tensors_that_lie(numbers: list[int]) -> None:
    """Whatever the pickle says of a tensor, nothing outside of its storage is read."""
    storage = Storage(key="0", data=struct.pack("<6f", *range(6)))
    tensor = Tensor(storage=storage, shape=tuple(numbers[:3]), strides=tuple(numbers[3:6]), offset=numbers[6])
    for content in files({"w": tensor}, {"w": tensor}):
        survives(content)
    lying = replace(tensor, storage=replace(storage, elements=numbers[0]), shape=(2, 3), strides=(3, 1), offset=0)
    survives(zipped({"w": lying}, {"0": storage.data}))


def survives(content: bytes) -> None:
    """It is converted, or refused in one line, with nothing left behind."""
    with TemporaryDirectory() as name:
        file, out = Path(name) / "x.bin", Path(name) / "out"
        file.write_bytes(content)
        refusal = _refusal(file, out)
        if refusal is not None:
            assert refusal.isprintable()
            assert list(Path(name).iterdir()) == [file]
            return
        for _, shape, data in tensors_of(out / "x.safetensors").values():
            assert data or 0 in shape


def _refusal(file: Path, out: Path) -> str | None:
    try:
        convert(file, out)
    except ModelcarError as e:
        return str(e)
    return None
