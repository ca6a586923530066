"""What is on disk, and that a server killed between any two steps leaves nothing half-visible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import StorageError
from modelcar.oci import Descriptor, Digest
from registry_shim.distribution import repositories
from registry_shim.distribution.repositories import ManifestLink, Repositories, Repository

MANIFEST = Descriptor(media_type="a/b", digest=Digest.of(b"manifest"), size=8, annotations={"a": "1"})
SUBJECT = Digest.of(b"subject")
LINK = ManifestLink(MANIFEST, SUBJECT)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repositories(tmp_path)["org/model"]


def test_everything_survives_a_restart(tmp_path: Path, repository: Repository) -> None:
    repository.link_blob(SUBJECT)
    repository.add_manifest(LINK)
    repository.set_tag("v1", MANIFEST.digest)
    again = Repositories(tmp_path)["org/model"]
    assert again.has_blob(SUBJECT)
    assert again.manifest(MANIFEST.digest) == LINK
    assert again.resolve("v1") == MANIFEST.digest
    assert again.referrers(SUBJECT) == [MANIFEST]
    assert Repositories(tmp_path).names() == ["org/model"]


class Killed(BaseException):
    pass


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die before its n-th change of the disk."""
    counter = iter(range(100))

    def dying(change: Any) -> Any:
        def wrapped(*arguments: Any) -> Any:
            if next(counter) == step:
                raise Killed
            return change(*arguments)

        return wrapped

    for name in ("_touch", "_write", "_remove"):
        monkeypatch.setattr(repositories, name, dying(getattr(repositories, name)))


def publish(repository: Repository) -> None:
    repository.add_manifest(LINK)
    repository.set_tag("v1", MANIFEST.digest)


def assert_consistent(repository: Repository) -> None:
    for tag in repository.tags():
        digest = repository.resolve(tag)
        assert digest is not None
        assert repository.manifest(digest) is not None
    for descriptor in repository.referrers(SUBJECT):
        assert repository.manifest(descriptor.digest) is not None
    if repository.manifest(MANIFEST.digest) is not None:
        assert repository.referrers(SUBJECT) == [MANIFEST]


@pytest.mark.parametrize("step", range(3))
def test_killed_while_publishing(repository: Repository, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    with monkeypatch.context() as patch:
        killed_at(step, patch)
        with pytest.raises(Killed):
            publish(repository)
    assert_consistent(repository)
    publish(repository)
    assert repository.referrers(SUBJECT) == [MANIFEST]


@pytest.mark.parametrize("step", range(3))
def test_killed_while_deleting(repository: Repository, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    publish(repository)
    with monkeypatch.context() as patch:
        killed_at(step, patch)
        with pytest.raises(Killed):
            repository.remove_manifest(MANIFEST.digest)
    assert_consistent(repository)


def test_half_written_files_are_not_seen(tmp_path: Path, repository: Repository) -> None:
    publish(repository)
    folder = tmp_path / "org/model"
    (folder / "_tags/.v2.0123456789ab").write_text("sha256:")
    (folder / f"_manifests/sha256/.{'0' * 64}.0123456789ab").write_text("{")
    assert repository.tags() == ["v1"]
    assert list(repository.manifests()) == [MANIFEST.digest]


def test_damage_is_named(tmp_path: Path, repository: Repository) -> None:
    publish(repository)
    (tmp_path / "org/model/_tags/v1").write_text("nonsense")
    with pytest.raises(StorageError, match=r"_tags/v1 is damaged"):
        repository.resolve("v1")
    (tmp_path / "org/model/_manifests/sha256" / MANIFEST.digest.hex).write_text("{}")
    with pytest.raises(StorageError, match="is damaged"):
        repository.manifest(MANIFEST.digest)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        Repositories(tmp_path / "file")["a"].link_blob(SUBJECT)


def test_names_never_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="up"):
        Repositories(tmp_path)["../up"]
