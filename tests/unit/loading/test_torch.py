"""Loading with torch, as far as that goes without it: names of dtypes, shapes, devices, and what is asked of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelcar.errors import UsageError, WorldError
from modelcar.loading import load as module
from modelcar.loading.load import load
from tests.support.weights import safetensors_bytes
from tests.unit.loading.fake_torch import FakeTorch

TENSORS = {
    "half": ("BF16", (2, 3), b"abcdefghijkl"),
    "eight": ("F8_E4M3", (3,), b"xyz"),
    "four": ("F4", (2, 4), b"pqrs"),
    "one": ("F32", (), b"\0\0\x80\x3f"),
    "none": ("I64", (0, 5), b""),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(TENSORS))
    return path


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> FakeTorch:
    fake = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", fake)
    monkeypatch.setattr("modelcar.loading.frameworks.find_spec", lambda _: object())
    return fake


def check(loaded: dict[str, Any]) -> None:
    assert {name: (tensor.shape, tensor.tobytes()) for name, tensor in loaded.items()} == {
        "half": ((2, 3), b"abcdefghijkl"),
        "eight": ((3,), b"xyz"),
        "four": ((2, 2), b"pqrs"),
        "one": ((), b"\0\0\x80\x3f"),
        "none": ((0, 5), b""),
    }
    assert loaded["one"].item() == 1.0
    assert loaded["half"].dtype == np.dtype("u2")


def test_torch_is_the_first_choice(file: Path, torch: FakeTorch) -> None:
    check(load(file))


def test_a_torch_that_is_too_old_for_a_dtype(file: Path, torch: FakeTorch) -> None:
    del torch.float8_e4m3fn
    with pytest.raises(UsageError, match=r"^torch 0.0 has no dtype for F8_E4M3$"):
        load(file)


@pytest.mark.parametrize("size", [3, 1 << 20])
@pytest.mark.parametrize("workers", [1, 3])
def test_on_a_device(file: Path, torch: FakeTorch, monkeypatch: pytest.MonkeyPatch, size: int, workers: int) -> None:
    monkeypatch.setattr(module, "READ_SIZE", size)
    loaded = load(file, device="cuda:0", workers=workers)
    check(loaded)
    assert len(torch.current.keeps) == len(TENSORS)  # or their memory could be given away while they are still used
    assert not torch.queue


@pytest.mark.parametrize("name", ["cuda:1", "meta", "gpu"])
def test_a_device_that_is_not_there(file: Path, torch: FakeTorch, name: str) -> None:
    with pytest.raises(UsageError, match=r"device"):
        load(file, device=name)


def test_a_device_without_room(file: Path, torch: FakeTorch) -> None:
    torch.room = 13
    with pytest.raises(WorldError, match=r"^there is no memory for 'eight' on .*: it has 3 bytes$"):
        load(file, device="cuda")
