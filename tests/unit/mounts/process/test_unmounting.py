"""Reading the table of mounts, and refusals that touch nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import NotFound
from modelcar.mounts.process import unmounting
from modelcar.mounts.process.unmounting import Mounted, holder_of, mounted, unmount

TABLE = r"""29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 29 0:45 / /srv/my\040model\134x rw shared:5 master:3 - fuse.modelcar ghcr.io/acme/model:v1 rw,user_id=0
41 29 0:46 / /srv/two rw - tmpfs first rw
42 29 0:47 / /srv/two ro - erofs second ro
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)
    monkeypatch.setattr(unmounting, "_MOUNTS", tmp_path / "mountinfo")


@pytest.mark.usefixtures("table")
def test_mounts_are_found_by_their_path_whatever_is_in_it() -> None:
    found = mounted(Path("/srv/my model\\x"))
    assert found == Mounted(device="0:45", kind="fuse.modelcar", source="ghcr.io/acme/model:v1")
    assert mounted(Path("/")) == Mounted(device="254:0", kind="ext4", source="/dev/vda")
    assert mounted(Path("/srv")) is None


@pytest.mark.usefixtures("table")
def test_of_several_the_one_on_top_is_found() -> None:
    assert mounted(Path("/srv/two")) == Mounted(device="0:47", kind="erofs", source="second")


@pytest.mark.usefixtures("table")
def test_another_mount_in_the_place_of_ours_is_left_alone() -> None:
    for device in ("0:46", "0:99"):
        with pytest.raises(NotFound, match="what was mounted there is gone"):
            unmount(Path("/srv/two"), lazy=True, device=device)


def test_what_is_not_mounted_cannot_be_unmounted(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing (of yours )?is mounted there"):
        unmount(tmp_path / "missing")


def test_who_else_sees_a_mount_is_found() -> None:
    everywhere = mounted(Path("/proc"))
    assert everywhere is not None
    holder = holder_of(everywhere.device)
    assert holder is not None
    assert Path(f"/proc/{holder}").exists()
    assert holder_of("0:999999") is None
