"""What is read from the kernel, on commands whose cost is known."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.measure import CommandFailed, disk_usage, measure, parse_io

pytestmark = pytest.mark.slow

PROBE = Path(__file__).parents[2] / "bench" / "probe"


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_io_is_parsed() -> None:
    assert parse_io("rchar: 12\nwrite_bytes: 0\n") == {"rchar": 12, "write_bytes": 0}


def test_bytes_of_children_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "file"
    code = f"import subprocess; subprocess.run(['dd', 'if=/dev/zero', 'of={file}', 'bs=1M', 'count=3'], check=True)"
    cost = measure(python(code), environment=dict(os.environ), log=tmp_path / "log", disk=[tmp_path])
    assert 3 << 20 <= cost.written < 4 << 20
    assert cost.read >= 3 << 20
    assert cost.extra_disk >= 3 << 20
    assert cost.wall > 0
    assert cost.memory > 1 << 20


def test_a_failure_says_what_the_command_said_last(tmp_path: Path) -> None:
    command = python("import sys; print('nothing to be done'); sys.exit(4)")
    with pytest.raises(CommandFailed, match="ended with 4: nothing to be done"):
        measure(command, environment=dict(os.environ), log=tmp_path / "log")


def test_a_hard_link_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1 << 16))
    once = disk_usage([tmp_path])
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert disk_usage([tmp_path]) == once
    assert disk_usage([tmp_path / "missing"]) == 0


def test_the_probe_counts_hashed_bytes_and_changes_no_digest(tmp_path: Path) -> None:
    code = (
        "import hashlib; h = hashlib.sha256(b'ab'); h.update(b'c'); hashlib.new('md5', b'1234'); print(h.hexdigest())"
    )
    count = tmp_path / "count"
    environment = {**os.environ, "PYTHONPATH": str(PROBE), "BENCH_HASHED": str(count)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(b"abc").hexdigest()
    assert count.read_text() == "7"
