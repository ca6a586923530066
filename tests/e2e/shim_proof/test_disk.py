"""Disks that are full, read-only, or not to be trusted, and clocks that jump."""

from __future__ import annotations

import http.client
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.shim_proof import checks
from tests.e2e.shim_proof.clients import Download, blob_path, download, get, manifest_path
from tests.e2e.shim_proof.crowd import crowd, wishes
from tests.e2e.shim_proof.disks import ext4, files_with_content, flip, other_boot, set_clock, truncate
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.library import Blob
from tests.e2e.shim_proof.node import NAME, Node, node
from tests.e2e.shim_proof.sizes import MIB, SEED, mostly_soak
from tests.e2e.shim_proof.upstream import Upstream
from tests.e2e.support.commands import run
from tests.e2e.support.mounts import tmpfs
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MODEL = "org/model"
TO_THE_BRIM = {"space": {"min_free": 0}}


def published(origin: Upstream, size: int = 24 * MIB, seed: int = SEED, repository: str = MODEL) -> Blob:
    blob = origin.library.noise(size, seed)
    origin.library.image(repository, "v1", blob)
    return blob


def half_pulled(shim: Node, origin: Upstream, blob: Blob) -> None:
    """Kill the shim while half of the blob is there."""
    origin.misbehave(Fault(wrong=Wrong.SLOW, amount=8 * MIB))
    download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob, leave_after=blob.size // 2))
    shim.kill()
    origin.behave()


@pytest.mark.root
def test_a_full_disk(origin: Upstream, tmp_path: Path) -> None:
    """A blob that does not fit comes through or is refused; what fits is served; nothing is wrong afterwards."""
    small, large = published(origin, 4 * MIB), published(origin, 48 * MIB, SEED + 1, "org/large")
    with (
        tmpfs(tmp_path / "disk", 32 * MIB) as disk,
        node(tmp_path / "node", origin.address, TO_THE_BRIM, root=disk / "root") as shim,
    ):
        want = Download(path=blob_path(MODEL, small.digest), blob=small)
        download(shim.address, want)
        checks.never_serves(shim, blob_path("org/large", large.digest), truth=large.content())
        download(shim.address, want)
        assert not shim.has_ended
        assert "Traceback" not in shim.log.read_text()
        shim.restart()
        download(shim.address, want)
        run("mount", "-o", f"remount,size={128 * MIB}", disk)
        download(shim.address, Download(path=blob_path("org/large", large.digest), blob=large))


@pytest.mark.root
@pytest.mark.debian("mkfs.ext4")
def test_a_disk_that_becomes_read_only(origin: Upstream, tmp_path: Path) -> None:
    """As ext4 does after an error: what is there is served, everything else fails clearly, no byte is wrong."""
    here, more = published(origin, 4 * MIB), published(origin, 16 * MIB, SEED + 1, "org/more")
    disk = tmp_path / "disk"
    with (
        ext4(tmp_path / "image", disk, 128 * MIB),
        node(tmp_path / "node", origin.address, TO_THE_BRIM, root=disk / "root") as shim,
    ):
        want = Download(path=blob_path(MODEL, here.digest), blob=here)
        assert get(shim.address, manifest_path(MODEL, "v1")).status == 200
        download(shim.address, want)
        run("mount", "-o", "remount,abort", disk, check=False)
        run("mount", "-o", "remount,ro", disk, check=False)
        assert not os.access(disk, os.W_OK) or run("touch", disk / "probe", check=False).returncode != 0
        download(shim.address, want)
        assert get(shim.address, manifest_path(MODEL, "v1")).status == 200
        checks.never_serves(shim, blob_path("org/more", more.digest), truth=more.content())
        assert get(shim.address, "/v2/").status == 200
        assert not shim.has_ended
        assert "Traceback" not in shim.log.read_text()


