"""Sizes, and the division into shards, held against what the Hub's own library does."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import split_state_dict_into_shards_factory
from hypothesis import given
from hypothesis import strategies as st

from modelcar.checkpoint import CheckpointFile, Role
from modelcar.conversion.groups import Group
from modelcar.conversion.sharding import shard_tensors
from modelcar.conversion.sizes import parse_size
from modelcar.conversion.tensors import StoredTensor
from modelcar.errors import UsageError
from modelcar.files import FileStamp

STAMP = FileStamp(device=1, inode=1, size=1, mtime_ns=1, ctime_ns=1)
FILE = CheckpointFile(path="pytorch_model.bin", source=Path("/x"), stamp=STAMP, role=Role.WEIGHT, format="pickle")
GROUP = Group(folder="", stem="model", files=(FILE,), pickled=True)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5GB", 5 * 10**9),
        ("500MB", 5 * 10**8),
        ("5GiB", 5 << 30),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("10 MB", 10_000_000),
        ("1TB", 10**12),
        ("7kB", 7000),
        ("7KB", 7000),
        ("12", 12),
        ("12B", 12),
        (12, 12),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "GB", "5Gb", "5G", "-5GB", "5 giga", "0", "0.1B", "1e9", "5GB5", "\N{ARABIC-INDIC DIGIT FIVE}GB", "9" * 30],
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=30), limit=st.integers(1, 40))
def test_shards_are_those_of_the_hubs_library(sizes: list[int], limit: int) -> None:
    tensors = [
        StoredTensor(name=f"t{i}", dtype="U8", shape=(size,), size=size, file=FILE, offset=0)
        for i, size in enumerate(sizes)
    ]
    expected = split_state_dict_into_shards_factory(
        {f"t{i}": size for i, size in enumerate(sizes)},
        get_storage_size=lambda size: size,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=limit,
    )
    shards = shard_tensors(GROUP, tensors, {}, limit)
    assert {shard.path: sorted(t.name for t in shard.tensors) for shard in shards} == {
        path: sorted(names) for path, names in expected.filename_to_tensors.items()
    }
