"""Object headers: the messages that say what a group or a dataset is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modelcar.scanning.filescan import Malformed
from modelcar.scanning.formats.hdf5.file import Fields, Hdf5
from modelcar.scanning.formats.hdf5.rules import NotRead

__all__ = [
    "ATTRIBUTE",
    "ATTRIBUTES",
    "EXTERNAL_FILES",
    "FILL",
    "FILTERS",
    "LAYOUT",
    "LINK",
    "LINKS",
    "OLD_FILL",
    "SHAPE",
    "SYMBOLS",
    "TYPE",
    "Message",
    "read_messages",
]

SHAPE, LINKS, TYPE, OLD_FILL, FILL, LINK, EXTERNAL_FILES, LAYOUT = 1, 2, 3, 4, 5, 6, 7, 8
FILTERS, ATTRIBUTE, SYMBOLS, ATTRIBUTES = 0x0B, 0x0C, 0x11, 0x15
_NOTHING, _CONTINUATION = 0, 0x10
_SHARED: Final = 0x02
_MOST_MESSAGES: Final = 65_535
_CHECKSUM: Final = 4  # bytes; nothing can hide in them


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`body` lies at `address`; whoever understands it accounts for it."""

    kind: int
    address: int
    body: bytes

    def fields(self) -> Fields:
        return Fields(self.body, self.address)

    def account(self, file: Hdf5, size: int) -> None:
        """Say that the first `size` bytes were understood, and so is the rest if it is all zeros."""
        file.account(self.address, size)
        file.account_for_zeros(self.address + size, len(self.body) - size)


def read_messages(file: Hdf5, address: int) -> list[Message]:
    """All messages of the header at `address`.

    Raises:
        Malformed: it is no header, or of a kind that is not read here.
    """
    file.visit(address)
    start = file.read(address, 4)
    return _new(file, address) if start == b"OHDR" else _old(file, address)


def _old(file: Hdf5, address: int) -> list[Message]:
    fields = file.fields(address, 16)
    fields.expect(b"\x01\0")
    count, _, size = fields.number(2), fields.number(4), fields.number(4)
    header = _Header(file, blocks=[(address + 16, size)])
    for start, length in header.blocks:  # grows meanwhile
        header.read_block(start, start + length, head_size=8, kind_size=2)
    if header.count != count:
        raise Malformed(f"a header has {header.count} messages in place of {count}", file.offset(address))
    return header.messages


def _new(file: Hdf5, address: int) -> list[Message]:
    fields = file.fields(address, 6)
    fields.expect(b"OHDR\x02")
    flags = fields.number(1)
    at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    file.account(address + 6, at + width - address - 6)
    size = int.from_bytes(file.read(at, width), "little")
    header = _Header(file, blocks=[(at + width, size + _CHECKSUM)])
    for i, (start, length) in enumerate(header.blocks):  # grows meanwhile
        if i:
            file.fields(start, 4).expect(b"OCHK")
        end = start + length - _CHECKSUM
        file.account(end, _CHECKSUM)
        header.read_block(start + (4 if i else 0), end, head_size=6 if flags & 0x04 else 4, kind_size=1)
    return header.messages


class _Header:
    """The messages of one header, as they are collected from its blocks."""

    def __init__(self, file: Hdf5, blocks: list[tuple[int, int]]) -> None:
        self.messages: list[Message] = []
        self.count = 0
        self.blocks = blocks
        self._file = file

    def read_block(self, at: int, end: int, *, head_size: int, kind_size: int) -> None:
        """Read the messages in `[at, end)`, and note the blocks that they lead to."""
        file = self._file
        while at + head_size <= end:
            head = file.fields(at, head_size)
            kind, size, flags = head.number(kind_size), head.number(2), head.number(1)
            self.count += 1
            at += head_size
            if at + size > end or self.count > _MOST_MESSAGES:
                raise Malformed("a message of a header is cut off, or is one too many", file.offset(at))
            if flags & _SHARED:
                raise NotRead("a message that headers share", file.offset(at))
            self._take(Message(kind=kind, address=at, body=file.read(at, size)))
            at += size
        file.account_for_zeros(at, end - at)

    def _take(self, message: Message) -> None:
        if message.kind == _NOTHING:
            message.account(self._file, 0)
        elif message.kind == _CONTINUATION:
            fields = message.fields()
            address, length = fields.number(8), fields.number(8)
            message.account(self._file, 16)
            self._file.visit(address)
            self.blocks.append((address, length))
        else:
            self.messages.append(message)
