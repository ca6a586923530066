"""HDF5: what Keras and h5py write is clean, configurations are found wherever they stand, nothing else hides."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from modelcar.scanning.findings import Outcome
from tests.support.scanning import findings_in, outcome, rules_found
from tests.support.tars import make_tar
from tests.support.zips import Member, make_zip

Fill = Callable[[Any], object]
DENSE = {"class_name": "Dense", "config": {"units": 1}, "module": "keras.layers"}
ATTACK = json.dumps(
    {
        "class_name": "Sequential",
        "config": {"layers": [{"module": "os", "class_name": "function", "config": "system"}]},
    }
)


def hdf5(fill: Fill, **options: Any) -> bytes:
    """What h5py writes of a file that `fill` has filled."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def rules(data: bytes) -> set[str]:
    return rules_found("model.h5", data)


def keras_weights(file: Any) -> None:
    """Groups, datasets and attributes as Keras 3 saves them."""
    for i in range(30):
        group = file.create_group(f"layers/dense_{i}/vars")
        group.attrs["name"] = f"dense_{i}"
        group.create_dataset("0", data=np.random.default_rng(i).normal(size=(7, 5)).astype("f4"))
        group.create_dataset("1", data=np.zeros(5, "f4"))
    file.create_group("optimizer/vars").create_dataset("0", data=np.int32(5))


def keras_model(file: Any) -> None:
    """The same for the older format, with texts of fixed and of any length."""
    file.attrs["keras_version"] = "2.15.0"
    file.attrs["backend"] = np.bytes_(b"tensorflow")
    file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": [DENSE] * 100}})
    group = file.create_group("model_weights/dense")
    group.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
    group.create_dataset("dense/kernel:0", data=np.ones((3, 4), "f4"))


def nothing(file: Any) -> None:
    """An empty file."""


@pytest.mark.parametrize("fill", [keras_weights, keras_model, nothing])
def test_what_keras_writes_is_clean(fill: Fill) -> None:
    assert findings_in("model.h5", hdf5(fill)) == ()


@pytest.mark.parametrize("options", [{"libver": ("v108", "v108")}, {"libver": "latest"}, {"track_order": True}])
@pytest.mark.parametrize("fill", [keras_model, nothing])
def test_newer_headers_are_read_too(fill: Fill, options: dict[str, Any]) -> None:
    assert findings_in("model.h5", hdf5(fill, **options)) == ()


def test_weights_in_a_keras_archive_are_clean() -> None:
    config = Member(name=b"config.json", data=json.dumps(DENSE).encode())
    archive = make_zip([config, Member(name=b"model.weights.h5", data=hdf5(keras_weights))])
    assert rules_found("model.keras", archive) == set()


def many(file: Any) -> None:
    for i in np.random.default_rng(1).permutation(600):
        file.create_dataset(f"weight_{i}", data=np.arange(3.0))


KINDS = ["?", "i1", "<i8", ">u4", "f2", "<f4", "f8", "c8", "S7"]
STRUCTURE = np.dtype([("a", "f4"), ("b", "i8", (2,)), ("c", "S3"), ("d", [("e", "?")])])


