"""The bytes of an HDF5 file by their addresses, and the fields in them."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.limits import LimitExceeded

__all__ = ["UNDEFINED", "Fields", "Hdf5"]

UNDEFINED: Final = 2**64 - 1
_MOST_STRUCTURES: Final = 2_000_000


class Fields:
    """Reads little-endian fields one after the other from `data`, which lies at `address`."""

    def __init__(self, data: bytes, address: int) -> None:
        self._data = data
        self.address = address
        self.at = 0

    def raw(self, size: int) -> bytes:
        """
        Raises:
            Malformed: there are fewer bytes.
        """
        if size < 0 or self.at + size > len(self._data):
            raise Malformed("a structure is cut off", self.address + self.at)
        self.at += size
        return self._data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.raw(size), "little")

    def text(self, *, padded: bool = True) -> bytes:
        """A text that ends with a zero byte; with zeros up to a multiple of eight bytes if it is `padded`."""
        end = self._data.find(b"\0", self.at)
        if end < 0:
            raise Malformed("a name has no end", self.address + self.at)
        text = self.raw(end - self.at)
        self.raw(1 + (-(len(text) + 1) % 8 if padded else 0))
        return text

    def expect(self, value: bytes) -> None:
        """
        Raises:
            Malformed: something else stands there.
        """
        if self.raw(len(value)) != value:
            raise Malformed(f"{value!r} is missing", self.address + self.at - len(value))

    @property
    def rest(self) -> bytes:
        return self._data[self.at :]


class Hdf5:
    """One file.

    Attributes:
        internal, leaf: half of how many entries a node of a group's tree, and a leaf of it, has room for.
    """

    def __init__(self, scan: FileScan, base: int) -> None:
        self.scan = scan
        self.internal = 16
        self.leaf = 4
        self._base = base
        self._seen: set[int] = set()

    def offset(self, address: int) -> int:
        """Where an address lies in the file."""
        return self._base + address

    def read(self, address: int, size: int) -> bytes:
        """
        Raises:
            Malformed: the file ends before that.
        """
        if address == UNDEFINED or address + size > 2**63:
            raise Malformed("an address leads out of the file")
        return self.scan.read(self.offset(address), size)

    def fields(self, address: int, size: int) -> Fields:
        """`size` bytes as fields, accounted for."""
        data = self.read(address, size)
        self.account(address, size)
        return Fields(data, self.offset(address))

    def account(self, address: int, size: int) -> None:
        self.scan.account(self.offset(address), size)

    def account_for_zeros(self, address: int, size: int) -> None:
        """Account for unused room, if nothing is in it."""
        if size > 0 and not any(self.scan.content.read(self.offset(address), size)):
            self.account(address, size)

    def visit(self, address: int) -> None:
        """Note that a structure begins there.

        Raises:
            Malformed: one that was there already leads to it, too.
            LimitExceeded: there are too many.
        """
        self.scan.budget.check_time()
        if address in self._seen:
            raise Malformed("two structures share their bytes", self.offset(address))
        self._seen.add(address)
        if len(self._seen) > _MOST_STRUCTURES:
            raise LimitExceeded(f"it has more than {_MOST_STRUCTURES} structures")
