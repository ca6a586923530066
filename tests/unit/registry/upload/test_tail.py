"""Blobs that leave while they are hashed: nothing is visible before the digest; they go another way where they must."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.errors import Forbidden, SourceChanged
from modelcar.files import FileStamp
from modelcar.layers.bytemap import ByteMap, FileRange
from modelcar.oci import Descriptor, Digest, media_types
from modelcar.registry import ClientSettings, Registry
from modelcar.registry.upload import Tail
from modelcar.registry.upload.source import map_source
from modelcar.registry.upload.tail import behind
from tests.support.scripted_registry import Action, Default, Reply, Request, ScriptedRegistry, changed, error
from tests.unit.registry.conftest import Client, random_image, reference

pytestmark = pytest.mark.slow

SIZE = 10 << 20
FEW = 64 << 10  # bytes of a request by which a registry is tried
_STEP = 1 << 20


@pytest.fixture
def content(tmp_path: Path) -> ByteMap:
    file = tmp_path / "weights"
    file.write_bytes(random.Random(1).randbytes(SIZE))
    stamp = FileStamp.from_stat(file.stat())
    return ByteMap([FileRange(path=file, offset=0, size=SIZE, stamp=stamp)])


def digest_of(content: ByteMap) -> Digest:
    with content.open() as reader:
        return Digest.of(reader.read())


def hash_all(tail: Tail, content: ByteMap) -> None:
    """What `digest_layers` does."""
    for _ in range(SIZE // _STEP):
        tail.hashed(_STEP)
        while not tail.has_room(0.1):
            pass
    tail.finish(digest_of(content))


def stream(
    registry: Registry, server: ScriptedRegistry, content: ByteMap, then: Callable[[Tail], None] = lambda _: None
) -> Tail | None:
    with registry.uploading(reference(server)) as uploading:
        tail = uploading.begin("weights", content)
        if tail is None:
            return None
        try:
            then(tail)
            hash_all(tail, content)
        finally:
            tail.abandon()
    return tail


def test_bytes_leave_before_the_digest_is_known(server: ScriptedRegistry, client: Client, content: ByteMap) -> None:
    registry = client()
    with registry.uploading(reference(server)) as uploading:
        tail = uploading.begin("weights", content)
        assert tail is not None
        tail.hashed(SIZE)
        deadline = time.monotonic() + 60
        while len(server.requests("PATCH")) < 3:
            assert time.monotonic() < deadline, "nothing leaves"
            time.sleep(0.01)
        sizes = [len(patch.body) for patch in server.requests("PATCH")]
        assert sizes[2] == SIZE
        assert max(sizes[:2]) <= FEW, "to see what it takes, and keeps"
        assert not server.blobs
        tail.finish(digest_of(content))
    assert list(server.blobs) == [str(digest_of(content))]
    assert not server.requests("HEAD")
    assert registry.moved.sent == SIZE


def test_a_later_push_does_not_look_at_it_again(server: ScriptedRegistry, client: Client, content: ByteMap) -> None:
    registry = client()
    stream(registry, server, content)
    with content.open() as reader:
        blob = Descriptor.of(media_types.LAYER_TAR, reader.read())
    assert registry._uploader.has_sent(reference(server), blob.digest)


@pytest.mark.parametrize("status", [201, 405, 416])
def test_a_registry_that_takes_no_such_patch(
    server: ScriptedRegistry, client: Client, content: ByteMap, status: int
) -> None:
    def refuse_large_ones(request: Request, default: Default) -> Reply:
        if len(request.body) <= FEW:
            return default()
        return changed(status=201)(request, default) if status == 201 else error(status, "UNSUPPORTED")

    server.on("PATCH", "/uploads/", refuse_large_ones, times=9)
    registry = client()
    assert stream(registry, server, content) is not None
    assert list(server.blobs) == [str(digest_of(content))]
    assert not server.uploads
    patches = len(server.requests("PATCH"))
    server.blobs.clear()
    assert stream(registry, server, content) is None  # it is remembered
    assert len(server.requests("PATCH")) == patches


@pytest.mark.parametrize("refusal", [changed(status=201), error(405, "UNSUPPORTED"), error(404, "BLOB_UPLOAD_UNKNOWN")])
def test_a_few_bytes_tell_what_a_registry_takes(
    server: ScriptedRegistry, client: Client, content: ByteMap, refusal: Action | Reply
) -> None:
    server.on("PATCH", "/uploads/", refusal)
    registry = client()
    assert stream(registry, server, content) is None
    assert stream(registry, server, content) is None
    assert len(server.requests("PATCH")) == 1
    assert not server.uploads


def test_what_is_probably_there_is_hashed_first(server: ScriptedRegistry, client: Client, content: ByteMap) -> None:
    image = random_image(sizes=(10, SIZE), platforms=1)
    registry = client()
    registry.push(image.store, image.descriptor, reference(server, "org/model:before"))
    assert stream(client(), server, content) is None


def test_small_and_moving_files_are_hashed_first(server: ScriptedRegistry, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "growing"
    file.write_bytes(bytes(SIZE))
    with client().uploading(reference(server)) as uploading:
        assert uploading.begin("growing", ByteMap.of_file(file, SIZE)) is None
        assert uploading.begin("small", ByteMap.of_file(file, 1000)) is None


def test_known_refusals_are_not_tried(content: ByteMap, server: ScriptedRegistry) -> None:
    for family in ("Amazon ECR", "GHCR", "Google Artifact Registry"):
        with Registry(ClientSettings(dialect=family)) as registry:
            assert stream(registry, server, content) is None


def test_nothing_leaves_before_it_may(server: ScriptedRegistry, client: Client, content: ByteMap) -> None:
    allowed = threading.Event()
    with client().uploading(reference(server)) as uploading:
        tail = uploading.begin("weights", content, ready=allowed.wait)
        assert tail is not None
        hash_all(tail, content)  # does not wait for a sender that may not send
        assert len(server.requests("POST")) == 1  # what it takes was tried out
        allowed.set()
    assert list(server.blobs) == [str(digest_of(content))]


def test_a_refusal_reaches_who_hashes(server: ScriptedRegistry, client: Client, content: ByteMap) -> None:
    def refuse_large_ones(request: Request, default: Default) -> Reply:
        return default() if len(request.body) <= FEW else error(403, "DENIED", "quota")

    server.on("PATCH", "/uploads/", refuse_large_ones, times=9)
    with pytest.raises(Forbidden, match="quota"):
        stream(client(), server, content)
    assert not server.blobs


def test_a_file_that_changes_is_sent_by_nobody(server: ScriptedRegistry, client: Client, content: ByteMap) -> None:
    def changes(_: Tail) -> None:
        raise SourceChanged("it has changed")

    with pytest.raises(SourceChanged):
        stream(client(), server, content, changes)
    assert not server.blobs


def test_the_hasher_stays_near_a_sender_that_follows() -> None:
    tail = Tail(lead=100)
    tail.hashed(200)
    assert tail.has_room(0)
    tail.follow()
    assert not tail.has_room(0)
    tail.sent(100)
    assert tail.has_room(0)
    tail.hashed(50)
    tail.let_go()
    assert tail.has_room(0)


def test_the_hasher_may_wait_until_the_sender_is_through() -> None:
    tail = Tail()
    assert not tail.has_left(0)
    tail.end()
    assert tail.has_left(0)


def test_a_sender_that_never_begins_is_not_waited_for() -> None:
    """The group it belongs to has failed before its turn came."""
    failure = SourceChanged("it has changed")
    tail = Tail(given_up=lambda: failure)
    with pytest.raises(SourceChanged):
        tail.has_left(0.1)


def test_what_goes_on_far_behind_the_start_lets_the_hasher_come_there(content: ByteMap) -> None:
    tail = Tail(lead=_STEP)
    tail.follow()
    tail.hashed(2 * _STEP)
    assert not tail.has_room(0)
    rest = behind(map_source(content), tail)(8 * _STEP, 2 * _STEP)
    sending = threading.Thread(target=lambda: list(rest))
    sending.start()
    for _ in range(8):
        assert tail.has_room(10)
        tail.hashed(_STEP)
    sending.join(10)
    assert not sending.is_alive()
