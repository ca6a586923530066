"""A build writes no weight byte and reads each once; a push reads each once and writes none. Proof by system calls."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.support.commands import BIN, Modelcar
from tests.e2e.support.system_calls import Trace, trace
from tests.support.checkpoints import files_of, make_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.debian("strace")]

SHARDS = 3
ELEMENTS = 4_000_000  # of two bytes
HEADER = 4096  # where headers lie and formats are told apart
HEAD = 64 << 10  # where the scan beside a build looks whether a file is a pickle as well
TAIL = 66_000  # and for a zip's end
SIGNATURE = 64  # bytes; those of HDF5 and of disk images lie further inside
_LOOKS = 16  # how often a build with its scan may look at either
SMALL = 512 << 10  # bytes that a build may write in all; the weights are 24 MB


@dataclass(frozen=True)
class Traced:
    """A checkpoint and the command, whose every run is traced."""

    folder: Path
    checkpoint: Path
    modelcar: Modelcar

    @property
    def shards(self) -> list[Path]:
        return sorted(self.checkpoint.glob("*.safetensors"))

    def __call__(self, name: str, *arguments: str | Path) -> Trace:
        environment = {**self.modelcar.environment, "PYTHONDONTWRITEBYTECODE": "1"}
        found, _ = trace(self.folder / name, BIN / "modelcar", *arguments, environment=environment)
        assert not found.others & {"io_uring_setup", "io_submit", "process_vm_readv", "reflink"}
        assert found.mapped.isdisjoint(map(str, self.checkpoint.rglob("*")))  # what is mapped is read unseen
        return found


@pytest.fixture
def traced(tmp_path: Path) -> Traced:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", shards=SHARDS, elements=ELEMENTS)
    return Traced(tmp_path, checkpoint, Modelcar(tmp_path / "home"))


def is_edge(start: int, stop: int, size: int) -> bool:
    """Whether a range lies where one looks to see what a file is: at its ends, or for a signature at a fixed place."""
    return start < HEAD or start >= size - TAIL or stop - start <= SIGNATURE


def check_read_once(found: Trace, shards: list[Path], *, header_times: int, edge_times: int = 1) -> None:
    for shard in shards:
        size = shard.stat().st_size
        for start, stop, times in found.times_read(shard, size):
            most = header_times if start < HEADER else edge_times if is_edge(start, stop, size) else 1
            assert 1 <= times <= most, f"{shard.name} [{start}, {stop}) was read {times} times"


def check_nothing_written(found: Trace, home: Path, *, at_most: int) -> None:
    files = found.written_to_files()
    assert sum(sum(sizes) for sizes in files.values()) <= at_most, files
    assert all(size < 64 << 10 for sizes in files.values() for size in sizes), files
    assert all(Path(path).is_relative_to(home) for path in files), files


def check_no_weights_in(folder: Path, shards: list[Path]) -> None:
    """No 64 bytes of the weights, wherever they start, lie anywhere under `folder`."""
    samples = []
    for shard in shards:
        weights = shard.read_bytes()
        samples += [weights[at : at + 64] for at in range(HEADER, len(weights) - 64, 1 << 20)]
    for name, content in files_of(folder).items():
        assert not any(sample in content for sample in samples), name


def test_build_and_push(traced: Traced, embedded: str) -> None:
    ref = f"{embedded}/traced/tiny:v1"
    home = traced.modelcar.home

    cold = traced("cold", "build", traced.checkpoint, "-t", ref)
    check_read_once(cold, traced.shards, header_times=_LOOKS, edge_times=_LOOKS)
    check_nothing_written(cold, home, at_most=SMALL)
    check_no_weights_in(home, traced.shards)
    assert cold.sent() < SMALL  # nor does it go elsewhere

    warm = traced("warm", "build", traced.checkpoint, "-t", ref)
    for shard in traced.shards:
        size = shard.stat().st_size
        for start, stop, times in warm.times_read(shard, size):
            assert times == 0 or is_edge(start, stop, size), f"a warm rebuild read {shard.name} from {start}"
    check_nothing_written(warm, home, at_most=64 << 10)

    push = traced("push", "push", ref)
    check_read_once(push, traced.shards, header_times=1)
    check_nothing_written(push, home, at_most=16 << 10)
    assert push.sent() >= sum(shard.stat().st_size for shard in traced.shards)

    again = traced("again", "push", ref)
    assert not any(again.ranges[str(shard)] for shard in traced.shards)


def test_archive_and_back(traced: Traced, embedded: str, tmp_path: Path) -> None:
    """One read and one write a byte into the archive, by the kernel; one read and no write from it to a registry."""
    ref, file = f"{embedded}/traced/archived:v1", tmp_path / "model.tar"
    traced.modelcar("build", traced.checkpoint, "-t", ref)
    written = traced("written", "archive", ref, "-o", file)
    check_read_once(written, traced.shards, header_times=1)
    files = {path: sum(sizes) for path, sizes in written.written_to_files().items()}
    assert 0 <= sum(files.values()) - file.stat().st_size < 4096, files  # an empty layout is beside it meanwhile
    assert all(path.startswith(f"{tmp_path}/.model.tar.") for path in files), files

    sent = traced("sent", "push", f"oci-archive:{file}", ref)
    check_nothing_written(sent, traced.modelcar.home, at_most=4096)  # the journal of its uploads
    for start, stop, times in sent.times_read(file, file.stat().st_size):
        assert times <= 1 or stop - start < 64 << 10, f"[{start}, {stop}) was read {times} times"
    assert sent.sent() >= sum(shard.stat().st_size for shard in traced.shards)


def test_a_changed_shard_is_the_only_one_read_again(traced: Traced) -> None:
    ref = "registry.example/traced:v1"
    traced.modelcar("build", traced.checkpoint, "-t", ref)
    first, *others = traced.shards
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    found = traced("changed", "build", traced.checkpoint, "-t", ref, "--no-scan")
    check_read_once(found, [first], header_times=4)
    for shard in others:
        assert max(stop for _, stop in found.ranges[str(shard)]) <= HEADER


def test_without_its_scan_a_build_reads_every_byte_once_and_a_warm_one_none(traced: Traced) -> None:
    build = ("build", traced.checkpoint, "-t", "registry.example/traced:v1", "--no-scan")
    check_read_once(traced("cold", *build), traced.shards, header_times=4)
    warm = traced("warm", *build)
    for shard in traced.shards:
        for start, _, times in warm.times_read(shard, shard.stat().st_size):
            assert times == 0 or start < HEADER, f"a warm rebuild read {shard.name} from {start}"


def test_the_trace_sees_what_it_must(tmp_path: Path) -> None:
    """The proof's own proof: a program that reads twice and copies is found out."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(100_000))
    program = f"""
import os, socket
a = os.open({str(source)!r}, os.O_RDONLY)
b = os.open({str(target)!r}, os.O_WRONLY | os.O_CREAT)
os.write(b, os.pread(a, 70_000, 0))
os.preadv(a, [bytearray(50_000)], 60_000)
left, right = socket.socketpair()
right.setblocking(False)
print(os.sendfile(left.fileno(), a, 90_000, 10_000))
os.read(a, 5)
os.copy_file_range(a, b, 7)
os.copy_file_range(a, b, 8, 50_000, 0)
"""
    found, _ = trace(tmp_path / "trace", BIN / "python", "-c", program, environment={})
    assert found.written[str(target)] == [70_000, 7, 8]
    assert found.streamed.pop(str(source)) == 12
    pieces = [
        (0, 50_000, 1),
        (50_000, 50_008, 2),
        (50_008, 60_000, 1),
        (60_000, 70_000, 2),
        (70_000, 90_000, 1),
        (90_000, 100_000, 2),
    ]
    assert found.times_read(source, 100_000) == pieces
    assert found.sent() == 10_000 + 6  # and what it printed
