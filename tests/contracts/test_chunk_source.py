"""What every `ChunkSource` does: one over a registry, one over bytes in memory; more add themselves to `SOURCES`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

import pytest

from modelcar.errors import ModelcarError, RegistryError, RemoteNotFound, WorldError
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ByteStream, ChunkSource
from modelcar.lazy.upstream import RegistrySource
from modelcar.oci import Digest, Reference
from modelcar.registry import ClientSettings, Registry
from modelcar.registry.cancel import CancelScope
from tests.support.chunks import Content, Fault, MemorySource
from tests.support.scripted_registry import Reply, ScriptedRegistry, changed, cut_after

pytestmark = pytest.mark.slow

CONTENT = Content(3_000_000)
GRID = CONTENT.plain


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A source that has the blob, and ways to make its next answer a bad one."""

    source: ChunkSource
    cut_after: Callable[[int], None]
    """The connection breaks after so many bytes, for good."""
    stall_after: Callable[[int], None]
    """Nothing more comes after so many bytes, for long."""
    refuse: Callable[[], None]
    """It answers with an error."""


@contextmanager
def memory() -> Iterator[Subject]:
    source = MemorySource(CONTENT.data)
    yield Subject(
        source=source,
        cut_after=lambda n: source.faults.append(Fault(cut=n)),
        stall_after=lambda n: source.faults.append(Fault(stall=n)),
        refuse=lambda: source.faults.append(Fault(refuse=RegistryError("no", status=500))),
    )


@contextmanager
def registry() -> Iterator[Subject]:
    server = ScriptedRegistry()
    server.blobs[str(CONTENT.digest)] = CONTENT.data
    with Registry(ClientSettings(attempts=1, timeout=30)) as client:
        reference = Reference.parse(f"{server.name}/org/model")
        yield Subject(
            source=RegistrySource("upstream", lambda _: [(client, reference)]),
            cut_after=lambda n: server.on("GET", "/blobs/", cut_after(n), times=9),
            stall_after=lambda n: server.on("GET", "/blobs/", changed(stall=30, stall_at=n)),
            refuse=lambda: server.on("GET", "/blobs/", Reply(500)),
        )
    server.close()


SOURCES: dict[str, Callable[[], AbstractContextManager[Subject]]] = {"memory": memory, "registry": registry}


@pytest.fixture(params=SOURCES)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with SOURCES[request.param]() as subject:
        yield subject


def drain(stream: ByteStream, step: int = 1 << 20) -> bytes:
    data = bytearray()
    while piece := stream.read(step):
        assert len(piece) <= step
        data += piece
    return bytes(data)


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (0, 100), (2_999_999, 1), (1_000_003, 1_500_000), (0, 3_000_000)]
)
def test_exactly_the_range(subject: Subject, offset: int, length: int) -> None:
    with subject.source.fetch(GRID, offset, length) as stream:
        assert drain(stream) == CONTENT.data[offset : offset + length]
        assert stream.read(10) == b""


@pytest.mark.parametrize("step", [1, 1000, 1 << 16, 1 << 22])
def test_in_steps_of_any_size(subject: Subject, step: int) -> None:
    length = min(50 * step, 300_000)
    with subject.source.fetch(GRID, 17, length) as stream:
        assert drain(stream, step) == CONTENT.data[17 : 17 + length]


