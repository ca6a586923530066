"""Checkpoints as torch wrote them before 1.6: five pickles, then the storages.

The pickles are a magic number, a version, facts about the machine, the objects, and the keys of the storages in the
order in which those follow: the number of elements as 64 bits, then the elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.findings import shown
from modelcar.scanning.formats.pickles.machine import Handler
from modelcar.scanning.formats.pickles.opcodes import OPCODES
from modelcar.scanning.formats.pickles.rules import PERSISTENT, STORAGE
from modelcar.scanning.formats.pickles.torch_storages import promised
from modelcar.scanning.formats.pickles.values import Box, constant, items_of
from modelcar.scanning.formats.pickles.vetted_torch import Storage
from modelcar.scanning.formats.pickles.walk import Walked, walk

__all__ = ["Legacy", "is_legacy_torch", "read_legacy_torch", "scan_legacy_torch"]

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_VERSION: Final = 1001
_COUNT: Final = 8  # bytes


def is_legacy_torch(first: Walked) -> bool:
    return constant(first.result) == _MAGIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Legacy:
    """What lies behind the magic number.

    Attributes:
        machine: facts about the machine that wrote it, a dict.
        objects: what was saved.
        places: of each storage, by its key: the bytes of the file that are its elements.
    """

    machine: Walked
    objects: Walked
    places: dict[str, range]


def scan_legacy_torch(scan: FileScan, first: Walked) -> None:
    """Everything behind the magic number.

    Raises:
        Malformed: a part is not what torch writes there.
    """
    read_legacy_torch(scan, first)


def read_legacy_torch(scan: FileScan, first: Walked, *, handlers: Sequence[Handler] = OPCODES) -> Legacy:
    """As `scan_legacy_torch`; `handlers` are those for the pickle of the objects."""
    version = walk(scan, first.end)
    if constant(version.result) != _VERSION:
        raise Malformed("its version is not the one that torch knows", version.start)
    machine = walk(scan, version.end)
    if not isinstance(machine.result, Box):
        raise Malformed("what should tell of the machine does not", machine.start)
    objects = walk(scan, machine.end, handlers=handlers)
    order = walk(scan, objects.end)
    for other in (first, version, machine, order):
        for persistent in other.persistent[:1]:
            scan.found(PERSISTENT, offset=persistent.offset)
    places = _account_for_storages(scan, order, promised(scan, objects))
    return Legacy(machine=machine, objects=objects, places=places)


def _account_for_storages(scan: FileScan, order: Walked, known: dict[str, Storage | None]) -> dict[str, range]:
    keys = items_of(order.result)
    if keys is None:
        raise Malformed("the keys of the storages are no list", order.start)
    places: dict[str, range] = {}
    position = order.end
    for key in map(constant, keys):
        scan.budget.check_time()
        storage = known.pop(key, None) if isinstance(key, str) else None
        if storage is None:
            raise Malformed("a storage follows that no tensor uses, or twice", position)
        elements = int.from_bytes(scan.read(position, _COUNT), "little", signed=True)
        if elements != storage.elements or position + _COUNT + storage.size > scan.size:
            raise Malformed(f"storage {shown(storage.key)} does not have {storage.elements} elements", position)
        scan.account(position, _COUNT + storage.size)
        start, position = position + _COUNT, position + _COUNT + storage.size
        places[storage.key] = range(start, position)
    for missing in known:
        scan.found(STORAGE, f"storage {shown(missing)} is missing", offset=order.start)
        break
    return places
