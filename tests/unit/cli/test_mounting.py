"""Where models are mounted: folders by whatever name, and by one process at a time."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from modelcar.cli import mounting
from modelcar.cli.mounting import FolderToMount, place_of
from modelcar.errors import NoSpace, StorageError, UsageError
from modelcar.mounts import keeping
from modelcar.mounts.keeping import start_keeper
from modelcar.mounts.process.unmounting import Mounted


def test_a_place_has_no_links_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel will call it: else a mount at a link cannot be found again."""
    real = tmp_path / "real"
    (real / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "chain").symlink_to(tmp_path / "link")
    (tmp_path / "dangling").symlink_to("real/new")
    (real / "up").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    for given, found in {
        "real": real,
        "real/.": real,
        "link": real,
        "chain": real,
        "link/sub": real / "sub",
        "chain/sub/..": real,
        "link/..": tmp_path,
        "real/up/real/sub": real / "sub",
        "dangling": real / "new",
        "missing/deep": tmp_path / "missing" / "deep",
        ".": tmp_path,
        "/": Path("/"),
    }.items():
        assert place_of(Path(given)) == found, given


def test_names_that_lead_nowhere_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="symbolic links"):
        place_of(tmp_path / "loop")
    for name in ("loop/below", "x" * 300):
        with pytest.raises(UsageError, match="cannot mount at"):
            FolderToMount(tmp_path / name)
    with pytest.raises(UsageError, match="not UTF-8"):
        FolderToMount(tmp_path / os.fsdecode(b"\xff\xfe"))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UsageError, match="No such file"):
        place_of(Path("here"))


def test_one_at_a_time_mounts_at_a_folder(tmp_path: Path) -> None:
    with FolderToMount(tmp_path / "mount"), pytest.raises(UsageError, match="right now"):
        FolderToMount(tmp_path / "mount")
    assert not (tmp_path / "mount").exists()
    with FolderToMount(tmp_path / "mount") as folder:
        folder.keep()
    with FolderToMount(tmp_path / "mount"):
        pass
    assert (tmp_path / "mount").exists()


def test_what_somebody_mounted_just_before_we_had_the_folder_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([None, Mounted(device="0:45", kind="erofs", source="x")])
    monkeypatch.setattr(mounting, "mounted", lambda _: next(looks))
    with pytest.raises(UsageError, match="already"):
        FolderToMount(tmp_path)


@pytest.mark.slow
def test_a_keeper_is_not_started_where_it_could_not_even_say_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        pytest.fail("it was started")

    monkeypatch.setattr(keeping, "start_program", start)
    monkeypatch.setattr(keeping, "TemporaryFile", _full)
    with pytest.raises(NoSpace, match="cannot write to"):
        start_keeper(tmp_path / "lazy")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        start_keeper(tmp_path / "file" / "lazy")


def _full(**_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
