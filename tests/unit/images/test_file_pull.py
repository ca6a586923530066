"""A model's files from registries of every dialect, whatever goes wrong on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelcar.errors import NotFound, RegistryError, UsageError
from modelcar.images.file_pull import SourceChunks, pull_files
from modelcar.images.reader import ModelReader
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.download import Downloads, registry_downloads
from modelcar.lazy.settings import FetchSettings
from modelcar.oci import Reference
from modelcar.packaging.fetch import RegistrySource, StoreSource
from modelcar.packaging.unpack import Unpacked
from modelcar.registry import ClientSettings, Registry
from modelcar.store import LocalStore
from modelcar.testing.registry import PROFILES, Fault, Faults, MisbehavingRegistry, Profile, Wrong, running
from tests.support.checkpoints import files_of, make_checkpoint
from tests.unit.packaging.conftest import Build

pytestmark = pytest.mark.slow

QUICK = FetchSettings(backoff=0.05, backoff_limit=0.2, attempts=8)
CLIENT = ClientSettings(timeout=10)
RANGED = sorted(name for name, profile in PROFILES.items() if profile.ranges)


@dataclass(frozen=True)
class Remote:
    """An image in a registry, and the folder that it was made of."""

    registry: MisbehavingRegistry
    folder: Path
    size: int

    @property
    def ref(self) -> Reference:
        return Reference.parse(f"{self.registry.address}/org/model:v1")

    def pull(self, target: Path, *include: str, fetch: FetchSettings = QUICK, workers: int = 4) -> Unpacked:
        with Registry(CLIENT) as client, registry_downloads(self.ref, CLIENT, fetch) as downloads:
            source = RegistrySource(self.ref, client)
            reader = ModelReader(source, source.resolve())
            self.registry.reset_counts()
            return pull_files(reader, downloads, target, include=include, workers=workers)


Push = Callable[[str | Profile], Remote]


@pytest.fixture
def push(tmp_path: Path, store: LocalStore, build: Build) -> Iterator[Push]:
    """Shards of some 9 MiB: three chunks each."""
    folder = make_checkpoint(tmp_path / "large", shards=3, elements=9 << 19)
    image = build(folder)
    size = sum(len(content) for content in files_of(folder).values())
    with ExitStack() as stack:

        def push(profile: str | Profile) -> Remote:
            registry = stack.enter_context(running(profile))
            remote = Remote(registry, folder, size)
            with Registry(replace(CLIENT, state=tmp_path / "state")) as client:
                client.push(store.content, image.index, remote.ref)
            return remote

        yield push


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_dialect(push: Push, tmp_path: Path, name: str) -> None:
    remote = push(name)
    unpacked = remote.pull(tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(remote.folder)
    assert (unpacked.files, unpacked.size) == (len(files_of(remote.folder)), remote.size)
    if name in RANGED:
        assert remote.registry.counts().sent < 1.01 * remote.size


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["distribution", "docker-hub", "no-ranges"])
def test_faults_at_random(push: Push, tmp_path: Path, name: str, seed: int) -> None:
    """Ten times as many as in the field, as this is so much less than a gigabyte."""
    remote = push(name)
    remote.registry.misbehave_at_random(Faults(seed=seed, per_gib=200))
    remote.pull(tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(remote.folder)


@pytest.mark.parametrize("seed", range(3))
def test_at_most_one_byte_in_twenty_travels_twice(push: Push, tmp_path: Path, seed: int) -> None:
    """A byte that was changed costs its chunk: little of a gigabyte, and a seventh of what moves here."""
    remote = push("ghcr")
    kinds = (Wrong.CUT, Wrong.STATUS, Wrong.EXPIRED_TOKEN, Wrong.REDIRECT, Wrong.DRIP, Wrong.STALL)
    remote.registry.misbehave_at_random(Faults(seed=seed, per_gib=400, wrongs=kinds))
    remote.pull(tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(remote.folder)
    assert remote.registry.counts().sent < 1.05 * remote.size
    assert sum(remote.registry.counts().faults.values()) > 3


def test_a_changed_byte_costs_its_chunk(push: Push, tmp_path: Path) -> None:
    remote = push("distribution")
    remote.registry.misbehave(Fault(wrong=Wrong.WRONG_DIGEST, method="GET", path="/blobs/", after=3 << 20, times=2))
    remote.pull(tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(remote.folder)
    assert remote.registry.counts().faults == {"wrong-digest": 2}
    assert remote.registry.counts().sent < remote.size + 2.5 * CHUNK_SIZE


def test_a_failed_pull_goes_on_inside_its_layers(push: Push, tmp_path: Path) -> None:
    remote = push("distribution")
    largest = max(remote.registry.digests(), key=lambda digest: len(remote.registry.blob(digest)))
    remote.registry.misbehave(
        Fault(wrong=Wrong.STATUS, status=404, method="GET", path=largest, skip=1, times=1000),
    )
    with pytest.raises(RegistryError) as caught:
        remote.pull(tmp_path / "out", fetch=replace(QUICK, upstream_streams=1, blob_streams=1), workers=1)
    assert "goes on" in (caught.value.hint or "")
    assert not (tmp_path / "out").exists()
    assert any(seen.sent >= CHUNK_SIZE for seen in remote.registry.journal() if largest in seen.path)
    remote.registry.behave()
    remote.pull(tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(remote.folder)
    assert remote.registry.counts().sent < 1.01 * remote.size
    assert {path.name for path in tmp_path.iterdir() if "modelcar-pull" in path.name} == set()


def test_a_registry_that_dies_and_comes_back(push: Push, tmp_path: Path) -> None:
    remote = push("distribution")
    remote.registry.misbehave(Fault(wrong=Wrong.STATUS, status=404, method="GET", path="/blobs/", skip=5, times=1000))
    with pytest.raises(RegistryError):
        remote.pull(tmp_path / "out")
    remote.registry.restart()
    remote.pull(tmp_path / "out")
    assert files_of(tmp_path / "out") == files_of(remote.folder)


def test_only_what_patterns_name(push: Push, tmp_path: Path) -> None:
    remote = push("distribution")
    everything = files_of(remote.folder)
    remote.pull(tmp_path / "out", "*.json", "*00002*")
    wanted = {path: content for path, content in everything.items() if path.endswith(".json") or "00002" in path}
    assert 0 < len(wanted) < len(everything)
    assert files_of(tmp_path / "out") == wanted
    assert remote.registry.counts().sent < sum(map(len, wanted.values())) + CHUNK_SIZE


def test_a_pattern_that_fits_nothing(push: Push, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file of the model fits"):
        push("distribution").pull(tmp_path / "out", "*.gguf")
    assert not (tmp_path / "out").exists()


def test_other_patterns_do_not_take_over_what_is_there(push: Push, tmp_path: Path) -> None:
    remote = push("distribution")
    remote.registry.misbehave(Fault(wrong=Wrong.STATUS, status=404, method="GET", path="/blobs/", skip=4, times=1000))
    with pytest.raises(RegistryError):
        remote.pull(tmp_path / "out")
    remote.registry.behave()
    remote.pull(tmp_path / "out", "config.json")
    assert set(files_of(tmp_path / "out")) == {"config.json"}
    with pytest.raises(UsageError, match="not empty"):
        remote.pull(tmp_path / "out")


def test_an_image_on_this_machine(tmp_path: Path, folder: Path, store: LocalStore, build: Build) -> None:
    source = StoreSource(store.content, build(folder).index)
    with Downloads(SourceChunks(source, "store"), QUICK) as downloads:
        pull_files(ModelReader(source, source.resolve()), downloads, tmp_path / "out", include=("*.json",))
    assert files_of(tmp_path / "out") == {k: v for k, v in files_of(folder).items() if k.endswith(".json")}
