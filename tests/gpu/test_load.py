"""`modelcar.load` and `modelcar.stream` onto a real device, beside safetensors' own loader."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import pytest

from modelcar import load, stream
from modelcar.errors import UsageError, WorldError
from modelcar.loading import load as module
from modelcar.loading.parts import Part
from tests.support.weights import safetensors_bytes

pytestmark = pytest.mark.usefixtures("torch")

MIB: Final = 1 << 20
WIDTHS: Final = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


@pytest.fixture
def every_dtype(tmp_path: Path) -> Path:
    """A tensor of each dtype, some empty, some scalars, none where the device would like it to begin."""
    rng = random.Random(7)
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {"odd": ("U8", (3,), b"abc")}
    for dtype, width in WIDTHS.items():
        data = bytes(rng.getrandbits(1) for _ in range(77)) if dtype == "BOOL" else rng.randbytes(77 * width)
        tensors |= {dtype: (dtype, (7, 11), data), f"{dtype}.one": (dtype, (), data[:width])}
        tensors |= {f"{dtype}.none": (dtype, (0, 5), b""), f"{dtype}.pad": ("U8", (1,), b"x")}
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many reads long, with tensors larger and smaller than one."""
    rng = random.Random(8)
    rows = [1, 37 * MIB, 3, 16 * MIB, *(rng.randrange(1, 5 * MIB) for _ in range(40)), 21 * MIB + 1]
    path = tmp_path_factory.mktemp("large") / "model.safetensors"
    path.write_bytes(safetensors_bytes({f"t{i}": ("U8", (n,), rng.randbytes(n)) for i, n in enumerate(rows)}))
    return path


def bits(torch: Any, tensor: Any) -> bytes:
    """What lies in its memory."""
    return bytes(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).tolist())


def test_every_dtype_is_as_safetensors_has_it(torch: Any, every_dtype: Path) -> None:
    from safetensors.torch import load_file

    ours, theirs = load(every_dtype, device="cuda"), load_file(every_dtype, device="cuda")
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        other = theirs[name]
        assert (tensor.dtype, tensor.shape, tensor.device) == (other.dtype, other.shape, other.device)
        assert bits(torch, tensor) == bits(torch, other), name


@pytest.mark.parametrize("size", [1 << 12, 1 << 20, 16 << 20])
@pytest.mark.parametrize("workers", [1, 8])
def test_a_large_file(torch: Any, large: Path, monkeypatch: pytest.MonkeyPatch, size: int, workers: int) -> None:
    """Buffers are used many times over: one that is filled again too early shows here."""
    if size == 1 << 12 and workers == 8:
        size = 1 << 14
    monkeypatch.setattr(module, "READ_SIZE", size)
    expected = load(large, framework="torch")
    loaded = load(large, device="cuda", workers=workers)
    assert all(torch.equal(tensor.cpu(), expected[name]) for name, tensor in loaded.items())
    assert loaded.keys() == expected.keys()


def test_a_tensor_may_be_used_at_once_on_any_stream(torch: Any, large: Path) -> None:
    """No synchronisation by the program: the stream at hand waits for the bytes by itself."""
    expected = {name: int(tensor.sum(dtype=torch.int64)) for name, tensor in load(large, framework="torch").items()}
    mine = torch.cuda.Stream()
    sums = {}
    with torch.cuda.stream(mine):
        for name, tensor in stream(large, device="cuda", workers=2):
            sums[name] = tensor.sum(dtype=torch.int64)
            del tensor  # and its memory may be given to the next one
    torch.cuda.synchronize()
    assert {name: int(each) for name, each in sums.items()} == expected


def test_what_is_let_go_is_free(torch: Any, large: Path) -> None:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    largest = 0
    for _, tensor in stream(large, device="cuda", window=0, workers=1):
        largest = max(largest, tensor.numel())
        del tensor
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.max_memory_allocated() - before <= 3 * largest + 64 * MIB


def test_slices(torch: Any, large: Path, every_dtype: Path) -> None:
    half = load(large, device="cuda", rank=lambda _n, shape, _d: Part(dim=0, ranges=((0, shape[0] // 2),)))
    whole = load(large, framework="torch")
    assert all(torch.equal(t.cpu(), whole[name][: whole[name].shape[0] // 2]) for name, t in half.items())

    def columns(_name: str, shape: tuple[int, ...], _dtype: str) -> Part | None:
        return Part(dim=1, ranges=((3, 8),)) if shape == (7, 11) else None

    far, near = load(every_dtype, device="cuda", rank=columns), load(every_dtype, framework="torch")
    assert len(far) == len(WIDTHS)
    assert all(bits(torch, t) == bits(torch, near[name][:, 3:8]) for name, t in far.items())


def test_a_device_by_its_number(torch: Any, every_dtype: Path) -> None:
    assert load(every_dtype, device="cuda:0")["odd"].device == torch.device("cuda:0")
    with pytest.raises(UsageError, match="there is no device"):
        load(every_dtype, device=f"cuda:{torch.cuda.device_count()}")


def test_a_device_without_room(torch: Any, large: Path) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(30 * MIB / total)
    try:
        with pytest.raises(WorldError, match="there is no memory for 't"):
            load(large, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(load(large, device="cuda")) == 45
