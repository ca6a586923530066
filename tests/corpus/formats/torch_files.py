"""What torch.save writes, in each of its three formats, around pickles that are given."""

from __future__ import annotations

import io
import struct
import tarfile
from typing import Final

from tests.corpus.formats.pickles import (
    BINPERSID,
    FALSE,
    MARK,
    NONE,
    SETITEMS,
    TRUE,
    call,
    dictionary,
    glob,
    integer,
    list_of,
    stream,
    text,
    tuple_of,
)
from tests.corpus.formats.zips import Member, zip_of

__all__ = [
    "LEGACY_MAGIC",
    "legacy_file",
    "legacy_prologue",
    "members",
    "storages_bytes",
    "tar_file",
    "tensor",
    "weights",
    "zip_file",
]

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_NUMBERS: Final = struct.pack("<4f", 1, 2, 3, 4)


def tensor(key: str, *, legacy: bool = False) -> bytes:
    """A 2 x 2 tensor of float32 in the storage `key`; before zips, storages could be views and said so."""
    view = [NONE] if legacy else []
    storage = (
        tuple_of(text("storage"), glob("torch", "FloatStorage"), text(key), text("cpu"), integer(4), *view) + BINPERSID
    )
    shape, strides = tuple_of(integer(2), integer(2)), tuple_of(integer(2), integer(1))
    hooks = call(glob("collections", "OrderedDict"))
    return call(glob("torch._utils", "_rebuild_tensor_v2"), storage, integer(0), shape, strides, FALSE, hooks)


def weights(extra: dict[str, bytes] | None = None, *, legacy: bool = False) -> bytes:
    """A state dict of two tensors, storages 0 and 1; `extra` adds what is given, already as opcodes."""
    entries = {"fc.weight": tensor("0", legacy=legacy), "fc.bias": tensor("1", legacy=legacy), **(extra or {})}
    items = b"".join(text(key) + value for key, value in entries.items())
    return call(glob("collections", "OrderedDict")) + MARK + items + SETITEMS


def members(data: bytes, *, top: str = "archive") -> list[Member]:
    """The members of today's format, with `data` for data.pkl."""
    return [
        Member(name=f"{top}/data.pkl", data=data),
        Member(name=f"{top}/byteorder", data=b"little"),
        Member(name=f"{top}/data/0", data=_NUMBERS),
        Member(name=f"{top}/data/1", data=_NUMBERS),
        Member(name=f"{top}/version", data=b"3\n"),
    ]


def zip_file(data: bytes, *more: Member, top: str = "archive") -> bytes:
    return zip_of(*members(data, top=top), *more)


def legacy_prologue() -> bytes:
    """Magic number, protocol and machine: three pickles."""
    sizes = dictionary({"short": integer(2), "int": integer(4), "long": integer(4)})
    machine = dictionary({"protocol_version": integer(1001), "little_endian": TRUE, "type_sizes": sizes})
    return stream(2, integer(LEGACY_MAGIC)) + stream(2, integer(1001)) + stream(2, machine)


def legacy_file(data: bytes, *, keys: bytes | None = None, storages: bytes | None = None) -> bytes:
    """The format before zips: pickles one after another, then the storages' numbers."""
    listed = stream(2, list_of(text("0"), text("1"))) if keys is None else keys
    return legacy_prologue() + data + listed + (storages_bytes() if storages is None else storages)


def storages_bytes() -> bytes:
    return (struct.pack("<q", 4) + _NUMBERS) * 2


def tar_file(*, storages: bytes, pickle: bytes) -> bytes:
    """The oldest format: a tar of four pickled members."""
    out = io.BytesIO()
    machine = stream(2, dictionary({"protocol_version": integer(1000), "little_endian": TRUE}))
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (
            ("sys_info", machine),
            ("pickle", pickle),
            ("tensors", stream(2, integer(0))),
            ("storages", storages),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
