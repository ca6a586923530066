"""A pull that ends early: what stays, what does not, and that the next one goes on from there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelcar.errors import InvalidContent, ModelcarError, StorageError, Unreachable, UsageError
from modelcar.oci import Descriptor, Digest
from modelcar.packaging import staging as staging_module
from modelcar.packaging.fetch import StoreSource, choose_manifest
from modelcar.packaging.staging import open_staging
from modelcar.packaging.unpack import Readable, Unpacked, unpack_model
from modelcar.store import LocalStore
from tests.support.checkpoints import files_of
from tests.unit.packaging.conftest import Build

IMAGE = Digest.of(b"image")


class Flaky:
    """An image whose layers can be opened `allowed` times; then `failure` is raised. Counts what was opened."""

    def __init__(self, source: StoreSource) -> None:
        self._source = source
        self.manifest = choose_manifest(source, source.resolve())
        self.allowed = 100
        self.failure: BaseException = Unreachable("the line is cut")
        self.opened: list[Digest] = []

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[Readable]:
        if len(self.opened) >= self.allowed:
            raise self.failure
        self.opened.append(descriptor.digest)
        with self._source.open_layer(descriptor) as stream:
            yield stream

    def unpack(self, target: Path) -> Unpacked:
        return unpack_model(self.manifest, self.open, target, workers=1)


@pytest.fixture
def flaky(folder: Path, store: LocalStore, build: Build) -> Flaky:
    return Flaky(StoreSource(store.content, build(folder).index))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "parent" / "out"


def fail_after(flaky: Flaky, layers: int, target: Path, failure: BaseException | None = None) -> BaseException:
    flaky.allowed = layers
    flaky.failure = failure or flaky.failure
    with pytest.raises(type(flaky.failure)) as caught:
        flaky.unpack(target)
    assert not target.exists()
    return caught.value


def test_a_repeated_pull_fetches_only_what_is_missing(flaky: Flaky, folder: Path, target: Path) -> None:
    error = fail_after(flaky, 2, target)
    assert isinstance(error, ModelcarError)
    assert error.hint is not None
    assert "goes on" in error.hint
    before, flaky.opened, flaky.allowed = flaky.opened, [], 100
    unpacked = flaky.unpack(target)
    assert files_of(target) == files_of(folder)
    assert unpacked.files == len(files_of(folder))
    assert len(flaky.opened) == 2
    assert not set(flaky.opened) & set(before)
    assert list(target.parent.iterdir()) == [target]


def test_ctrl_c_keeps_finished_layers(flaky: Flaky, folder: Path, target: Path) -> None:
    fail_after(flaky, 1, target, KeyboardInterrupt())
    flaky.opened, flaky.allowed = [], 100
    flaky.unpack(target)
    assert files_of(target) == files_of(folder)
    assert len(flaky.opened) == 3


@pytest.mark.parametrize("exists", [False, True], ids=["renamed", "moved"])
def test_ctrl_c_in_the_last_moment_leaves_the_model_and_nothing_beside_it(
    target: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    if exists:
        target.mkdir(parents=True)
        monkeypatch.chdir(target)
    real = Path.rename

    def rename(self: Path, to: Path) -> Path:
        real(self, to)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), open_staging(target, IMAGE) as staging:  # noqa: PT012  # it fails at its end
        (staging.files / "a").write_text("1")
        monkeypatch.setattr(Path, "rename", rename)
    assert list(target.parent.iterdir()) == [target]
    assert files_of(target) == {"a": b"1"}


def test_nothing_stays_when_no_layer_was_finished(flaky: Flaky, target: Path) -> None:
    fail_after(flaky, 0, target)
    assert list(target.parent.iterdir()) == []


def test_nothing_stays_when_the_image_is_to_blame(flaky: Flaky, target: Path) -> None:
    fail_after(flaky, 2, target, InvalidContent("a bad layer"))
    assert list(target.parent.iterdir()) == []


def test_a_half_written_layer_is_fetched_again(flaky: Flaky, folder: Path, target: Path) -> None:
    fail_after(flaky, 2, target)
    files = staging_of(target) / "files"
    done = {p for m in (staging_of(target) / "done").iterdir() for p in m.read_text().split("\0")}
    half = next(p for p in files_of(folder) if p not in done)
    (files / half).write_bytes(b"half")
    flaky.allowed = 100
    flaky.unpack(target)
    assert files_of(target) == files_of(folder)


def test_another_image_begins_anew(flaky: Flaky, folder: Path, build: Build, store: LocalStore, target: Path) -> None:
    fail_after(flaky, 2, target)
    (folder / "config.json").write_text("{}")
    other = Flaky(StoreSource(store.content, build(folder).index))
    other.unpack(target)
    assert files_of(target) == files_of(folder)
    assert len(other.opened) == 4


def test_what_a_crash_of_the_machine_may_have_lost_is_not_trusted(
    flaky: Flaky, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after(flaky, 2, target)
    boot = tmp_path / "boot_id"
    boot.write_text("another boot\n")
    monkeypatch.setattr(staging_module, "_BOOT_ID", boot)
    flaky.opened, flaky.allowed = [], 100
    flaky.unpack(target)
    assert len(flaky.opened) == 4


def test_two_pulls_do_not_work_in_one_folder(target: Path) -> None:
    with (
        open_staging(target, IMAGE) as staging,
        pytest.raises(StorageError, match="another pull"),
        open_staging(target, IMAGE),
    ):
        pass
    assert not staging.folder.exists()


def test_a_folder_that_others_may_write_is_not_trusted(target: Path) -> None:
    staging_of(target).mkdir(parents=True)
    staging_of(target).chmod(0o777)
    with pytest.raises(StorageError, match="others may write to"), open_staging(target, IMAGE):
        pass


def test_a_link_in_its_place_is_not_followed(target: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target.parent.mkdir()
    staging_of(target).symlink_to(elsewhere)
    with pytest.raises(StorageError), open_staging(target, IMAGE):
        pass
    assert list(elsewhere.iterdir()) == []


def test_a_mount_point_is_filled_in_place_and_a_move_that_was_cut_is_finished(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.mkdir(parents=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: path == target)
    moves = iter([None, OSError(5, "cut")])
    real = Path.rename

    def rename(self: Path, to: Path) -> Path:
        if (failure := next(moves, None)) is not None:
            raise failure
        return real(self, to)

    with monkeypatch.context() as patch:
        with pytest.raises(StorageError), open_staging(target, IMAGE) as staging:  # noqa: PT012  # it fails at its end
            (staging.files / "a").write_text("1")
            (staging.files / "b").write_text("2")
            patch.setattr(Path, "rename", rename)
        assert sorted(p.name for p in target.iterdir()) == [".modelcar-pull", "a"]
    with pytest.raises(UsageError, match="not empty"), open_staging(target, IMAGE):
        pass
    assert files_of(target) == {"a": b"1", "b": b"2"}


def test_the_current_folder_is_filled_in_place(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.mkdir(parents=True)
    monkeypatch.chdir(target)
    before = target.stat().st_ino
    with open_staging(Path(), IMAGE) as staging:
        (staging.files / "a").write_text("1")
    assert target.stat().st_ino == before
    assert files_of(Path()) == {"a": b"1"}


def test_a_folder_in_one_that_may_not_be_written_is_filled_in_place(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, _: path != target.parent)
    with open_staging(target, IMAGE) as staging:
        assert staging.folder.parent == target
        (staging.files / "a").write_text("1")
    assert files_of(target) == {"a": b"1"}


def test_a_fresh_volume_is_empty(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (target / "lost+found").mkdir(parents=True)
    with pytest.raises(UsageError, match="not empty"), open_staging(target, IMAGE):
        pass
    monkeypatch.setattr(os.path, "ismount", lambda path: path == target)
    with open_staging(target, IMAGE) as staging:
        (staging.files / "a").write_text("1")
    assert files_of(target) == {"a": b"1"}


def test_a_folder_keeps_its_mode_and_a_link_is_refused(target: Path) -> None:
    target.mkdir(parents=True)
    target.chmod(0o750)
    with open_staging(target, IMAGE):
        pass
    assert target.stat().st_mode & 0o777 == 0o750
    link = target.with_name("link")
    link.symlink_to(target)
    with pytest.raises(UsageError, match="is a link") as caught, open_staging(link, IMAGE):
        pass
    assert str(target) in str(caught.value.hint)


def test_a_full_disk_says_what_is_kept(flaky: Flaky, target: Path) -> None:
    flaky.allowed, flaky.failure = 1, OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageError, match=r"cannot write to .*out: No space left") as caught:
        flaky.unpack(target)
    assert f"what has come is kept in {staging_of(target)}" in str(caught.value.hint)


def staging_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.modelcar-pull")
