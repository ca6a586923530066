"""Model indexes: read once for all who want them, few are kept, and only what is true for good is remembered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelcar.cache import indexes as module
from modelcar.cache.cache import Cache
from modelcar.cache.indexes import Indexed, Indexes
from modelcar.cache.origin import Origin
from modelcar.cache.settings import CacheSettings
from modelcar.errors import InvalidDocument, RemoteNotFound, Unreachable
from modelcar.files import ReadAt
from modelcar.layers.index import ModelIndex
from modelcar.layers.outline import LARGEST, outline_index_layer
from modelcar.oci import Descriptor
from modelcar.oci.media_types import LAYER_TAR
from modelcar.packaging.inspect import index_layer_of
from tests.support.chunks import Fault, MemorySource
from tests.support.lazy_images import LazyImage, lazy_image
from tests.unit.cache.conftest import ORIGIN, MakeCache

IMAGE = lazy_image()
ELSEWHERE = Origin(registry="registry.example", repository="org/other")


def index_layer(image: LazyImage = IMAGE) -> Descriptor:
    layer = index_layer_of(image.manifest)
    assert layer is not None
    return layer


@pytest.fixture
def source() -> MemorySource:
    return MemorySource(IMAGE.blobs[index_layer().digest])


@pytest.fixture
def cache(make_cache: MakeCache, source: MemorySource) -> Cache:
    return make_cache(source, settings=CacheSettings(linger=0.0, mismatch_pause=0.0))


@pytest.fixture
def outlined(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The size of each layer that was read."""
    sizes: list[int] = []

    def outline(read_at: ReadAt, size: int) -> ModelIndex:
        sizes.append(size)
        return outline_index_layer(read_at, size)

    monkeypatch.setattr(module, "outline_index_layer", outline)
    return iter([sizes])


def together(count: int, ask: Callable[[], Indexed]) -> list[Indexed]:
    with ThreadPoolExecutor(count) as pool:
        return [done.result(60) for done in [pool.submit(ask) for _ in range(count)]]


def test_many_at_once_have_it_read_once(cache: Cache, source: MemorySource, outlined: Iterator[list[int]]) -> None:
    indexes, sizes = Indexes(cache), next(outlined)
    source.gate = threading.Event()
    threading.Timer(0.1, source.gate.set).start()
    found = together(8, lambda: indexes.read(ORIGIN, index_layer()))
    assert all(each is found[0] for each in found)
    assert len(sizes) == 1
    assert {layer.digest for layer in found[0].index.layers} == found[0].grids.keys()
    assert all(grid.verifiable for grid in found[0].grids.values())


def test_what_failed_for_one_is_tried_by_the_next(cache: Cache, source: MemorySource) -> None:
    """Whoever joined a reading that fails has reasons of its own to succeed: another repository, more time."""
    indexes = Indexes(cache)
    source.gate = threading.Event()
    reading, is_new = indexes.begin(ELSEWHERE, index_layer(), 0.2)
    assert is_new
    first = threading.Thread(target=reading.run)
    first.start()
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(indexes.read, ORIGIN, index_layer(), 60.0)
        first.join(30)
        assert isinstance(reading.future.exception(0), Unreachable)
        source.gate.set()
        assert patient.result(60).grids
    source.faults.append(Fault(refuse=RemoteNotFound("gone"), times=1000))
    assert indexes.read(ORIGIN, index_layer()).grids, "it is in memory"


def test_what_nobody_has_is_asked_for_again(cache: Cache, source: MemorySource) -> None:
    source.faults.append(Fault(refuse=RemoteNotFound("not here"), times=1000))
    indexes = Indexes(cache)
    with pytest.raises(RemoteNotFound):
        indexes.read(ORIGIN, index_layer())
    source.faults.clear()
    assert indexes.read(ORIGIN, index_layer()).grids


def test_a_reading_that_its_owner_never_began_is_run_by_who_needs_it(cache: Cache) -> None:
    indexes = Indexes(cache)
    reading, _ = indexes.begin(ORIGIN, index_layer())
    assert indexes.read(ORIGIN, index_layer(), 30.0).grids
    assert not reading.run()


def test_that_it_is_none_is_remembered(make_cache: MakeCache, outlined: Iterator[list[int]]) -> None:
    junk, sizes = b"junk" * 100, next(outlined)
    indexes = Indexes(make_cache(MemorySource(junk)))
    for _ in range(3):
        with pytest.raises(InvalidDocument):
            indexes.read(ORIGIN, Descriptor.of(LAYER_TAR, junk))
    assert len(sizes) == 1


def test_few_are_kept(cache: Cache, outlined: Iterator[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", index_layer().size)
    indexes, sizes = Indexes(cache), next(outlined)
    for _ in range(2):
        indexes.read(ORIGIN, index_layer())
    assert len(sizes) == 1
    other = replace(index_layer(), digest=IMAGE.manifest.layers[0].digest)
    indexes.begin(ORIGIN, other)
    indexes.read(ORIGIN, index_layer())
    assert len(sizes) == 2


def test_one_that_is_too_large_is_not_fetched(cache: Cache, source: MemorySource) -> None:
    with pytest.raises(InvalidDocument, match="more than are read"):
        Indexes(cache).read(ORIGIN, replace(index_layer(), size=LARGEST + 1))
    assert source.asked == []
