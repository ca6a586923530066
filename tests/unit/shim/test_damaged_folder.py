"""Files of a node's folder that something else has taken the place of: said in a line, and never waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.cache.origin import Origin
from modelcar.errors import StorageError
from modelcar.oci import Digest, compact_json
from modelcar.oci.media_types import INDEX
from modelcar.store.layout import OciLayout
from modelcar.store.memory import MemoryStore
from registry_shim.distribution.repositories import Repositories
from registry_shim.folder import opened
from registry_shim.gate.lineage import Lineage
from registry_shim.gate.verdicts import VerdictStore
from registry_shim.mirror.facts import Facts
from registry_shim.operations.admin.revoked import Revoked
from registry_shim.precache.lists import Folder
from registry_shim.precache.queue import Queue
from registry_shim.space.catalogue import read_blob
from registry_shim.space.pins import Pins
from registry_shim.space.uses import Uses

ORIGIN = Origin(registry="registry.example", repository="org/model")
DIGEST = Digest.of(b"a")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


Takes = Callable[[Path], None]
taken_by = pytest.mark.parametrize("take", [pipe, device, huge])


@taken_by
@pytest.mark.parametrize("state", [Pins, Queue, Revoked])
def test_what_must_not_be_lost_is_asked_for(tmp_path: Path, state: Callable[[Path], object], take: Takes) -> None:
    take(tmp_path / "state")
    with pytest.raises(StorageError, match=r"cannot read .*state: it (is no ordinary file|has more than)"):
        state(tmp_path / "state")


@taken_by
def test_what_can_be_had_again_is_not_missed(tmp_path: Path, take: Takes) -> None:
    take(tmp_path / "uses.json")
    assert Uses(tmp_path / "uses.json").of(DIGEST) == 0.0
    facts = Facts(tmp_path, MemoryStore())
    repository = tmp_path / "upstreams" / ORIGIN.registry / "repositories" / ORIGIN.repository
    for folder in ("_sizes/sha256", "_lists", "_tags", "_manifests/sha256"):
        (repository / folder).mkdir(parents=True)
    take(repository / "_sizes" / "sha256" / DIGEST.hex)
    take(repository / "_lists" / "tags.json")
    take(repository / "_tags" / "v1")
    take(repository / "_manifests" / "sha256" / DIGEST.hex)
    assert facts.blob_size(ORIGIN, DIGEST) is None
    assert facts.read_list(ORIGIN, "tags") is None
    assert facts.resolve(ORIGIN, "v1") is None
    assert facts.manifest(ORIGIN, DIGEST) is None
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    take(tmp_path / "blobs" / "sha256" / DIGEST.hex)
    assert read_blob(tmp_path)(DIGEST) is None


@taken_by
def test_a_list_keeps_what_it_said(tmp_path: Path, take: Takes) -> None:
    take(tmp_path / "a.txt")
    folder = Folder(tmp_path, lambda *_: ())
    assert folder.images() == {}
    assert "a.txt" in folder.problems["a.txt"]


def test_numbers_that_no_clock_shows(tmp_path: Path) -> None:
    (tmp_path / "uses.json").write_text('{"%s": 1%s}' % (DIGEST, "0" * 400))  # noqa: UP031  # braces
    assert Uses(tmp_path / "uses.json").of(DIGEST) == 0.0


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b'"x"', b"null"])
def test_a_link_to_a_manifest_that_is_damaged(tmp_path: Path, content: bytes) -> None:
    repositories = Repositories(tmp_path)
    path = tmp_path / "org" / "_manifests" / "sha256" / DIGEST.hex
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is damaged"):
        repositories["org"].manifest(DIGEST)


def test_a_size_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "upstreams" / ORIGIN.registry / "repositories" / ORIGIN.repository / "_sizes" / "sha256"
    path.mkdir(parents=True)
    (path / DIGEST.hex).write_bytes(b"\xff")
    assert Facts(tmp_path, MemoryStore()).blob_size(ORIGIN, DIGEST) is None


def test_a_folder_of_links_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "org" / "_manifests").mkdir(parents=True)
    for name in ("_referrers", "_tags", "_manifests/sha256"):
        (tmp_path / "org" / name).write_text("")
    repository = Repositories(tmp_path)["org"]
    assert repository.referrers(DIGEST) == []
    assert repository.tags() == []
    assert list(repository.manifests()) == []


def test_links_beside_the_lineage(tmp_path: Path) -> None:
    (tmp_path / "nowhere.json").symlink_to("/nonexistent")
    (tmp_path / "loop.json").symlink_to("loop.json")
    os.mkfifo(tmp_path / "pipe.json")
    assert Lineage(tmp_path).listing(ORIGIN, DIGEST) == ()


def test_a_pipe_is_no_verdict(tmp_path: Path) -> None:
    verdicts = VerdictStore(tmp_path)
    os.mkfifo(tmp_path / f"{DIGEST.algorithm}-{DIGEST.hex}.json", 0o600)
    assert verdicts.get(DIGEST) is None


def test_a_manifest_of_a_terabyte_is_not_read(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path, create=True)
    content = compact_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    digest = Digest.of(content)
    assert Facts(tmp_path, layout).keep(ORIGIN, content, INDEX, digest).content == content
    layout.path(digest).chmod(0o600)
    os.truncate(layout.path(digest), 1 << 40)
    assert Facts(tmp_path, layout).manifest(ORIGIN, digest) is None
    assert digest not in layout


def test_links_among_what_a_killed_push_left(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "root", create=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    ingest = tmp_path / "root" / "ingest"
    ingest.mkdir(exist_ok=True)
    (ingest / "loop").symlink_to("loop")
    (ingest / "nowhere").symlink_to("/nonexistent")
    (ingest / "elsewhere").symlink_to(tmp_path / "precious")
    os.mkfifo(ingest / "pipe")
    layout.sweep_ingest()
    assert list(ingest.iterdir()) == []
    assert (tmp_path / "precious" / "file").exists()


@pytest.mark.parametrize("keeps", [False, True])
def test_a_root_that_is_a_file(tmp_path: Path, keeps: bool) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is not a folder"), opened(tmp_path / "file", keeps=keeps):
        pass
