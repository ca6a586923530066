"""Everything that the root of an HDF5 file leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelcar.scanning.filescan import Malformed
from modelcar.scanning.findings import shown
from modelcar.scanning.formats.archives import leaves
from modelcar.scanning.formats.hdf5 import headers
from modelcar.scanning.formats.hdf5.file import UNDEFINED, Hdf5
from modelcar.scanning.formats.hdf5.groups import LocalHeap, linked, members
from modelcar.scanning.formats.hdf5.headers import Message, read_messages
from modelcar.scanning.formats.hdf5.rules import ELSEWHERE, FILTER, NOT_READ, OUTSIDE, NotRead
from modelcar.scanning.formats.hdf5.storage import Array, is_virtual, read_filters, stored
from modelcar.scanning.formats.hdf5.texts import GlobalHeap, attribute_texts, texts_in
from modelcar.scanning.formats.hdf5.types import read_shape, read_type

__all__ = ["Walk"]

_DATASET: Final = (headers.SHAPE, headers.TYPE, headers.LAYOUT, headers.FILTERS)
# Messages that say nothing that matters here, and how long they may be: rooms, times, counts.
_PLAIN: Final = {0x0A: 16, 0x0E: 16, 0x12: 8, 0x13: 8, 0x16: 8}
_MAX_FILL: Final = 4096  # bytes
_EXTERNAL_SLOT: Final = 24  # bytes


class Walk:
    """Looks at every object, accounts for all that is understood, and hands out every text with its place.

    Attributes:
        problem: the first thing that breaks the rules of the format.
        is_partial: whether something was not read.
    """

    def __init__(self, file: Hdf5, on_text: Callable[[int, bytes], None]) -> None:
        self.problem: Malformed | None = None
        self.is_partial = False
        self._file = file
        self._heap = GlobalHeap(file)
        self._on_text = on_text
        self._waiting: list[int] = []
        self._seen: set[int] = set()

    def run(self, root: int) -> None:
        self._lead_to(root)
        while self._waiting:
            address = self._waiting.pop()
            self._attempt(lambda address=address: self._object(address))  # type: ignore[misc]  # mypy takes no lambda with a default

    def _attempt(self, step: Callable[[], None]) -> None:
        """Run a step; what is not understood does not keep the others from being looked at."""
        try:
            step()
        except NotRead as e:
            self.is_partial = True
            self._file.scan.found(NOT_READ, str(e), offset=e.offset)
        except Malformed as e:
            self.problem = self.problem or e

    def _lead_to(self, address: int) -> None:
        if address not in self._seen:
            self._seen.add(address)
            self._waiting.append(address)

    def _object(self, address: int) -> None:
        dataset: dict[int, Message] = {}
        for message in read_messages(self._file, address):
            if message.kind in _DATASET:
                if message.kind in dataset:
                    raise self._unknown(message)
                dataset[message.kind] = message
            else:
                self._attempt(lambda message=message: self._take(message))  # type: ignore[misc]  # mypy takes no lambda with a default
        if headers.LAYOUT in dataset:
            self._dataset(dataset)
        else:
            for message in dataset.values():
                self._attempt(lambda message=message: self._describe(message))  # type: ignore[misc]  # mypy takes no lambda with a default

    def _take(self, message: Message) -> None:
        file = self._file
        if message.kind == headers.ATTRIBUTE:
            for offset, text in attribute_texts(file, self._heap, message):
                self._on_text(offset, text)
        elif message.kind == headers.SYMBOLS:
            for target in members(file, message):
                self._lead_to(target)
        elif message.kind == headers.LINK:
            self._link(message)
        elif message.kind in (headers.LINKS, headers.ATTRIBUTES):
            self._index(message)
        elif message.kind in (headers.FILL, headers.OLD_FILL):
            self._fill(message)
        elif message.kind == headers.EXTERNAL_FILES:
            self._external_files(message)
        elif len(message.body) <= _PLAIN.get(message.kind, -1):
            message.account(file, len(message.body))
        else:
            raise self._unknown(message)

    def _link(self, message: Message) -> None:
        target = linked(self._file, message)
        if isinstance(target, str):
            self._report_file(target, message)
        elif target is not None:
            self._lead_to(target)

    def _unknown(self, message: Message) -> NotRead:
        return NotRead(f"a message {message.kind:#04x}", self._file.offset(message.address))

    def _index(self, message: Message) -> None:
        """Links or attributes so many that they lie in a heap of another kind, or the note that they do not."""
        fields = message.fields()
        version, flags = fields.number(1), fields.number(1)
        fields.raw((8 if message.kind == headers.LINKS else 2) if flags & 1 else 0)
        if version or fields.number(8) != UNDEFINED:
            raise self._unknown(message)
        fields.raw(16 if flags & 2 else 8)
        message.account(self._file, fields.at)

    def _fill(self, message: Message) -> None:
        """What elements hold that were never written."""
        fields = message.fields()
        if message.kind == headers.FILL:
            version = fields.number(1)
            flags = fields.number(1) if version == 3 else 0
            fields.raw(0 if version == 3 else 2)
            has_value = bool(flags & 0x20) if version == 3 else fields.number(1) > 0 or version == 1
        else:
            version, has_value = 1, True
        if version not in (1, 2, 3):
            raise self._unknown(message)
        if has_value and fields.rest:
            size = fields.number(4)
            fields.raw(size if size <= _MAX_FILL else -1)
        message.account(self._file, fields.at)

    def _external_files(self, message: Message) -> None:
        fields = message.fields()
        fields.expect(b"\x01")
        fields.raw(5)
        used = fields.number(2)
        heap = LocalHeap(self._file, fields.number(8))
        for _ in range(used):
            slot = fields.raw(_EXTERNAL_SLOT)
            name = heap.text(int.from_bytes(slot[:8], "little"))
            self._report_file(name.decode(errors="replace"), message)
        message.account(self._file, fields.at)

    def _virtual(self, message: Message) -> None:
        """A dataset made of parts of others: an object in a heap names their files, the first of them at its start."""
        fields = message.fields()
        fields.raw(2)
        _, sources = self._heap.object(fields.number(8), fields.number(4))
        name = sources[9:].partition(b"\0")[0]
        if name not in (b"", b"."):
            self._report_file(name.decode(errors="replace"), message)

    def _report_file(self, name: str, message: Message) -> None:
        offset = self._file.offset(message.address)
        self._file.scan.found(OUTSIDE if leaves(name) else ELSEWHERE, shown(name), offset=offset)

    def _describe(self, message: Message) -> None:
        """Account for the description of a type or a shape that has no data."""
        fields = message.fields()
        if message.kind == headers.TYPE:
            read_type(fields)
        elif message.kind == headers.SHAPE:
            read_shape(fields)
        else:
            raise self._unknown(message)
        message.account(self._file, fields.at)

    def _dataset(self, messages: dict[int, Message]) -> None:
        file, layout = self._file, messages[headers.LAYOUT]
        if headers.SHAPE not in messages or headers.TYPE not in messages:
            raise Malformed("data without a type or a shape", file.offset(layout.address))
        self._describe(messages[headers.SHAPE])
        self._describe(messages[headers.TYPE])
        kind = read_type(messages[headers.TYPE].fields())
        filters: tuple[int, ...] = ()
        if headers.FILTERS in messages:
            found = read_filters(file, messages[headers.FILTERS])
            if isinstance(found, str):
                self.is_partial = True
                file.scan.found(FILTER, found, offset=file.offset(layout.address))
                return
            filters = found
        if is_virtual(layout):
            self._virtual(layout)
        array = Array(element=kind.size, shape=read_shape(messages[headers.SHAPE].fields()), filters=filters)
        if not (kind.is_plain or kind.is_text or kind.is_variable):
            raise NotRead("a dataset that holds neither numbers nor texts", file.offset(layout.address))
        for piece in stored(file, layout, array):
            if not kind.is_plain:
                data = piece.read(file)
                for offset, text in texts_in(file, self._heap, kind, data, file.offset(piece.address)):
                    self._on_text(offset, text)
