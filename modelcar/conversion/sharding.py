"""Which tensor goes into which file, as transformers divides a model, and the index over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.checkpoint.formats.header import MAX_HEADER, MAX_METADATA_ENTRIES
from modelcar.checkpoint.formats.safetensors_head import safetensors_head
from modelcar.conversion.groups import Group
from modelcar.conversion.tensors import StoredTensor
from modelcar.errors import SourceError

__all__ = ["Shard", "index_document", "shard_tensors"]

# The order in which the reference writer lays tensors out, so that each is aligned to its own elements.
_ORDER: Final = (
    "U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "F8_E5M2FNUZ", "F8_E4M3FNUZ",
    "F8_E8M0", "F8_E4M3", "F8_E5M2", "I8", "U8", "F6_E3M2", "F6_E2M3", "F4", "BOOL",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A file to be written: `head`, then the tensors, which lie in it as they follow here; `size` in bytes."""

    path: str
    head: bytes
    tensors: tuple[StoredTensor, ...]
    size: int


def shard_tensors(
    group: Group, tensors: Sequence[StoredTensor], metadata: dict[str, str], limit: int | None
) -> list[Shard]:
    """Divide the tensors of a group, in their order: a shard ends where the next tensor would make it exceed `limit`.

    A tensor that is larger than that gets a file of its own. Names that are dropped because another one has the same
    tensor are in the metadata of the file that holds it: `{dropped: kept}`.
    """
    parts = _parts(tensors, limit)
    return [_shard(group.file_name(number, len(parts)), part, metadata) for number, part in enumerate(parts, start=1)]


def _parts(tensors: Sequence[StoredTensor], limit: int | None) -> list[list[StoredTensor]]:
    if limit is None:
        return [list(tensors)]
    parts: list[list[StoredTensor]] = []
    current: list[StoredTensor] = []
    size = 0
    for tensor in tensors:
        if tensor.size > limit:
            parts.append([tensor])
            continue
        if size + tensor.size > limit:
            parts.append(current)
            current, size = [], 0
        current.append(tensor)
        size += tensor.size
    return [*parts, current] if current or not parts else parts


def _shard(path: str, tensors: Sequence[StoredTensor], metadata: dict[str, str]) -> Shard:
    ordered = tuple(sorted(tensors, key=lambda tensor: (_ORDER.index(tensor.dtype), tensor.name)))
    dropped = {alias: tensor.name for tensor in ordered for alias in tensor.aliases}
    head = safetensors_head(((t.name, t.dtype, t.shape, t.size) for t in ordered), dropped | metadata)
    if len(head) > MAX_HEADER or len(dropped) + len(metadata) > MAX_METADATA_ENTRIES:
        raise SourceError(f"the names of tensors in {path} take more room than safetensors has for them")
    return Shard(path=path, head=head, tensors=ordered, size=len(head) + sum(tensor.size for tensor in ordered))


def index_document(shards: Sequence[Shard]) -> bytes:
    """What transformers writes as `model.safetensors.index.json`."""
    weight_map = {tensor.name: shard.path.rpartition("/")[2] for shard in shards for tensor in shard.tensors}
    total = sum(tensor.size for shard in shards for tensor in shard.tensors)
    document = {"metadata": {"total_size": total}, "weight_map": weight_map}
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