@pytest.mark.parametrize(
    "fill",
    [
        many,
        lambda f: [f.create_dataset(f"d{i}", data=np.ones((2, 3), kind)) for i, kind in enumerate(KINDS)],
        lambda f: f.create_dataset("x", data=np.zeros(3, STRUCTURE)),
        lambda f: f.create_dataset("x", data=np.array(["a", "bcd", ""], dtype=object), dtype=h5py.string_dtype()),
        lambda f: f.create_dataset("x", shape=(0, 4), dtype="f4"),
        lambda f: f.create_dataset("x", shape=(9, 4), dtype="f4", fillvalue=7.0),
        lambda f: f.create_dataset("x", data=h5py.Empty("f4")),
        lambda f: f.create_dataset("x", data=np.ones((100, 77)), chunks=(30, 40)),
        lambda f: f.create_dataset("x", data=np.ones((1000, 50)), chunks=(3, 7)),
        lambda f: f.create_dataset("x", data=np.ones((100, 77)), compression="gzip", shuffle=True, fletcher32=True),
        lambda f: f.create_dataset("x", data=np.ones((100, 77)), compression="gzip"),
        lambda f: f.create_dataset("x", data=["a", "bcd"] * 50, dtype=h5py.string_dtype(), compression="gzip"),
        lambda f: [f.attrs.__setitem__(f"a{i}", np.arange(i)) for i in range(7)],
        lambda f: f.attrs.update({"a": True, "b": 1 + 2j, "c": h5py.Empty("f4"), "d": "", "e": ["ab", "c"]}),
        lambda f: [
            f.create_dataset("x", data=1),
            f.__setitem__("soft", h5py.SoftLink("/x")),
            f.__setitem__("y", f["x"]),
        ],
    ],
)
def test_what_h5py_writes_of_numbers_and_texts_is_clean(fill: Fill) -> None:
    assert findings_in("data.bin", hdf5(fill)) == ()


def test_a_block_of_the_users_has_to_be_empty() -> None:
    data = hdf5(keras_weights, userblock_size=1024)
    assert rules(data) == set()
    assert rules(b"payload".ljust(1024, b"\0") + data[1024:]) == {"file.unaccounted-bytes"}
    assert "file.several-formats" in rules(b"\x80\x02cos\nsystem\n.".ljust(1024, b"\0") + data[1024:])


def test_archives_are_not_taken_for_blocks_of_the_users() -> None:
    data = hdf5(keras_weights)
    assert rules_found("model.tar", make_tar({"model.h5": data})) == set()
    padding = {"extra": struct.pack("<HH", 0x4246, 474) + b"Z" * 474}
    assert rules_found("model.zip", make_zip([Member(name=b"a.h5", data=data, local=padding)])) == set()
    assert "file.several-formats" in rules(make_zip([Member(name=b"a.h5", data=data, local=padding)]))


@pytest.mark.parametrize(
    "fill",
    [
        lambda f: f.attrs.__setitem__("model_config", ATTACK),
        lambda f: f.attrs.__setitem__("model_config", np.bytes_(ATTACK.encode())),
        lambda f: f.attrs.__setitem__("anything", " " + ATTACK),
        lambda f: f.create_group("a/b").attrs.__setitem__("c", ["x", ATTACK]),
        lambda f: f.create_dataset("x", data=ATTACK),
        lambda f: f.create_dataset("x", data=[ATTACK] * 3, dtype=h5py.string_dtype(), chunks=(2,)),
        lambda f: f.create_dataset("x", data=np.array([ATTACK.encode()] * 3), compression="gzip"),
        lambda f: f.create_dataset("x", data=1).attrs.__setitem__("model_config", ATTACK),
        lambda f: f.attrs.__setitem__("model_config", ATTACK.replace("class_name", "\\u0063lass_name")),
    ],
)
def test_configurations_are_found_wherever_they_stand(fill: Fill) -> None:
    assert rules(hdf5(fill)) == {"keras.foreign-call"}


def test_a_part_that_is_not_read_hides_no_configuration() -> None:
    def fill(file: Any) -> None:
        file.attrs["model_config"] = ATTACK
        file.create_dataset("chunks", data=np.ones((50, 50)), chunks=(7, 7))
        for i in range(20):
            file.attrs[f"a{i}"] = "b" * 20

    found = rules(hdf5(fill, libver="latest"))
    assert found == {"hdf5.not-read", "keras.foreign-call"}


def test_damage_hides_no_configuration() -> None:
    data = hdf5(lambda f: f.attrs.__setitem__("model_config", ATTACK))
    for at in (8, 40, 96, 100, data.index(b"TREE"), data.index(b"HEAP"), data.index(b"GCOL")):
        damaged = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        assert outcome("model.h5", damaged) is Outcome.MALICIOUS


