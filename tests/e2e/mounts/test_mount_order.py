"""`modelcar mount` for some ranks, and of an image that has to be here first: as people see it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path
from random import Random

import pytest

from modelcar.mounts.process.unmounting import mounted
from modelcar.oci import Descriptor, Digest, Manifest, media_types
from modelcar.store.layout import OciLayout
from tests.e2e.conftest import Published
from tests.e2e.mounts.users import User, same, through
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.relay import Relay
from tests.support.architectures import llama, write_checkpoint
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root]

FILES = {"a.bin": 12_000_000, "b.bin": 12_000_000}


@pytest.fixture(scope="session")
def stages(workspace: Path, modelcar: Modelcar, embedded: str) -> Published:
    folder = workspace / "stages"
    write_checkpoint(folder, llama(layers=4, vocabulary=256), shards=4)
    ref = f"{embedded}/acme/stages:v1"
    built = modelcar("build", folder, "-t", ref)
    modelcar("push", ref)
    return Published(folder=folder, ref=ref, digest=built["digest"])


@pytest.fixture(scope="session")
def foreign(workspace: Path, modelcar: Modelcar, embedded: str) -> Published:
    """Made by another tool: two plain layers, no index."""
    folder = workspace / "foreign"
    folder.mkdir()
    layout = OciLayout(workspace / "foreign-layout")
    blobs = []
    for name, size in FILES.items():
        (folder / name).write_bytes(Random(name).randbytes(size))
        with tarfile.open(workspace / "foreign.tar", "w") as tar:
            tar.add(folder / name, f"models/{name}")
        blobs.append(Descriptor.of(media_types.LAYER_TAR, put(layout, (workspace / "foreign.tar").read_bytes())))
    diff_ids = [str(blob.digest) for blob in blobs]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    described = Descriptor.of(media_types.CONFIG, put(layout, json.dumps(config).encode()))
    manifest = Manifest(config=described, layers=tuple(blobs))
    put(layout, manifest.content)
    entry = {**manifest.descriptor.to_dict(), "annotations": {"org.opencontainers.image.ref.name": "v1"}}
    index = {"schemaVersion": 2, "mediaType": media_types.INDEX, "manifests": [entry]}
    layout.write_index(json.dumps(index).encode())
    ref = f"{embedded}/acme/foreign:v1"
    modelcar("copy", f"oci:{layout.root}:v1", ref)
    return Published(folder=folder, ref=ref, digest=str(manifest.digest))


def put(layout: OciLayout, content: bytes) -> bytes:
    with layout.begin(Digest.of(content)) as writer:
        writer.write(content)
        writer.commit()
    return content


def test_a_mount_for_a_rank_shows_the_whole_model_and_tells_of_the_rank(user: User, stages: Published) -> None:
    user.mount(stages.ref, "llm", "--pp", "2", "--rank", "1")
    same(user, stages)
    eventually(user.is_whole, "all of it comes")
    [rank] = user.status()["ranks"]
    assert rank["rank"] == 1
    assert 0 < rank["present"] == rank["size"] < user.status()["size"]
    os.kill(user.keeper, signal.SIGKILL)
    assert user.status()["ranks"] == [rank], "the next one knows it, too"
    user.umount()


def test_ranks_that_there_are_not_mount_nothing(user: User, stages: Published) -> None:
    complaint = user.modelcar.refusal(2, "mount", stages.ref, user.mounts / "llm", "--pp", "9", "--rank", "0")
    assert "4 layers cannot be divided over 9 pipeline stages" in complaint
    assert not (user.mounts / "llm").exists()
    assert user.modelcar("status") == {"mounts": []}


def test_an_image_without_an_index_is_seen_to_come(user: User, foreign: Published, relay: Relay) -> None:
    relay.rate = 2e6
    target = user.mounts / "llm"
    command = user.modelcar.start("mount", through(relay, foreign), target, "--kernel-mount", user.front)
    eventually(lambda: user.modelcar("status").get("preparing"), "status tells of it")
    told = user.status()
    assert told["preparing"]
    assert told["size"] >= sum(FILES.values())
    lines = said_until("fetch", command)
    relay.rate = None  # only now: a layer that is here at once needs no line
    _, err = command.communicate(timeout=60)
    assert command.returncode == 0
    lines += [line for line in err.splitlines() if not line.startswith("waiting for")]
    assert lines[0] == "the image has no model index: all of it (24.0 MB) has to be here first"
    assert {line.split()[0] for line in lines[1:]} == {"fetch"}
    same(user, foreign)
    user.umount()


def said_until(word: str, command: subprocess.Popen[str]) -> list[str]:
    """What it says up to a line that begins with `word`, but for what a slow machine makes it say."""
    assert command.stderr
    lines: list[str] = []
    while not (lines and lines[-1].startswith(word)):
        line = command.stderr.readline()
        assert line, lines
        if not line.startswith("waiting for"):
            lines.append(line.rstrip())
    return lines


def test_who_gives_up_is_not_fetched_for(user: User, foreign: Published, relay: Relay) -> None:
    relay.rate = 2e6
    command = user.modelcar.start("mount", through(relay, foreign), user.mounts / "llm", "--kernel-mount", user.front)
    eventually(lambda: user.modelcar("status").get("preparing"), "it is being fetched")
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=30)
    assert command.returncode == 130
    relay.rate = None
    assert user.modelcar("status") == {"mounts": []}
    assert mounted(user.mounts / "llm") is None
    eventually(lambda: user.modelcar("gc", "--mounts")["mounts"]["size"] == 0, "nothing of it stays", within=90)
