"""Images into the local store: in ranges, and going on where the last pull ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import InvalidContent, RegistryError
from modelcar.images.store_pull import ranged_blobs
from modelcar.lazy.download import registry_downloads
from modelcar.lazy.settings import FetchSettings
from modelcar.oci import Descriptor, Digest, Reference
from modelcar.packaging.fetch import RegistrySource, bring_image
from modelcar.registry import ClientSettings, Registry
from modelcar.store import LocalStore
from modelcar.store.disk import lock
from modelcar.testing.registry import Fault, MisbehavingRegistry, Wrong, running
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.images import validate_in
from tests.unit.packaging.conftest import Build

pytestmark = pytest.mark.slow

QUICK = FetchSettings(backoff=0.05, backoff_limit=0.2, attempts=3)
CLIENT = ClientSettings(timeout=10)


class Site:
    """An image of three shards of 9 MiB in a registry, and an empty store."""

    def __init__(self, registry: MisbehavingRegistry, target: LocalStore, image: Descriptor, size: int) -> None:
        self.registry, self.target, self.image, self.size = registry, target, image, size
        self.ref = Reference.parse(f"{registry.address}/org/model:v1")

    def pull(self, fetch: FetchSettings = QUICK) -> None:
        with (
            self.target.session(),
            Registry(CLIENT) as client,
            registry_downloads(self.ref, CLIENT, fetch) as downloads,
        ):
            source = RegistrySource(self.ref, client)
            bring = ranged_blobs(source, source.resolve(), downloads, self.target.content)
            self.registry.reset_counts()
            assert bring_image(self.ref, self.target, client, bring=bring).digest == self.image.digest


@pytest.fixture
def site(tmp_path: Path, store: LocalStore, build: Build) -> Iterator[Site]:
    folder = make_checkpoint(tmp_path / "large", shards=3, elements=9 << 19)
    image = build(folder).index
    size = sum(map(len, files_of(folder).values()))
    with running("distribution") as registry:
        site = Site(registry, LocalStore(tmp_path / "other"), image, size)
        with Registry(replace(CLIENT, state=tmp_path / "state")) as client:
            client.push(store.content, image, site.ref)
        yield site


def test_an_image_arrives_in_ranges(site: Site) -> None:
    site.pull()
    validate_in(site.target.content, site.image)
    asked = [seen for seen in site.registry.journal() if "range" in seen.headers]
    assert len(asked) >= 3
    assert list((site.target.content.root / "ingest").glob("*")) == []
    site.pull()
    assert site.registry.counts().sent == 0


def test_a_failed_pull_goes_on_inside_its_blobs(site: Site) -> None:
    largest = largest_of(site.registry)
    site.registry.misbehave(
        Fault(wrong=Wrong.STATUS, status=404, method="GET", path=largest, skip=1, times=1000),
    )
    with pytest.raises(RegistryError):
        site.pull(replace(QUICK, upstream_streams=1, blob_streams=1))
    already = len(site.registry.journal())
    site.registry.behave()
    site.pull()
    validate_in(site.target.content, site.image)
    assert sum(seen.sent for seen in site.registry.journal()[already:] if largest in seen.path) < 6 << 20  # of nine


def test_what_is_left_behind_is_swept(site: Site) -> None:
    path = f"/blobs/{largest_of(site.registry)}"
    site.registry.misbehave(Fault(wrong=Wrong.STATUS, status=404, method="GET", path=path, times=1000))
    with pytest.raises(RegistryError):
        site.pull()
    assert list((site.target.content.root / "ingest").glob("*/have"))
    assert site.target.content.sweep_ingest() > 0
    assert list((site.target.content.root / "ingest").glob("*")) == []


def test_a_blob_that_another_process_brings_is_fetched_apart(site: Site) -> None:
    largest = largest_of(site.registry)
    folder = site.target.content.root / "ingest" / largest.replace(":", "-")
    folder.mkdir(parents=True)
    with lock(folder, exclusive=True):
        site.pull()
    validate_in(site.target.content, site.image)


def test_wrong_bytes_leave_nothing(site: Site) -> None:
    largest = largest_of(site.registry)
    site.registry.misbehave(Fault(wrong=Wrong.WRONG_DIGEST, method="GET", path=f"/blobs/{largest}", times=1000))
    with pytest.raises(InvalidContent):
        site.pull()
    assert Digest.parse(largest) not in site.target.content
    assert not (site.target.content.root / "ingest" / largest.replace(":", "-") / "grid.json").exists()


def largest_of(registry: MisbehavingRegistry) -> str:
    return max(registry.digests(), key=lambda digest: len(registry.blob(digest)))
