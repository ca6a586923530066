"""Commands that are killed or interrupted at any moment: nothing half-made shows, and the same command again works."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelcar.errors import RemoteNotFound
from modelcar.oci import Descriptor, Index, Manifest, Reference
from modelcar.registry import Registry
from modelcar.store import Names, OciLayout
from tests.e2e.support.commands import Modelcar
from tests.support.checkpoints import files_of, make_checkpoint
from tests.support.images import validate_in
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A checkpoint whose image is in a store and in a registry."""

    modelcar: Modelcar
    checkpoint: Path
    files: dict[str, bytes]
    registry: str
    ref: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A command, and whether what it makes is there. That raises if it is there in part, or is something else."""

    modelcar: Modelcar
    command: list[str | Path]
    is_done: Callable[[], bool]


@pytest.fixture(scope="module")
def world(workspace: Path, embedded: str) -> World:
    modelcar = Modelcar(workspace / "interrupted" / "home")
    checkpoint = make_checkpoint(workspace / "interrupted" / "checkpoint", elements=10_000_000)
    ref = f"{embedded}/interrupted/tiny:v1"
    built = modelcar("build", checkpoint, "-t", ref, "--push")
    return World(
        modelcar=modelcar,
        checkpoint=checkpoint,
        files=files_of(checkpoint),
        registry=embedded,
        ref=ref,
        digest=built["digest"],
    )


def build(world: World, folder: Path) -> Try:
    home = Modelcar(folder / "home")
    return Try(
        modelcar=home, command=["build", world.checkpoint, "-t", world.ref], is_done=lambda: in_store(world, home)
    )


def build_and_push(world: World, folder: Path) -> Try:
    home, new = Modelcar(folder / "home"), new_name(world, folder)
    command: list[str | Path] = ["build", world.checkpoint, "-t", new, "--push"]
    return Try(modelcar=home, command=command, is_done=lambda: in_registry(world, new))


def push(world: World, folder: Path) -> Try:
    new = new_name(world, folder)
    return Try(modelcar=world.modelcar, command=["push", world.ref, new], is_done=lambda: in_registry(world, new))


def copy(world: World, folder: Path) -> Try:
    new = new_name(world, folder)
    return Try(modelcar=world.modelcar, command=["copy", world.ref, new], is_done=lambda: in_registry(world, new))


def copy_to_layout(world: World, folder: Path) -> Try:
    target = folder / "out"
    command: list[str | Path] = ["copy", world.ref, f"oci:{target}:v1"]
    return Try(modelcar=world.modelcar, command=command, is_done=lambda: in_layout(world, target))


def export(world: World, folder: Path) -> Try:
    target = folder / "out"
    command: list[str | Path] = ["export", world.ref, "-o", target]
    return Try(modelcar=world.modelcar, command=command, is_done=lambda: in_layout(world, target))


def pull(world: World, folder: Path) -> Try:
    target = folder / "out"
    command: list[str | Path] = ["pull", world.ref, "--remote", "-o", target]
    return Try(modelcar=world.modelcar, command=command, is_done=lambda: in_folder(world, target))


def pull_into_store(world: World, folder: Path) -> Try:
    home = Modelcar(folder / "home")
    return Try(modelcar=home, command=["pull", world.ref], is_done=lambda: in_store(world, home))


VERBS = [build, build_and_push, push, copy, copy_to_layout, export, pull, pull_into_store]


def new_name(world: World, folder: Path) -> str:
    return f"{world.registry}/{folder.parent.name.replace('_', '-').lower()}/{folder.name}:v1"


def in_store(world: World, home: Modelcar) -> bool:
    images = home("list")
    assert [image["digest"] for image in images] in ([], [world.digest])
    assert all(image["size"] for image in images), "an image that is listed is complete"
    return bool(images)


def in_registry(world: World, name: str) -> bool:
    ref = Reference.parse(name)
    with Registry() as registry:

        def check(descriptor: Descriptor) -> None:
            document = registry.manifest(ref, descriptor)
            for child in document.manifests if isinstance(document, Index) else ():
                check(child)
            for blob in document.blobs if isinstance(document, Manifest) else ():
                assert registry.blob_size(ref, blob.digest) == blob.size

        try:
            root = registry.resolve(ref)
        except RemoteNotFound:
            return False
        assert str(root.digest) == world.digest
        check(root)
    return True


def in_layout(world: World, folder: Path) -> bool:
    if not (folder / "oci-layout").exists():
        return False
    layout = OciLayout(folder)
    images = Names(layout).list()
    assert {name: str(root.digest) for name, root in images.items()} in ({}, {"v1": world.digest})
    if images:
        validate_in(layout, images["v1"])
    return bool(images)


def in_folder(world: World, folder: Path) -> bool:
    if folder.exists():
        assert files_of(folder) == world.files
    return folder.exists()


def complete(attempt: Try) -> None:
    """Clean up, and the same command once more; a folder that a pull has filled is not filled again."""
    attempt.modelcar("gc")
    assert leftovers(attempt.modelcar.home / "store") == []
    if attempt.command[0] != "pull" or "-o" not in attempt.command or not attempt.is_done():
        attempt.modelcar(*attempt.command)
    else:
        attempt.modelcar.refusal(2, *attempt.command)  # and sweeps up what a kill has left beside the folder
    assert attempt.is_done()


def seconds_of(attempt: Try) -> float:
    began = time.monotonic()
    complete(attempt)
    return time.monotonic() - began


@pytest.mark.parametrize("verb", VERBS)
def test_kill_9_at_any_moment(world: World, tmp_path: Path, verb: Callable[[World, Path], Try]) -> None:
    (tmp_path / "whole").mkdir()
    seconds = seconds_of(verb(world, tmp_path / "whole"))
    cut = 0
    for tenths in (2, 4, 6, 8):
        folder = tmp_path / f"at-{tenths}"
        folder.mkdir()
        attempt = verb(world, folder)
        with attempt.modelcar.start(*attempt.command, "--quiet") as process:
            try:
                process.wait(seconds * tenths / 10)
            except subprocess.TimeoutExpired:
                process.kill()
        assert process.returncode in (0, -signal.SIGKILL)
        assert attempt.is_done() or process.returncode != 0
        cut += process.returncode != 0
        complete(attempt)
        assert [path.name for path in folder.iterdir()] in ([], ["home"], ["out"])
    assert cut, "nothing was killed"


@pytest.mark.parametrize(
    ("verb", "number"),
    [*((verb, signal.SIGINT) for verb in VERBS), (push, signal.SIGTERM), (pull, signal.SIGTERM)],
)
def test_ctrl_c_and_sigterm(
    world: World, tmp_path: Path, verb: Callable[[World, Path], Try], number: signal.Signals
) -> None:
    (tmp_path / "whole").mkdir()
    seconds = seconds_of(verb(world, tmp_path / "whole"))
    cut = 0
    for fifths in range(4):
        folder = tmp_path / f"at-{fifths}"
        folder.mkdir()
        attempt = verb(world, folder)
        with attempt.modelcar.start(*attempt.command, "--quiet") as process:
            eventually(lambda p=process: p.poll() is not None or catches_sigterm(p), "it is loaded")  # type: ignore[misc]  # mypy takes no lambda with a default
            try:
                process.wait(seconds * fifths / 6)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            _, said = process.communicate(timeout=30)
        assert process.returncode in (0, 128 + number), said
        done = attempt.is_done()
        assert not done or [path.name for path in folder.iterdir()] in ([], ["home"], ["out"]), "it cleaned up"
        if process.returncode:
            cut += 1
            assert said == "modelcar: interrupted; nothing half-written is visible\n"
        else:
            assert (done, said) == (True, "")
        complete(attempt)
        assert [path.name for path in folder.iterdir()] in ([], ["home"], ["out"])
    assert cut, "nothing was interrupted"


def catches_sigterm(process: subprocess.Popen[str]) -> bool:
    """Whether the program has got so far that it cleans up."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return False
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught, 16) & 1 << signal.SIGTERM - 1)


def leftovers(layout: Path) -> list[str]:
    """What writers leave behind in an OCI layout when they die."""
    return [str(path) for pattern in ("ingest/*", ".*.????????????") for path in layout.glob(pattern)]
