"""Metadata images before those who know the format: the kernel, and erofs-utils."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from modelcar.mounts.erofs.image import block_size, metadata_image
from modelcar.mounts.plan import MountPlan
from tests.e2e.mounts.erofs import requires_erofs, root_program
from tests.support.erofs_trees import BLOB_SIZE, erofs_plans
from tests.support.plans import plan_of

pytestmark = [pytest.mark.slow, pytest.mark.root]

CONTENTS = [random.Random(n).randbytes(BLOB_SIZE) for n in range(3)]

# FOLDER: mounts each plan in it over the blobs beside it, where nobody sees it, and says what differs.
COMPARE = """
import os, stat, sys
from pathlib import Path
from modelcar.mounts.erofs.front import asking_mount
from modelcar.mounts.erofs.fanotify import Group
from modelcar.mounts.erofs.image import metadata_image
from modelcar.mounts.plan import MountPlan

folder = Path(sys.argv[1])
files = [open(path, "rb") for path in sorted(folder.glob("blob-*"))]
contents = [file.read() for file in files]

def shown(root):
    for path, folders, names in os.walk(root):
        for name in folders + names:
            full = os.path.join(path, name)
            status = os.lstat(full)
            kind = stat.S_IFMT(status.st_mode)
            assert (status.st_uid, status.st_gid, status.st_mtime_ns) == (0, 0, 0)
            what = status.st_nlink
            if kind == stat.S_IFLNK:
                what = os.readlink(full)
            elif kind == stat.S_IFREG:
                what = open(full, "rb").read()
            yield os.path.relpath(full, root), (oct(status.st_mode), what)

def expected(plan):
    entries = {file.path: ("0o100644", contents[file.blob][file.offset:file.offset + file.size]) for file in plan.files}
    entries |= {link.path: ("0o120777", link.target) for link in plan.links}
    for path in list(entries):
        while path := os.path.dirname(path):
            entries[path] = ("0o40755", None)
    for path, entry in list(entries.items()):
        if entry[0] == "0o40755":
            below = [p for p, e in entries.items() if e[0] == "0o40755" and os.path.dirname(p) == path]
            entries[path] = ("0o40755", 2 + len(below))
    return entries

for raw in sorted(folder.glob("*.json")):
    plan = MountPlan.parse(raw.read_bytes())
    group = Group.create()
    for file in files:
        group.ignore(file.fileno())  # all of it is here
    with asking_mount(group, metadata_image(plan), [file.fileno() for file in files[:len(plan.blobs)]]) as mount:
        found, wanted = dict(shown(f"/proc/self/fd/{mount}/.")), expected(plan)
        for path in sorted(found.keys() | wanted.keys()):
            if found.get(path) != wanted.get(path):
                print(raw.name, ascii(path), str(found.get(path))[:100], str(wanted.get(path))[:100])
    group.close()
"""


def differences(folder: Path, plans: Sequence[MountPlan]) -> str:
    """What the kernel shows otherwise than the plans say."""
    with TemporaryDirectory(dir=folder) as name:
        for number, content in enumerate(CONTENTS):
            (Path(name) / f"blob-{number}").write_bytes(content)
        for number, plan in enumerate(plans):
            (Path(name) / f"{number:03}.json").write_bytes(plan.to_json())
        return root_program(COMPARE, name)


@settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(plans=st.lists(erofs_plans(), min_size=10, max_size=30))
def test_the_kernel_shows_what_plans_say(tmp_path: Path, plans: list[MountPlan]) -> None:
    requires_erofs(tmp_path)
    assert differences(tmp_path, plans) == ""


def test_the_kernel_shows_ten_thousand_files(tmp_path: Path) -> None:
    requires_erofs(tmp_path)
    chance = random.Random(8)
    names = [f"{chance.randrange(40)}/{chance.randrange(10**6):06}-{'n' * chance.randrange(60)}" for _ in range(10_000)]
    plan = plan_of([BLOB_SIZE], {name: (0, 512 * chance.randrange(2000), chance.randrange(2000)) for name in names})
    assert differences(tmp_path, [plan]) == ""


@pytest.mark.debian("fsck.erofs", "dump.erofs")
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(plan=erofs_plans())
def test_erofs_utils_agree(tmp_path: Path, plan: MountPlan) -> None:
    assume(block_size(plan) == 4096)  # version 1.5 knows no other blocks
    with TemporaryDirectory(dir=tmp_path) as name:
        folder = Path(name)
        (folder / "image").write_bytes(metadata_image(plan))
        devices = []
        for number, content in enumerate(CONTENTS):
            (folder / f"blob-{number}").write_bytes(content)
            devices.append(f"--device={folder / f'blob-{number}'}")
        subprocess.run(
            ["fsck.erofs", *devices, f"--extract={folder / 'out'}", folder / "image"], check=True, capture_output=True
        )
        for file in plan.files:
            extracted = (folder / "out" / file.path).read_bytes()
            assert extracted == CONTENTS[file.blob][file.offset : file.offset + file.size]
        for link in plan.links:
            assert os.readlink(folder / "out" / link.path) == link.target  # noqa: PTH115  # as it stands there
        said = subprocess.run(["dump.erofs", *devices, "-s", folder / "image"], check=True, capture_output=True)
        assert f"Filesystem inode count: {_inodes(plan)}" in " ".join(said.stdout.decode().split())


def _inodes(plan: MountPlan) -> int:
    paths = [file.path for file in plan.files] + [link.path for link in plan.links]
    folders = {path[:index] for path in paths for index, letter in enumerate(path) if letter == "/"}
    return 1 + len(paths) + len(folders)
