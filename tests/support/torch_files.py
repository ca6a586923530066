"""Checkpoints as torch.save writes them, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.zips import Member, extra, make_zip

__all__ = ["state_dict", "tensor_members", "torch_zip"]

_SIZES = {"FloatStorage": 4, "BFloat16Storage": 2, "ByteStorage": 1, "LongStorage": 8}


def state_dict(tensors: Mapping[str, tuple[str, str, int]]) -> bytes:
    """The pickle of a dictionary of flat tensors: name -> (class of the storage, its key, elements)."""
    body = b"".join(_text(name) + _tensor(*tensor) for name, tensor in tensors.items())
    return b"\x80\x02}(" + body + b"u."


def _tensor(storage: str, key: str, elements: int) -> bytes:
    persistent = (
        b"(" + _text("storage") + _global("torch", storage) + _text(key) + _text("cpu") + _int(elements) + b"tQ"
    )
    hooks = _global("collections", "OrderedDict") + b")R"
    arguments = b"(" + persistent + _int(0) + _int(elements) + b"\x85" + _int(1) + b"\x85" + b"\x89" + hooks + b"t"
    return _global("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    return b"X" + len(text.encode()).to_bytes(4, "little") + text.encode()


def _int(number: int) -> bytes:
    return b"J" + number.to_bytes(4, "little")


def tensor_members(root: str, storages: Mapping[str, bytes], pickle: bytes | None = None) -> list[Member]:
    """The members of a checkpoint whose storages hold bytes, each of a tensor `t<key>` if no other pickle is given."""
    if pickle is None:
        pickle = state_dict({f"t{key}": ("ByteStorage", key, len(data)) for key, data in storages.items()})
    notes = {"byteorder": b"little", "version": b"3\n", ".data/serialization_id": b"0123456789" * 4}
    files = {
        "data.pkl": pickle,
        ".format_version": b"1",
        ".storage_alignment": b"64",
        **{f"data/{key}": data for key, data in storages.items()},
        **notes,
    }
    return [
        Member(
            name=f"{root}/{name}".encode(),
            data=data,
            flags=0x0800,
            descriptor="<LL" if data else None,
            local={"extra": extra(0x4246, b"Z" * 13)},
        )
        for name, data in files.items()
    ]


def torch_zip(storages: Mapping[str, bytes], *more: Member, root: str = "model", pickle: bytes | None = None) -> bytes:
    """A whole checkpoint, with further members behind its own."""
    members: Sequence[Member] = [*tensor_members(root, storages, pickle), *more]
    return make_zip(members, large_end={})
