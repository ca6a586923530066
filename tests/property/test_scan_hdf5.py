"""HDF5: damage neither fails a scan nor hides a configuration, and bytes that are added are noticed."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

import h5py
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelcar.scanning.formats.hdf5.scan import FORMATS
from tests.support.containers import found_in, rules_in
from tests.support.examples import examples

LAYER = {"module": "keras.utils", "class_name": "function", "config": "get_file"}
ATTACK = json.dumps({"class_name": "Sequential", "config": {"layers": [LAYER]}})
SIZES = [1, 2, 4, 8]


@cache
def original(kind: str) -> bytes:
    buffer = io.BytesIO()
    options: dict[str, Any] = {"new": {"libver": "latest"}}.get(kind, {})
    with h5py.File(buffer, "w", **options) as file:
        file.attrs["model_config"] = ATTACK
        for i in range(12 if kind == "old" else 3):
            file.create_dataset(f"layers/{i}/kernel", data=np.arange(9.0).reshape(3, 3))
        file.create_dataset("texts", data=["a", "bc"], dtype=h5py.string_dtype())
        if kind == "old":
            file.create_dataset("chunks", data=np.arange(99.0), chunks=(7,), compression="gzip")
    return buffer.getvalue()


changes = st.lists(
    st.tuples(st.floats(0, 0.999), st.sampled_from(SIZES), st.sampled_from([0, 1, 2, 255, 2**31, 2**63, 2**64 - 1])),
    min_size=1,
    max_size=6,
)


@examples(600)
@given(st.sampled_from(["old", "new"]), changes)
def test_damage_is_survived_and_hides_nothing(kind: str, damage: list[tuple[float, int, int]]) -> None:
    data = bytearray(original(kind))
    config = bytes(data).index(ATTACK.encode())
    for where, size, value in damage:
        at = int(where * len(data))
        if at + size <= config or at >= config + len(ATTACK):
            data[at : at + size] = (value % 256**size).to_bytes(size, "little")[: len(data) - at]
    rules = rules_in(FORMATS, bytes(data))
    assert "scan.failed" not in rules
    if data.startswith(b"\x89HDF\r\n\x1a\n"):
        # What damage makes an empty space of is no configuration to HDF5 either: it is said to be unaccounted for.
        assert rules & {"keras.foreign-call", "file.unaccounted-bytes"}


def test_an_attribute_that_became_empty_space_is_unaccounted_for() -> None:
    data = bytearray(original("new"))
    header = bytes(data).index(b"\x0c\x3e\x00\x00", data.index(b"OHDR"))  # the message's type, size and flags
    data[header] = 0
    assert "file.unaccounted-bytes" in rules_in(FORMATS, bytes(data))


@given(st.sampled_from(["old", "new"]), st.floats(0, 1), st.binary(min_size=1, max_size=30))
def test_bytes_that_are_added_are_noticed(kind: str, where: float, more: bytes) -> None:
    data = original(kind)
    before = {(finding.rule.id, finding.detail) for finding in found_in(FORMATS, data)}
    at = int(where * len(data))
    after = {(finding.rule.id, finding.detail) for finding in found_in(FORMATS, data[:at] + more + data[at:])}
    assert after - before


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data: bytes) -> None:
    for start in (b"\x89HDF\r\n\x1a\n", original("old")[:96], original("new")[:48]):
        assert "scan.failed" not in rules_in(FORMATS, start + data)