def test_several_threads_at_once(subject: Subject) -> None:
    found: dict[int, bytes] = {}

    def fetch(number: int) -> None:
        with subject.source.fetch(GRID, number * 100_000, 100_000) as stream:
            found[number] = drain(stream)

    threads = [threading.Thread(target=fetch, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(found[n] for n in range(8)) == CONTENT.data[:800_000]


@pytest.mark.parametrize("after", [0, 1, 70_000])
def test_a_stream_that_ends_early_is_an_error_or_too_short_and_never_other_bytes(subject: Subject, after: int) -> None:
    subject.cut_after(after)
    got = bytearray()
    with suppress(WorldError), subject.source.fetch(GRID, 500, 1_000_000) as stream:
        while piece := stream.read(1000):
            got += piece
    assert CONTENT.data[500:].startswith(got)
    assert len(got) <= after


def test_leaving_early_harms_nobody(subject: Subject) -> None:
    with subject.source.fetch(GRID, 0, 3_000_000) as stream:
        stream.read(10)
    with subject.source.fetch(GRID, 5, 10) as stream:
        assert drain(stream) == CONTENT.data[5:15]


@pytest.mark.parametrize("after", [0, 70_000])
def test_closing_it_elsewhere_ends_a_read_that_waits(subject: Subject, after: int) -> None:
    subject.stall_after(after)
    error: list[BaseException] = []
    opened = threading.Event()
    streams: list[ByteStream] = []

    def fetch() -> None:
        try:
            with subject.source.fetch(GRID, 0, 1_000_000) as stream:
                streams.append(stream)
                opened.set()
                drain(stream, 10_000)
        except BaseException as e:
            error.append(e)

    thread = threading.Thread(target=fetch)
    thread.start()
    assert opened.wait(10)
    streams[0].close()
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(error[0], WorldError)


def test_cancelling_its_threads_scope_ends_it_too(subject: Subject) -> None:
    subject.stall_after(0)
    scope = CancelScope()
    error: list[BaseException] = []
    begun = threading.Event()

    def fetch() -> None:
        begun.set()
        try:
            with scope.active(), subject.source.fetch(GRID, 0, 1_000_000) as stream:
                if isinstance(subject.source, MemorySource):  # which knows nothing of scopes
                    raise WorldError("cancelled")
                drain(stream)
        except BaseException as e:
            error.append(e)

    thread = threading.Thread(target=fetch)
    thread.start()
    assert begun.wait(10)
    scope.cancel()
    thread.join(10)
    assert not thread.is_alive()
    assert len(error) == 1


def test_a_blob_that_is_not_there(subject: Subject) -> None:
    nothing = Grid.plain(Digest.of(b"nothing"), len(CONTENT.data) + 1)
    with pytest.raises(RemoteNotFound), subject.source.fetch(nothing, 0, nothing.size) as stream:
        stream.read(1)


def test_a_refusal_is_an_error_of_ours(subject: Subject) -> None:
    subject.refuse()
    with pytest.raises(RegistryError), subject.source.fetch(GRID, 0, 10) as stream:
        stream.read(1)


def test_its_name_is_for_people(subject: Subject) -> None:
    assert subject.source.name
    assert "@" not in subject.source.name


# Of registries alone.


def test_the_next_offer_is_tried_where_one_is_refused() -> None:
    server = ScriptedRegistry()
    server.blobs[str(CONTENT.digest)] = CONTENT.data
    server.on("GET", "/private/", Reply(403))
    with Registry(ClientSettings(attempts=1)) as client:
        offers = [(client, Reference.parse(f"{server.name}/{name}/model")) for name in ("private", "public")]
        source = RegistrySource("upstream", lambda _: offers)
        with source.fetch(GRID, 0, 10) as stream:
            assert drain(stream) == CONTENT.data[:10]
        server.on("GET", "/private/", Reply(403))
        server.on("GET", "/public/", Reply(404))
        with pytest.raises(ModelcarError, match="403"), source.fetch(GRID, 0, 10):
            pass
        with pytest.raises(RemoteNotFound, match="no repository"), RegistrySource("x", lambda _: []).fetch(GRID, 0, 10):
            pass
    server.close()


@pytest.mark.parametrize(
    "answer",
    [
        changed(status=200),
        changed(headers={"Content-Range": "bytes 1-11/3000000"}),
        changed(headers={"Content-Range": "bytes 0-9/3000001"}),
        changed(headers={"Content-Range": ""}),
        changed(status=416),
    ],
)
def test_an_answer_that_is_not_the_range_is_refused(answer: Callable[..., Reply]) -> None:
    server = ScriptedRegistry()
    server.blobs[str(CONTENT.digest)] = CONTENT.data
    server.on("GET", "/blobs/", answer)
    with Registry(ClientSettings(attempts=1)) as client:
        source = RegistrySource("upstream", lambda _: [(client, Reference.parse(f"{server.name}/org/model"))])
        with pytest.raises(RegistryError), source.fetch(GRID, 0, 10) as stream:
            drain(stream)
    server.close()
