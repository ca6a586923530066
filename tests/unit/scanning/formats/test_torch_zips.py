"""PyTorch's zips: checkpoints of tensors are clean, and no member is taken for numbers that nobody promised."""

from __future__ import annotations

import pickle
import random
import struct

import pytest

from modelcar.scanning.findings import Outcome
from modelcar.scanning.formats.torch_zips import imports_something
from tests.support.scanning import outcome, rules_found
from tests.support.torch_files import state_dict, tensor_members, torch_zip
from tests.support.zips import DEFLATED, Member, make_zip

NUMBERS = struct.pack("<8f", *(random.Random(1).gauss(0, 1) for _ in range(8)))
EVIL = b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R."


def rules(data: bytes) -> set[str]:
    return rules_found("model.pt", data)


@pytest.mark.parametrize("root", ["model", "archive", "a b"])
@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "x.safetensors.zip"])
def test_a_checkpoint_of_tensors_is_clean(root: str, name: str) -> None:
    data = torch_zip({"0": NUMBERS, "1": b"", "12": bytes(100)}, root=root)
    assert rules_found(name, data) == set()


def test_storages_of_all_kinds_have_the_size_that_their_kind_asks_for() -> None:
    kinds = {"FloatStorage": 4, "BFloat16Storage": 2, "HalfStorage": 2, "LongStorage": 8, "BoolStorage": 1}
    pickled = state_dict({kind: (kind, kind, 3) for kind in kinds})
    storages = {kind: bytes([1] * 3 * size) for kind, size in kinds.items()}
    assert rules(torch_zip(storages, pickle=pickled)) == set()
    storages["LongStorage"] += b"\1"
    assert "torch.storage-mismatch" in rules(torch_zip(storages, pickle=pickled))


def test_a_storage_that_nothing_promises_is_scanned() -> None:
    found = rules(torch_zip({"0": NUMBERS}, Member(name=b"model/data/1", data=EVIL)))
    assert "pickle.dangerous-global" in found
    assert rules(torch_zip({"0": NUMBERS}, Member(name=b"model/data/1", data=NUMBERS))) == {"file.unknown-format"}
    assert rules(torch_zip({"0": NUMBERS}, Member(name=b"other/data/0", data=NUMBERS))) == {"file.unknown-format"}


def test_a_storage_that_is_a_pickle_is_scanned_though_it_is_promised() -> None:
    assert outcome("model.pt", torch_zip({"0": EVIL})) is Outcome.MALICIOUS
    assert outcome("model.pt", torch_zip({"0": EVIL + NUMBERS})) is Outcome.MALICIOUS


def test_a_missing_storage() -> None:
    pickled = state_dict({"a": ("FloatStorage", "7", 2)})
    assert rules(torch_zip({}, pickle=pickled)) == {"torch.storage-mismatch"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("version", EVIL),
        ("byteorder", EVIL),
        (".format_version", EVIL),
        (".storage_alignment", EVIL),
        (".data/serialization_id", EVIL),
        ("anything.txt", EVIL),
    ],
)
def test_every_other_member_is_scanned(name: str, content: bytes) -> None:
    members = [m for m in tensor_members("model", {"0": NUMBERS}) if m.name != f"model/{name}".encode()]
    data = make_zip([*members, Member(name=f"model/{name}".encode(), data=content)])
    assert outcome("model.pt", data) is Outcome.MALICIOUS


@pytest.mark.parametrize("name", [b"model/data.pkl", b"model/DATA.PKL", b"other/data.pkl", b"data.pkl"])
@pytest.mark.parametrize("first", [False, True])
def test_a_second_pickle_is_found(name: bytes, first: bool) -> None:
    members = tensor_members("model", {"0": NUMBERS})
    other = [Member(name=name, data=EVIL)]
    data = make_zip([*other, *members] if first else [*members, *other])
    assert rules(data) >= {"torch.several-checkpoints"}
    assert outcome("model.pt", data) is Outcome.MALICIOUS


def test_compressed_members_are_as_good() -> None:
    members = [
        Member(name=m.name, data=m.data, method=DEFLATED) for m in tensor_members("model", {"0": NUMBERS, "1": b"xy"})
    ]
    assert rules(make_zip(members)) == set()


def test_scripts_are_never_clean() -> None:
    constants = Member(name=b"model/constants.pkl", data=b"\x80\x02).")
    assert rules(torch_zip({"0": NUMBERS}, constants)) == {"torch.script"}
    code = Member(name=b"model/code/__torch__.py", data=b"x = 1\n")
    assert rules(torch_zip({"0": NUMBERS}, code)) >= {"torch.script"}


def test_broken_pickles_promise_nothing() -> None:
    found = rules(torch_zip({"0": NUMBERS}, pickle=state_dict({"a": ("FloatStorage", "0", 8)})[:-30]))
    assert {"file.malformed", "file.unknown-format"} <= found


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_are_told_from_numbers(protocol: int) -> None:
    assert imports_something(pickle.dumps(random.Random, protocol) + NUMBERS)
    assert not imports_something(pickle.dumps([1, 2, 3], protocol))


def test_numbers_are_not_taken_for_pickles() -> None:
    numbers = random.Random(2)
    for size in (1, 2, 3, 10, 1000):
        for _ in range(300):
            data = numbers.randbytes(size)
            assert not imports_something(data)
            assert not imports_something(b"\x80\x02" + data)
