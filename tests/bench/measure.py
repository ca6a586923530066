"""One command, and what it cost: time, memory, and bytes as the kernel counted them.

Time, processor time and memory come from `wait4`; bytes from this process's own `/proc/self/io`, to which the kernel
adds those of a child when it is reaped (plain users cannot read the child's own file once it has ended). Both include
every child that the command waited for. What the kernel cannot tell:

- `send` and `recv` on sockets are not in its byte counts; `write`, `sendfile` and reads of files are.
- Peak memory is that of the largest process, not of the tree, and at least what this harness had when it started it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CommandFailed",
    "Measurement",
    "busy_time",
    "disk_usage",
    "measure",
    "parse_io",
    "processor_time",
]

_TIMEOUT: Final = 1200.0  # seconds
_KERNEL_THREADS: Final = 2  # the process that is the parent of all of them
_TICK: Final = os.sysconf("SC_CLK_TCK")
_ENOUGH_OUTPUT: Final = 2000  # characters


class CommandFailed(Exception):
    """A command that ended with a status other than 0; the text has the end of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one run cost. Times in seconds, everything else in bytes.

    `read` and `written` passed through system calls; `disk_read` and `disk_written` are what of it concerned storage
    (no read from a warm page cache, no write to a socket). `extra_disk` is what the run left behind. `elsewhere` is
    processor time of other processes meanwhile, apart from the server and the kernel: it should be next to nothing.
    """

    wall: float
    cpu: float
    memory: int
    read: int
    written: int
    disk_read: int
    disk_written: int
    extra_disk: int = 0
    server_cpu: float = 0.0
    elsewhere: float = 0.0
    hashed: int | None = None

    def then(self, other: Measurement) -> Measurement:
        """Both in turn, as one: everything adds up except memory."""
        values = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self) if f.name != "hashed"}
        values["memory"] = max(self.memory, other.memory)
        known = [m.hashed for m in (self, other) if m.hashed is not None]
        return Measurement(**values, hashed=sum(known) if known else None)


def measure(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    log: Path,
    folder: Path | None = None,
    servers: Sequence[int] = (),
    disk: Sequence[Path] = (),
) -> Measurement:
    """Run `command` to its end, its output in `log`.

    Args:
        folder: where it runs.
        servers: processes that work for it, whose processor time is told apart.
        disk: folders whose growth is counted.

    Raises:
        CommandFailed: it did not end with status 0.
    """
    disk_before, server_before, busy_before = disk_usage(disk), processor_time(servers), busy_time()
    io_before, began = _own_io(), time.perf_counter()
    with _started(command, environment, log, folder) as process:
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    io_after = _own_io()
    io = {name: io_after[name] - value for name, value in io_before.items()}
    if process.returncode:
        raise CommandFailed(f"{Path(command[0]).name} ended with {process.returncode}: {_tail(log)}")
    cpu = usage.ru_utime + usage.ru_stime
    server_cpu = processor_time(servers) - server_before
    return Measurement(
        wall=wall,
        cpu=cpu,
        memory=usage.ru_maxrss * 1024,
        read=io["rchar"],
        written=io["wchar"],
        disk_read=io["read_bytes"],
        disk_written=io["write_bytes"] - io["cancelled_write_bytes"],
        extra_disk=disk_usage(disk) - disk_before,
        server_cpu=server_cpu,
        elsewhere=max(0.0, busy_time() - busy_before - cpu - server_cpu),
    )


def timed_by_itself(measurement: Measurement, log: Path) -> Measurement:
    """With the wall time that the command printed as its last line, which leaves its start-up out."""
    return replace(measurement, wall=float(log.read_text().splitlines()[-1]))


def _own_io() -> dict[str, int]:
    return parse_io(Path("/proc/self/io").read_text())


def parse_io(text: str) -> dict[str, int]:
    """`/proc/PID/io` as a dictionary."""
    return {name: int(value) for name, _, value in (line.partition(": ") for line in text.splitlines())}


def processor_time(pids: Sequence[int]) -> float:
    """Seconds of processor time of these processes and of their living children (a server's workers)."""
    return sum(_cpu(pid) for parent in pids for pid in (parent, *_children(parent)))


def busy_time() -> float:
    """Seconds that processes kept the machine's cores busy since it started, the kernel's own threads left out.

    What those do (writing to disk, mostly) belongs to whoever is measured.
    """
    user, nice, system, _idle, _iowait, irq, softirq, *_ = (
        int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / _TICK - _kernel_threads()


def disk_usage(folders: Sequence[Path]) -> int:
    """Bytes that folders occupy on disk, like `du`; 0 where there is none yet."""
    seen = {}
    for folder in folders:
        for path in folder.rglob("*"):
            stat = path.lstat()
            seen[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())


@contextmanager
def _started(
    command: Sequence[str | Path], environment: Mapping[str, str], log: Path, folder: Path | None
) -> Iterator[subprocess.Popen[bytes]]:
    """A running process in a group of its own, which does not outlive the block or its time limit."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(c) for c in command],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    timer = threading.Timer(_TIMEOUT, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        yield process
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        timer.cancel()


def _cpu(pid: int) -> float:
    try:
        fields_after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return 0.0
    return (int(fields_after_name[11]) + int(fields_after_name[12])) / _TICK


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _kernel_threads() -> float:
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            numbers = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(numbers[1]) == _KERNEL_THREADS:
            total += int(numbers[11]) + int(numbers[12])
    return total / _TICK


def _tail(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace")[-_ENOUGH_OUTPUT:].splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "it said nothing"
