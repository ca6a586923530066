"""The metadata image, read back by a reader of its own; the kernel and erofs-utils judge it in tests/e2e/mounts."""

from __future__ import annotations

import stat
import struct
from collections.abc import Mapping

import pytest
from hypothesis import given

from modelcar.errors import InvalidDocument
from modelcar.mounts.erofs.crc32c import crc32c
from modelcar.mounts.erofs.image import block_size, metadata_image
from modelcar.mounts.plan import MountPlan
from tests.support.erofs_reader import ErofsImage
from tests.support.erofs_trees import erofs_plans
from tests.support.plans import plan_of


def shown(image: ErofsImage) -> MountPlan:
    """The plan that an image shows, with blobs of the first place that no extent passes."""
    files, links = {}, {}
    for path, inode in image.walk():
        if stat.S_ISREG(inode.mode):
            extents = list(image.extents(inode)) or [(1, 0, 0)]
            place = extents[0][1]
            for device, offset, length in extents:
                assert (device, offset) == (extents[0][0], place)
                place += length
            assert place - extents[0][1] == inode.size
            files[path] = (extents[0][0] - 1, extents[0][1], inode.size)
        elif stat.S_ISLNK(inode.mode):
            links[path] = image.link(inode)
    return plan_of([0] * image.devices, files, links)


def places(plan: MountPlan) -> Mapping[str, tuple[int, int, int]]:
    return {f.path: (f.blob, f.offset, f.size) if f.size else (0, 0, 0) for f in plan.files}


@given(erofs_plans())
def test_shows_the_plan(plan: MountPlan) -> None:
    image = ErofsImage(metadata_image(plan))
    assert places(shown(image)) == places(plan)
    assert shown(image).links == plan.links
    assert image.block == block_size(plan)
    assert image.devices == len(plan.blobs)


@given(erofs_plans())
def test_folders_count_their_folders_and_know_their_parents(plan: MountPlan) -> None:
    image = ErofsImage(metadata_image(plan))
    everything = list(image.walk())
    assert image.inodes == len(everything)
    for _, inode in everything:
        if inode.is_folder:
            below = [image.inode(number) for name, number, _ in image.entries(inode) if name not in (b".", b"..")]
            assert inode.links == 2 + sum(entry.is_folder for entry in below)
            assert image.lookup(inode, b".").number == inode.number
            for entry in below:
                assert not entry.is_folder or image.lookup(entry, b"..").number == inode.number
        else:
            assert inode.links == 1
    assert image.lookup(image.root, b"..").number == image.root.number


@given(erofs_plans())
def test_says_in_each_folder_what_an_entry_is(plan: MountPlan) -> None:
    image = ErofsImage(metadata_image(plan))
    types = {stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFLNK: 7}
    for _, inode in image.walk():
        if inode.is_folder:
            for _, number, kind in image.entries(inode):
                assert kind == types[stat.S_IFMT(image.inode(number).mode)]


@pytest.mark.parametrize(("offset", "covered"), [(4096, 3072), (512, 512)])
def test_the_checksum_covers_the_block(offset: int, covered: int) -> None:
    image = bytearray(metadata_image(plan_of([1 << 20], {"a": (0, offset, 10)})))
    (said,) = struct.unpack_from("<I", image, 1028)
    image[1028:1032] = bytes(4)
    assert crc32c(bytes(image[1024 : 1024 + covered])) == said


def test_blocks_are_of_4096_bytes_where_all_files_lie_in_such() -> None:
    assert block_size(plan_of([8192], {"a": (0, 4096, 4000)})) == 4096
    assert block_size(plan_of([8192 - 512], {"a": (0, 4096, 10)})) == 512  # the block would end behind the blob
    assert block_size(plan_of([8192], {"a": (0, 512, 10)})) == 512
    assert block_size(plan_of([1000], {"a": (0, 13, 0)})) == 4096  # nothing is read


@pytest.mark.parametrize("place", [(0, 100, 10), (0, 512, 600)])
def test_files_that_are_not_in_blocks_are_refused(place: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidDocument, match="512 bytes"):
        metadata_image(plan_of([1200], {"a": place}))


def test_names_that_no_file_system_has_are_refused() -> None:
    with pytest.raises(InvalidDocument, match="255"):
        metadata_image(plan_of([512], {f"a/{'ü' * 128}": (0, 0, 0)}))


def test_a_file_of_terabytes_takes_several_chunks() -> None:
    plan = plan_of([3 << 40], {"a": (0, 512, (3 << 40) - 1024)})
    with pytest.raises(InvalidDocument, match="too far"):
        metadata_image(plan)
    plan = plan_of([(1 << 40) + 8192], {"a": (0, 512, (1 << 40) + 4096)})
    assert places(shown(ErofsImage(metadata_image(plan)))) == places(plan)


def test_more_blobs_than_there_can_be_are_refused() -> None:
    with pytest.raises(InvalidDocument, match="blobs"):
        metadata_image(plan_of([512] * 17_000, {}))


def test_the_same_plan_gives_the_same_image() -> None:
    plan = plan_of([1 << 20] * 3, {f"{n % 7}/{n}": (n % 3, 512 * n, 100 * n) for n in range(100)})
    assert metadata_image(plan) == metadata_image(MountPlan.parse(plan.to_json()))


def test_each_blob_is_a_device_with_its_digest() -> None:
    plan = plan_of([512] * 300, {})
    image = ErofsImage(metadata_image(plan))
    assert [image.device(n + 1) for n in range(300)] == [(blob.digest.hex, 0, 0) for blob in plan.blobs]
