"""Uploads to every dialect that is known, with faults and without, counted at a registry in another process."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelcar.testing.registry import PROFILES, Fault, Faults, MisbehavingRegistry, Wrong, running
from tests.unit.registry.upload.uploads import Blob, reference, upload

pytestmark = pytest.mark.slow

_MIB = 1 << 20
_SOFT = (Wrong.CUT, Wrong.STALL, Wrong.DRIP, Wrong.SLOW_COMMIT)  # what costs no byte where sessions go on
_RESUMING = ["distribution", "acr", "docker-hub", "no-head"]


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_dialect(name: str, tmp_path: Path) -> None:
    blob = Blob(tmp_path, 3 * _MIB, 1)
    with running(name) as registry:
        upload(registry, blob)
        assert registry.counts().received <= 3 * len(blob.bytes)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_dialect_with_every_fault(name: str, tmp_path: Path) -> None:
    """Twenty faults a gibibyte, where a gibibyte is five MiB."""
    blobs = [Blob(tmp_path, 256 << 10, 10 + i) for i in range(20)]
    with running(name, random=Faults(seed=1, per_gib=4000)) as registry:
        upload(registry, *blobs)


@pytest.mark.parametrize("name", _RESUMING)
def test_sessions_that_go_on_cost_nothing(name: str, tmp_path: Path) -> None:
    blob = Blob(tmp_path, 16 * _MIB, 3)
    with running(name, random=Faults(seed=3, per_gib=1280, wrongs=_SOFT)) as registry:
        upload(registry, blob)
        assert sum(registry.counts().faults.values()) > 4
        assert registry.counts().received <= 1.05 * len(blob.bytes)


_PUSH = """
import sys
from pathlib import Path
from modelcar.layers.bytemap import ByteMap
from modelcar.oci import Descriptor, Digest, Reference
from modelcar.registry import ClientSettings, Registry

ref, digest, file, state = sys.argv[1:]
size = Path(file).stat().st_size
blob = Descriptor(media_type="application/x", digest=Digest.parse(digest), size=size)
with Registry(ClientSettings(state=Path(state))) as registry:
    registry.upload_blob(Reference.parse(ref), blob, ByteMap.of_file(Path(file), size))
"""


def kill_on_its_way(registry: MisbehavingRegistry, blob: Blob, state: Path, moved: int) -> None:
    """Begin to upload, and kill the process after `moved` bytes."""
    arguments = [str(reference(registry)), str(blob.descriptor.digest), str(blob.file), str(state)]
    process = subprocess.Popen([sys.executable, "-c", _PUSH, *arguments])
    try:
        deadline = time.monotonic() + 60
        while registry.moved() < moved:
            assert time.monotonic() < deadline, "nothing arrives"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


def test_kill_9_and_once_more(tmp_path: Path) -> None:
    blob = Blob(tmp_path, 12 * _MIB, 4)
    state = tmp_path / "state"
    with running("distribution", rate=4 << 20) as registry:
        kill_on_its_way(registry, blob, state, 3 * _MIB)  # of twelve, which take three seconds
        assert not registry.digests()
        (entry,) = (state / "uploads").glob("*.json")
        assert entry.stat().st_mode & 0o077 == 0
        before = registry.counts().received
        assert before > _MIB
        upload(registry, blob, state=state)
        assert registry.counts().received <= 1.05 * len(blob.bytes)
    assert not list((state / "uploads").glob("*.json"))


def test_kill_9_where_a_session_cannot_be_asked(tmp_path: Path) -> None:
    """What was acknowledged is in our own books: only the piece under way goes twice."""
    blob, state = Blob(tmp_path, 40 * _MIB, 8), tmp_path / "state"
    with running("no-resume", rate=20 << 20) as registry:
        kill_on_its_way(registry, blob, state, 20 * _MIB)  # of eight pieces, three are acknowledged
        upload(registry, blob, state=state)
        assert registry.counts().sessions == 2, "one to try it, and one"
        assert registry.counts().received <= 45 * _MIB + (64 << 10)
    assert not list((state / "uploads").glob("*.json"))


def test_an_answer_that_is_lost_is_not_a_blob_that_is_lost(tmp_path: Path) -> None:
    blob = Blob(tmp_path, 2 * _MIB, 5)
    with running("distribution") as registry:
        registry.misbehave(Fault(wrong=Wrong.SLOW_COMMIT, seconds=2.0))
        upload(registry, blob, timeout=1, commit_timeout=0.5)
        assert registry.counts().received <= 2 * len(blob.bytes)


def test_what_a_registry_refused_is_not_tried_with_the_next_blob(tmp_path: Path) -> None:
    first, second = Blob(tmp_path, _MIB, 6), Blob(tmp_path, _MIB, 7)
    with running("non-sticky") as registry:
        state = tmp_path / "state"
        for _ in range(20):  # until both replicas have shown that they do not know each other
            upload(registry, first, state=state)
            if any(seen.method == "POST" and "digest=" in seen.query for seen in registry.journal()):
                break
            first = Blob(tmp_path, _MIB, random.randrange(1000, 1 << 30))
        registry.reset_counts()
        upload(registry, second, state=state)
        assert [seen.method for seen in registry.journal() if seen.received] == ["POST"]
        assert registry.counts().received == len(second.bytes)
