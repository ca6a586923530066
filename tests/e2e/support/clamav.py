"""Debian's clamd, with a database of two signatures that are made here."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.support.commands import serving
from tests.support.waiting import eventually

__all__ = ["KNOWN_FILE", "PAYLOAD", "ClamdDaemon", "clamd"]

PAYLOAD: Final = b"this stands for a payload that a scanner knows"
KNOWN_FILE: Final = b"this stands for a file that a scanner knows as a whole"
LIMIT: Final = 20 << 20  # bytes of a file


@dataclass(frozen=True, kw_only=True)
class ClamdDaemon:
    """Where it listens."""

    path: str
    tcp: str


@contextmanager
def clamd(folder: Path, *, outspoken: bool = True) -> Iterator[ClamdDaemon]:
    """A daemon that looks at files of up to `LIMIT` bytes; `outspoken` is whether it says so of larger ones."""
    database = folder / "database"
    database.mkdir(parents=True)
    (database / "own.ndb").write_text(f"Test.Payload:0:*:{PAYLOAD.hex()}\n")
    known = hashlib.md5(KNOWN_FILE, usedforsecurity=False).hexdigest()
    (database / "own.hdb").write_text(f"{known}:{len(KNOWN_FILE)}:Test.KnownFile\n")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    config = folder / "clamd.conf"
    config.write_text(
        f"LocalSocket {folder / 's'}\nTCPAddr 127.0.0.1\nTCPSocket {port}\n"
        f"DatabaseDirectory {database}\nTemporaryDirectory {folder}\nForeground yes\n"
        f"StreamMaxLength 100M\nMaxFileSize {LIMIT}\nAlertExceedsMax {'yes' if outspoken else 'no'}\n"
    )
    with serving(folder / "log", "clamd", "-c", config, environment={"TMPDIR": os.fspath(folder)}) as process:
        eventually(lambda: (folder / "s").exists() or process.poll() is not None, "clamd starts", within=60)
        assert process.poll() is None, (folder / "log").read_text()
        yield ClamdDaemon(path=str(folder / "s"), tcp=f"127.0.0.1:{port}")