@pytest.mark.root
def test_a_read_only_disk_at_the_start(shim: Node, origin: Upstream, tmp_path: Path) -> None:
    """One line says why not, or what is there is served; no traceback."""
    blob = published(origin, MIB)
    download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob))
    shim.kill()
    run("mount", "--bind", shim.root, shim.root)
    try:
        run("mount", "-o", "remount,bind,ro", shim.root)
        process = shim.launch()
        try:
            process.wait(5)
        except Exception:
            download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob))
            shim.kill()
        else:
            assert process.returncode == 3
        said = shim.log.read_text()
        assert "Traceback" not in said
        assert "internal error" not in said
    finally:
        run("umount", shim.root)


def test_rot_between_runs(shim: Node, origin: Upstream) -> None:
    """In whole blobs and in those on their way, found before a byte of it is served, and healed."""
    source = random.Random(SEED)
    blob, other = published(origin), published(origin, MIB, SEED + 1, "org/other")
    download(shim.address, Download(path=blob_path("org/other", other.digest), blob=other))
    half_pulled(shim, origin, blob)
    partial = [path for path in files_with_content(shim.root) if "partial" in path.parts]
    assert partial, "nothing is on its way"
    flip(max(partial, key=lambda p: p.stat().st_size), source)
    shim.wrapper = ()
    shim.start()
    _never_complete(shim, blob_path(MODEL, blob.digest), blob)
    download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob), within=60)


def test_rot_is_scrubbed(origin: Upstream, tmp_path: Path) -> None:
    """Bits that were flipped in a whole blob are found without anybody asking, and fetched anew when somebody does."""
    blob = published(origin, 8 * MIB)
    want = Download(path=blob_path(MODEL, blob.digest), blob=blob)
    with node(tmp_path / "node", origin.address, {"cache": {"scrub_interval": "1s", "scrub_rate": "1GiB/s"}}) as shim:
        download(shim.address, want)
        file = shim.root / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
        eventually(file.exists, "the blob is whole")
        flip(file, random.Random(SEED))
        eventually(lambda: not file.exists(), "the damage is found", 20)
        download(shim.address, want, within=30)


@pytest.mark.parametrize("damage", mostly_soak(["cut short", "emptied", "gone", "a folder"], "cut short"))
def test_rot_in_what_is_whole(damage: str, shim: Node, origin: Upstream) -> None:
    """What the size alone shows is found when it is asked for."""
    blob = published(origin, 8 * MIB)
    want = Download(path=blob_path(MODEL, blob.digest), blob=blob)
    download(shim.address, want)
    file = shim.root / "blobs" / "sha256" / blob.digest.removeprefix("sha256:")
    eventually(file.exists, "the blob is whole")
    shim.kill()
    match damage:
        case "cut short":
            truncate(file, MIB + 17)
        case "emptied":
            truncate(file, 0)
        case "gone":
            file.unlink()
        case "a folder":
            file.unlink()
            file.mkdir()
    shim.start()
    download(shim.address, want, within=30)


@pytest.mark.parametrize("damage", mostly_soak(["have", "data", "both", "all files emptied", "garbage"], "both"))
def test_half_written_files_on_the_way(damage: str, shim: Node, origin: Upstream) -> None:
    """Whatever is left of a partial blob, a start works and the bytes are right."""
    blob = published(origin)
    half_pulled(shim, origin, blob)
    files = [path for path in (shim.root / "partial").rglob("*") if path.is_file()]
    assert files
    largest = max(files, key=lambda p: p.stat().st_size)
    small = [path for path in files if path != largest]
    for path in {"have": small, "data": [largest]}.get(damage, files):
        if damage == "garbage":
            path.write_bytes(random.Random(SEED).randbytes(path.stat().st_size or 10))
        else:
            truncate(path, 0 if "all" in damage else path.stat().st_size // 2)
    shim.start()
    crowd(shim.address, wishes(MODEL, blob, 4, SEED), within=60)


@pytest.mark.soak
def test_half_written_documents(shim: Node, origin: Upstream) -> None:
    """Every small file of the shim's folder, cut in half or full of garbage, one after the other."""
    blob = published(origin, 100_000)
    manifest = origin.library.image(MODEL, "v1", blob)
    checks.takes_manifest(shim, MODEL, "v1", manifest)
    download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob))
    eventually(lambda: not any(p.is_file() for p in (shim.root / "partial").rglob("*")), "the blob is in the store")
    source = random.Random(SEED)
    for path in [p for p in shim.root.rglob("*") if p.is_file() and p.stat().st_size]:
        for damaged in (path.read_bytes()[: path.stat().st_size // 2], source.randbytes(50), b"", b"{}", b"[]"):
            shim.kill()
            before = path.read_bytes() if path.exists() else None
            if before is None:
                break
            path.chmod(0o600)
            path.write_bytes(damaged)
            shim.launch()
            if not _up(shim):
                _clear_refusal(shim, path)
                path.write_bytes(before)
                shim.start()
                continue
            checks.takes_manifest(shim, MODEL, "v1", manifest)
            download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob), within=20)


