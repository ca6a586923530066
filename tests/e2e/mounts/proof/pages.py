"""Readers that compare every page of a mount with the truth, and tell how far they came."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

__all__ = ["ELSEWHERE", "WAYS", "Found", "Way", "WrongBytes", "is_read", "read_pages"]

Way = Literal["mmap", "mmap at random", "pread", "pread at random"]
WAYS: Final[tuple[Way, ...]] = ("mmap", "mmap at random", "pread", "pread at random")

ELSEWHERE: Final = ("unshare", "--mount", "--propagation", "slave")
"""Before a command: in a mount namespace of its own."""

_STUCK: Final = 20.0  # seconds within which a reader that was killed is gone

# MOUNT TRUTH WAY SEED DONE ERRORS: standard library only, as any program would read. Each line is a page: of which
# file, its number, and what was found; a page that has no result yet is the one at which the reader waits, or died.
_PROGRAM: Final = """
import mmap, os, random, sys
mount, truth, way, seed, done, most = sys.argv[1], sys.argv[2], sys.argv[3], *map(int, sys.argv[4:])
paths = sorted(os.path.relpath(os.path.join(f, n), truth) for f, _, names in os.walk(truth) for n in names)
pages = [(p, n) for p in paths for n in range(-(-os.path.getsize(f"{truth}/{p}") // 4096))]
if way.endswith("at random"):
    random.Random(seed).shuffle(pages)
files, expected = {}, {p: open(f"{truth}/{p}", "rb").read() for p in paths}

def content(path, start, stop):
    if path not in files:
        file = os.open(f"{mount}/{path}", os.O_RDONLY)
        if os.fstat(file).st_size != len(expected[path]):
            os.write(1, b"size\\n")
            sys.exit(3)
        if way.startswith("mmap"):
            files[path] = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)
            os.close(file)
        else:
            files[path] = file
    if way.startswith("mmap"):
        return files[path][start:stop]
    return os.pread(files[path], stop - start, start)

for path, number in pages[done:]:
    start, stop = number * 4096, min(number * 4096 + 4096, len(expected[path]))
    os.write(1, f"{path}\\t{number}\\t".encode())
    try:
        found = "right" if content(path, start, stop) == expected[path][start:stop] else "wrong"
    except OSError as e:
        found = str(e.errno)
    os.write(1, f"{found}\\n".encode())
    if found == "wrong":
        sys.exit(3)
    most -= found != "right"
    if not most:
        sys.exit(4)
"""
_ENOUGH: Final = 4


class WrongBytes(AssertionError):
    """What must never happen."""


@dataclass(kw_only=True, slots=True)
class Found:
    """Pages that were right, and the names of the errors for all others; `is_whole` if it came to the last one."""

    right: int
    errors: list[str]
    is_whole: bool = False


def is_read(mount: Path) -> bool:
    """Whether a process, in whatever mount namespace, has opened or mapped a file of it."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            opened = [str(link.readlink()) for link in (process / "fd").iterdir()]
            if any(f"{mount}/" in place for place in (*opened, *(process / "maps").read_text().splitlines())):
                return True
    return False


def read_pages(
    mount: Path,
    truth: Path,
    way: Way,
    *,
    seed: int = 0,
    within: float = 60,
    before: Sequence[str] = (),
    most_errors: int | None = None,
) -> Found:
    """Read all files that are in `truth`, page by page, also behind errors; a SIGBUS counts as one and a new process
    goes on behind it. After `within` seconds for each process it ends wherever it is, and after so many errors.

    Raises:
        WrongBytes: a page, or the size of a file, was not that of the truth.
    """
    found = Found(right=0, errors=[])
    done = 0
    while True:
        rest = -1 if most_errors is None else most_errors - len(found.errors)
        if not rest:
            return found
        command = [*before, sys.executable, "-I", "-S", "-c", _PROGRAM, mount, truth, way, seed, done, rest]
        reader = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = reader.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            reader.kill()
            out, err = reader.communicate(timeout=_STUCK)
        for line in out.decode().splitlines():
            done += 1
            path, number, result = line.split("\t")
            if result in ("wrong", "size"):
                raise WrongBytes(f"{way}, seed {seed}: page {number} of {path}: {result}")
            if result == "right":
                found.right += 1
            elif result:
                found.errors.append(errno.errorcode[int(result)])
        if reader.returncode == -signal.SIGBUS:
            found.errors.append("SIGBUS")
            continue
        if reader.returncode not in (0, _ENOUGH, -signal.SIGKILL):
            raise AssertionError(f"the reader ended with {reader.returncode}: {err.decode()}")
        found.is_whole = reader.returncode == 0
        return found
