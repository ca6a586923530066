"""On a file system with shared blocks a virtual layer is written out without a second copy of the weights."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from modelcar.store import ArchiveStore, OciLayout
from modelcar.store.archiving import Part, write_archive
from modelcar.store.transfer import copy_image
from tests.support.images import validate_in
from tests.support.skips import unavailable
from tests.support.virtual import VirtualImage

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("mkfs.xfs", "mount", "umount")]
MIB = 1 << 20


@pytest.fixture
def xfs() -> Iterator[Path]:
    with TemporaryDirectory(prefix="mc-") as name:
        image, place = Path(name) / "disk", Path(name) / "xfs"
        place.mkdir()
        with image.open("wb") as f:
            f.truncate(400 * MIB)
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, place], capture_output=True).returncode != 0:
            unavailable("needs loop devices")
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)


def used(place: Path) -> int:
    subprocess.run(["sync", "--file-system", place], check=True)
    output = subprocess.run(["df", "--block-size=1", "--output=used", place], capture_output=True, check=True).stdout
    return int(output.split()[-1])


def test_weights_are_shared_and_not_copied(xfs: Path) -> None:
    image = VirtualImage(xfs, OciLayout(xfs / "store", recipes=True), size=60 * MIB)
    before = used(xfs)
    target = OciLayout(xfs / "target")
    copy_image(image.store, target, image.root, trusted=True)
    assert used(xfs) - before < MIB
    validate_in(target, image.root)


def test_an_archive_shares_them_too(xfs: Path) -> None:
    """Layers are aligned in it, as weights are in layers."""
    image = VirtualImage(xfs, OciLayout(xfs / "store", recipes=True), size=60 * MIB)
    before = used(xfs)
    write_archive(xfs / "a.tar", [Part(entry=image.root, store=image.store, trusted=True)])
    assert used(xfs) - before < MIB
    validate_in(ArchiveStore(xfs / "a.tar"), image.root)
