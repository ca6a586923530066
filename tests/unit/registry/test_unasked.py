"""Sessions that cannot be asked how far they are: gone on with from what was acknowledged, or what may have been."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import RateLimited
from modelcar.testing.registry import PROFILES, Fault, MisbehavingRegistry, Wrong, running
from tests.support.scripted_registry import DROP, Default, Reply, Request, ScriptedRegistry
from tests.unit.registry.upload.uploads import Blob, upload

from .conftest import Client, literal
from .conftest import blob as blob_of
from .conftest import reference as reference_to

pytestmark = pytest.mark.slow

MIB = 1 << 20
PIECE = 5 * MIB
SILENT = PROFILES["no-resume"]


@pytest.fixture
def blob(tmp_path: Path) -> Blob:
    return Blob(tmp_path, 5 * PIECE, 1)


def leave(registry: MisbehavingRegistry, blob: Blob, state: Path) -> Path:
    """Two pieces of the blob are acknowledged; then the client gives up. Returns the journal's entry."""
    registry.misbehave(Fault(wrong=Wrong.STATUS, method="PATCH", status=429, retry_after=999, skip=5))
    with pytest.raises(RateLimited):
        upload(registry, blob, state=state)
    registry.behave()
    registry.reset_counts()
    (entry,) = (state / "uploads").glob("*.json")
    return entry


def rewrite(entry: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    fields = json.loads(entry.read_bytes())
    entry.write_text(json.dumps({**fields, **change(fields)}))


def test_goes_on_from_what_was_acknowledged(blob: Blob, tmp_path: Path) -> None:
    with running(SILENT) as registry:
        leave(registry, blob, tmp_path / "state")
        upload(registry, blob, state=tmp_path / "state")
        taken = [seen.received for seen in registry.journal() if seen.method == "PATCH"]
        assert taken == [MIB, PIECE, PIECE, PIECE - MIB], "little first, for the session may be gone"
        assert registry.counts().sessions == 0


def test_a_piece_may_be_there_whose_answer_nobody_heard(blob: Blob, tmp_path: Path) -> None:
    """The process was killed, and the kernel sent what it had."""
    with running(SILENT) as registry:
        entry = leave(registry, blob, tmp_path / "state")
        rewrite(entry, lambda fields: {"offset": fields["offset"] - PIECE, "sending": PIECE})
        upload(registry, blob, state=tmp_path / "state")
        assert registry.counts().sessions == 0
        assert [seen.status for seen in registry.journal() if seen.method == "PATCH"] == [416, 202, 202, 202, 202]


@pytest.mark.parametrize("offset", [PIECE, 3 * PIECE])
def test_a_session_that_is_elsewhere_is_left(blob: Blob, tmp_path: Path, offset: int) -> None:
    with running(SILENT) as registry:
        entry = leave(registry, blob, tmp_path / "state")
        rewrite(entry, lambda _: {"offset": offset, "sending": MIB})
        upload(registry, blob, state=tmp_path / "state")
        assert registry.counts().sessions == 1
        assert registry.counts().received <= len(blob.bytes) + 2 * MIB + (128 << 10)


def test_a_session_that_is_gone_is_begun_again(blob: Blob, tmp_path: Path) -> None:
    with running(SILENT) as registry:
        leave(registry, blob, tmp_path / "state")
        registry.restart()
        upload(registry, blob, state=tmp_path / "state")
        assert registry.counts().sessions == 1
        assert registry.counts().received <= len(blob.bytes) + MIB + (128 << 10)


def test_a_cut_in_what_was_tried_first_is_an_accident(blob: Blob, tmp_path: Path) -> None:
    with running(SILENT) as registry:
        leave(registry, blob, tmp_path / "state")
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PATCH", after=MIB // 2, times=2))
        upload(registry, blob, state=tmp_path / "state")
        assert registry.counts().sessions == 0


def test_a_lost_answer_to_a_piece_costs_little(server: ScriptedRegistry, client: Client) -> None:
    """The piece is there, and the session cannot say so."""
    descriptor, content = blob_of(5 * MIB)

    def lose(_request: Request, default: Default) -> Reply:
        default()
        return Reply(DROP)

    server.on("GET", "/uploads/", Reply(405), times=99)
    server.on("PATCH", "/uploads/", lambda _, default: default())
    server.on("PATCH", "/uploads/", lose)
    client(chunk_size=2 * MIB).upload_blob(reference_to(server), descriptor, literal(content))
    assert server.blobs[str(descriptor.digest)] == content
    assert [len(r.body) for r in server.requests("PATCH")] == [2 * MIB, 2 * MIB, MIB, MIB]
    assert len(server.requests("POST")) == 1
