"""What other processes use: told by a file that only a living process can hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelcar.errors import InvalidDocument, StorageError
from modelcar.lazy.holds import hold, holds
from modelcar.oci import Digest

A, B = Digest.of(b"a"), Digest.of(b"b")
HOLDER = """
import sys, time
from pathlib import Path
from modelcar.lazy.holds import hold
from modelcar.oci import Digest
with hold(Path(sys.argv[1]), [Digest.of(b"a")], "a mount"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_blobs_are_held_for_as_long_as_the_block_runs(tmp_path: Path) -> None:
    assert holds(tmp_path) == []
    with hold(tmp_path, [A, B], "a mount"):
        (found,) = holds(tmp_path)
        assert (found.pid, found.what, found.digests) == (os.getpid(), "a mount", frozenset({A, B}))
    assert holds(tmp_path) == []
    assert list((tmp_path / "leases").iterdir()) == []


@pytest.mark.slow
def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert [found.pid for found in holds(tmp_path)] == [process.pid]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert holds(tmp_path) == []
    assert list((tmp_path / "leases").iterdir()) == [], "its file is removed"


def test_what_a_living_process_holds_must_be_readable(tmp_path: Path) -> None:
    with hold(tmp_path, [A], "a mount"):
        (path,) = (tmp_path / "leases").iterdir()
        os.truncate(path, 10)
        with pytest.raises(InvalidDocument, match=r"leases/.*\.json"):
            holds(tmp_path)


def test_a_holder_that_has_just_begun_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir()
    beginning, old = tmp_path / "leases" / ".1", tmp_path / "leases" / ".2"
    beginning.touch()
    old.touch()
    os.utime(old, (0, 0))
    assert holds(tmp_path) == []
    assert beginning.exists()
    assert not old.exists()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot create"), hold(tmp_path / "file", [A], "a mount"):
        raise AssertionError
