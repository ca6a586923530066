"""A terminal that remembers what it showed."""

from __future__ import annotations

import os
import pty
import re
import threading
from contextlib import suppress

__all__ = ["MB", "Screen"]

MB = 1_000_000


class Screen:
    """A terminal of which everything that was ever drawn is kept."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        self.stream = open(self.slave, "w", encoding="utf-8")  # noqa: SIM115  # closed by `text` or `close`
        self.raw = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with suppress(OSError):  # which is how a terminal says that nobody has it open any more
            while data := os.read(self._master, 1 << 16):
                self.raw += data

    def text(self) -> str:
        """All that was drawn, without colours, cut where the cursor moved. The terminal is gone then."""
        self.stream.close()
        self._reader.join()
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self.raw.decode())
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", plain).replace("\r", "\n")

    def close(self) -> None:
        self.text()
        os.close(self._master)