@pytest.mark.root
def test_another_boot(origin: Upstream, tmp_path: Path) -> None:
    """The machine lost its power: what the disk never got is zeros, and `have` says otherwise."""
    one = Node(
        tmp_path / "node",
        ["--upstream", f"{NAME}=http://{origin.address}"],
        wrapper=other_boot(tmp_path, 1),
    )
    one.start()
    try:
        blob = published(origin)
        half_pulled(one, origin, blob)
        largest = max((p for p in (one.root / "partial").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        with largest.open("r+b") as file:
            for offset in range(0, largest.stat().st_size, MIB):
                file.seek(offset)
                file.write(bytes(4096))
        one.wrapper = other_boot(tmp_path, 2)
        one.start()
        want = Download(path=blob_path(MODEL, blob.digest), blob=blob)
        _never_complete(one, want.path, blob)
        download(one.address, want, within=60)
    finally:
        one.kill()


@pytest.fixture
def out_of_time(origin: Upstream, tmp_path: Path) -> Iterator[tuple[Node, Path]]:
    """A shim whose clock is set by a file."""
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    options = ["--upstream", f"{NAME}=http://{origin.address}"]
    one = Node(tmp_path / "node", options, environment=environment)
    one.start()
    yield one, clock
    one.kill()


@pytest.mark.debian("faketime")
@pytest.mark.parametrize("days", mostly_soak([3650, -3650, -0.01, 1], -3650))
def test_the_clock_jumps(days: float, out_of_time: tuple[Node, Path], origin: Upstream) -> None:
    """In the middle of a pull, and then at rest: nothing is lost, nothing hangs, nothing is fetched twice."""
    shim, clock = out_of_time
    blob = published(origin, 32 * MIB)
    origin.misbehave(Fault(wrong=Wrong.SLOW, amount=8 * MIB))
    crowd(shim.address, wishes(MODEL, blob, 8, SEED), meanwhile=lambda: set_clock(clock, days))
    assert origin.blob_bytes <= 1.01 * blob.size
    origin.behave()
    moved = origin.library.image(MODEL, "v1", published(origin, 1000, SEED + 1))
    set_clock(clock, 2 * days)
    assert get(shim.address, manifest_path(MODEL, "v1")).status == 200
    checks.takes_manifest(shim, MODEL, moved.digest, moved)
    shim.restart()
    download(shim.address, Download(path=blob_path(MODEL, blob.digest), blob=blob))
    assert origin.blob_bytes <= 1.01 * blob.size


def _never_complete(shim: Node, path: str, blob: Blob) -> None:
    try:
        reply = get(shim.address, path, within=60)
    except (OSError, http.client.HTTPException):
        return
    assert reply.status != 200 or reply.body == blob.content(), "wrong bytes, completely"


def _up(shim: Node) -> bool:
    """Whether it answers before it ends."""
    while not shim.has_ended:
        try:
            return get(shim.address, "/v2/", within=5).status < 500
        except (OSError, http.client.HTTPException):
            continue
    return False


def _clear_refusal(shim: Node, damaged: Path) -> None:
    said = shim.log.read_text()
    assert "Traceback" not in said, said[-2000:]
    assert "internal error" not in said, said[-2000:]
    assert damaged.name in said, f"it does not say that {damaged} is damaged: {said[-500:]}"