@pytest.mark.parametrize(
    "fill",
    [
        lambda f: f.attrs.__setitem__("x", np.void(b"\x80\x04N.")),
        lambda f: f.create_dataset("x", data=np.void(b"\x80\x04N.")),
        lambda f: f.create_dataset("x", (3,), dtype=h5py.vlen_dtype("i4")),
        lambda f: f.attrs.__setitem__("x", f.create_group("g").ref),
        lambda f: [f.__setitem__("t", np.dtype("f8")), f.create_dataset("x", (3,), dtype=f["t"])],
    ],
)
def test_what_is_neither_number_nor_text_is_not_read(fill: Fill) -> None:
    assert rules(hdf5(fill)) == {"hdf5.not-read"}


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.h5"])
def test_files_outside_of_the_model(name: str) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource(name, "x", shape=(4,))
    fills: list[Fill] = [
        lambda f: f.__setitem__("x", h5py.ExternalLink(name, "/x")),
        lambda f: f.create_dataset("x", shape=(4,), dtype="u1", external=[(name, 0, 4)]),
        lambda f: f.create_virtual_dataset("x", layout),
    ]
    for fill in fills:
        assert "hdf5.file-outside" in rules(hdf5(fill))


def test_files_beside_the_model() -> None:
    assert "hdf5.other-file" in rules(hdf5(lambda f: f.__setitem__("x", h5py.ExternalLink("other.h5", "/x"))))
    data = hdf5(lambda f: f.create_dataset("x", shape=(4,), dtype="u1", external=[("other.bin", 0, 4)]))
    assert rules(data) == {"hdf5.other-file"}


@pytest.mark.parametrize("options", [{"compression": "lzf"}, {"scaleoffset": 2}])
def test_filters_that_nobody_knows(options: dict[str, Any]) -> None:
    data = hdf5(lambda f: f.create_dataset("x", data=np.ones((90, 90), "i4"), chunks=(9, 9), **options))
    assert rules(data) == {"hdf5.filter"}


def test_what_was_removed_is_unaccounted_for() -> None:
    def fill(file: Any) -> None:
        file.create_dataset("evil", data=np.frombuffer(b"payload!" * 100, "u1"))
        file.create_dataset("x", data=np.ones(5))
        del file["evil"]

    assert rules(hdf5(fill)) == {"file.unaccounted-bytes"}


def test_what_follows_is_refused() -> None:
    assert rules(hdf5(keras_weights) + b"payload") == {"file.malformed"}


def test_room_that_is_not_used_has_to_be_empty() -> None:
    data = bytearray(hdf5(keras_model))
    for signature, distance in ((b"TREE", 500), (b"SNOD", 320), (b"HEAP", 32 + 80), (b"GCOL", 16_000)):
        at = data.index(signature) + distance
        if at < len(data) and data[at] == 0:
            spoiled = data[:at] + b"\x01" + data[at + 1 :]
            assert rules(bytes(spoiled)), signature


def test_a_chunk_has_to_be_what_it_decompresses_to() -> None:
    numbers = np.arange(64 * 64, dtype="<f8").reshape(64, 64)
    data = hdf5(lambda f: f.create_dataset("x", data=numbers, chunks=(64, 64), compression="gzip", compression_opts=1))
    at = next(at for at in range(len(data)) if data[at : at + 2] == b"x\x01")
    stream = zlib.decompressobj()
    assert stream.decompress(data[at:]) == numbers.tobytes()
    size = len(data) - at - len(stream.unused_data)
    shorter = zlib.compress(numbers.tobytes(), 9)
    assert len(shorter) < size
    spoiled = data[:at] + shorter.ljust(size, b"\x01") + data[at + size :]
    assert rules(spoiled) == {"file.malformed"}
