"""What a program read and wrote, from a trace of its system calls by `strace`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.e2e.support.commands import Done, run

__all__ = ["Trace", "trace"]

_READS: Final = ("read", "readv", "pread64", "preadv", "preadv2")
_WRITES: Final = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
_MOVES: Final = ("sendfile", "sendfile64", "copy_file_range", "splice", "tee", "vmsplice")
_SENDS: Final = ("sendto", "sendmsg", "sendmmsg")
# What could read or write behind our back: seen at all, it is in `others`.
_OTHERS: Final = ("mmap", "mremap", "io_uring_setup", "io_submit", "process_vm_readv", "process_vm_writev")
_FOLLOWED: Final = ("lseek", "openat", "open", "ioctl")

_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+|0x[0-9a-f]+|\?)")
_FD = re.compile(r"^(\d+)<(.*?)>(?:,|$)")


@dataclass(kw_only=True)
class Trace:
    """By path: byte ranges read with a position, and how many bytes were read without one and written."""

    ranges: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    streamed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    written: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    mapped: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    def written_to_files(self) -> Mapping[str, list[int]]:
        """Sizes of all writes to what has a path; sockets, pipes and devices apart."""
        return {p: sizes for p, sizes in self.written.items() if p.startswith("/") and not p.startswith("/dev/")}

    def sent(self) -> int:
        """Bytes that went into sockets."""
        return sum(sum(sizes) for p, sizes in self.written.items() if not p.startswith("/"))

    def times_read(self, path: Path, size: int) -> list[tuple[int, int, int]]:
        """How often which part of a file was read: `(start, stop, times)`, from 0 to `size`."""
        assert not self.streamed[str(path)], f"{path} was read without a position"
        ranges = [(start, min(stop, size)) for start, stop in self.ranges[str(path)]]
        edges = sorted({0, size, *(e for r in ranges for e in r)})
        return [(a, b, sum(start <= a and b <= stop for start, stop in ranges)) for a, b in pairwise(edges)]


def trace(folder: Path, *command: str | Path, environment: Mapping[str, str]) -> tuple[Trace, Done]:
    """Run a command to its good end under strace, with all its threads and children."""
    folder.mkdir()
    calls = ",".join((*_READS, *_WRITES, *_MOVES, *_SENDS, *_OTHERS, *_FOLLOWED))
    # Unknown names are ignored ("?"), and a file a thread spares us the unfinished and resumed ones.
    calls = ",".join(f"?{name}" for name in calls.split(","))
    strace: list[str | Path] = [
        "strace",
        "-ff",
        "-y",
        "-s",
        "0",
        "-e",
        f"trace={calls}",
        "-e",
        "signal=none",
        "-o",
        folder / "trace",
    ]
    done = run(*strace, *command, environment=environment, within=120)
    result = Trace()
    for file in folder.iterdir():
        for line in file.read_text("utf-8", "surrogateescape").splitlines():
            _take(result, line)
    return result, done


def _take(result: Trace, line: str) -> None:
    call = _CALL.match(line)
    if call is None:
        assert "unfinished" not in line, line  # -ff gives every thread a file of its own
        return
    name, arguments = call["name"], call["arguments"]
    returned = -1 if call["result"] == "?" else int(call["result"], 0)
    if name == "mmap":
        _take_mapping(result, arguments)
    elif name == "ioctl":
        if "FICLONE" in arguments:
            result.others.add("reflink")
    elif name in _OTHERS:
        result.others.add(name)
    elif returned > 0 and name in (*_READS, *_WRITES, *_SENDS):
        _take_transfer(result, name, arguments, returned)
    elif returned > 0 and name in _MOVES:
        _take_move(result, name, arguments, returned)


def _take_transfer(result: Trace, name: str, arguments: str, n: int) -> None:
    path = _path(arguments)
    if name not in _READS:
        result.written[path].append(n)
    elif name in ("read", "readv"):
        result.streamed[path] += n
    else:
        parts = arguments.rsplit(", ", 2)
        offset = int(parts[1] if name == "preadv2" else parts[2])
        result.ranges[path].append((offset, offset + n))


def _take_move(result: Trace, name: str, arguments: str, n: int) -> None:
    """`sendfile(out, in, [from] => [after], n)`, `copy_file_range(in, [from], out, …)`; else there is no position."""
    files = re.findall(r"\b\d+<([^>]*)>", arguments)
    source, target = (files[1], files[0]) if name.startswith("sendfile") else (files[0], files[-1])
    result.written[target].append(n)
    where = r"\[(\d+)\] => " if name.startswith("sendfile") else r"^\d+<[^>]*>, \[(\d+)"
    position = re.search(where, arguments)
    if position is None:
        result.streamed[source] += n
    else:
        result.ranges[source].append((int(position[1]), int(position[1]) + n))


def _take_mapping(result: Trace, arguments: str) -> None:
    fd = arguments.split(", ")[4] if arguments.count(", ") >= 5 else ""
    if found := _FD.match(fd):
        result.mapped.add(found[2])


def _path(arguments: str) -> str:
    found = _FD.match(arguments)
    return found[2] if found else ""
