"""Sizes, and the division into shards, held against what the Hub's own library does."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import split_state_dict_into_shards_factory
from hypothesis import given
from hypothesis import strategies as st

from modelcar.checkpoint import CheckpointFile, Role
from modelcar.conversion.groups import Group
from modelcar.conversion.sharding import shard_tensors
from modelcar.conversion.tensors import StoredTensor
from modelcar.files import FileStamp

STAMP = FileStamp(device=1, inode=1, size=1, mtime_ns=1, ctime_ns=1)
FILE = CheckpointFile(path="pytorch_model.bin", source=Path("/x"), stamp=STAMP, role=Role.WEIGHT, format="pickle")
GROUP = Group(folder="", stem="model", files=(FILE,), pickled=True)


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
