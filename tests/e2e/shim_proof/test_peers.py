"""Peers that are killed, that lie, that are slow: every byte is right, and the upstream sends little more than one."""

from __future__ import annotations

import random
import socket
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.e2e.shim_proof.clients import Download, blob_path, download, get, manifest_path
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.library import Blob
from tests.e2e.shim_proof.node import NAME, Node
from tests.e2e.shim_proof.sizes import KILLS, MIB, SEED
from tests.e2e.shim_proof.tampering import Mood, Wire, wire
from tests.e2e.shim_proof.upstream import Upstream
from tests.e2e.support.commands import Modelcar
from tests.support.checkpoints import make_checkpoint

pytestmark = pytest.mark.slow

MODEL: Final = "org/model"
NODES: Final = 4
SIZE: Final = 64 * MIB
_LOST: Final = 32 * MIB  # eight chunks: what the killed node was fetching, and its peers from it


class Cluster:
    """Nodes that know each other through wires."""

    def __init__(self, nodes: list[Node], wires: list[Wire]) -> None:
        self.nodes, self.wires = nodes, wires

    def pull(self, blob: Blob, repository: str = MODEL, within: float = 90) -> None:
        """On all nodes at once."""
        want = Download(path=blob_path(repository, blob.digest), blob=blob)
        with ThreadPoolExecutor(NODES) as pool:
            for _ in pool.map(lambda node: download(node.address, want, within=within), self.nodes):
                pass


@pytest.fixture
def cluster(origin: Upstream, tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        wires = [stack.enter_context(wire()) for _ in range(NODES)]
        nodes = []
        for number, own in enumerate(wires):
            own.target = f"127.0.0.1:{_free_port()}"
            config = tmp_path / f"node-{number}.yaml"
            members = [other.address for other in wires]
            peers = {"listen": own.target, "advertise": own.address, "members": members}
            config.write_text(yaml.safe_dump({"peers": peers}))
            options = ["--upstream", f"{NAME}=http://{origin.address}", "--config", str(config)]
            node = Node(tmp_path / f"node-{number}", options)
            node.start()
            stack.callback(node.kill)
            nodes.append(node)
        yield Cluster(nodes, wires)


def published(origin: Upstream, seed: int = SEED, repository: str = MODEL, size: int = SIZE) -> Blob:
    blob = origin.library.noise(size, seed)
    origin.library.image(repository, "v1", blob)
    return blob


def test_all_pull_for_the_price_of_one(cluster: Cluster, origin: Upstream) -> None:
    blob = published(origin)
    cluster.pull(blob)
    assert origin.blob_bytes <= 1.1 * SIZE
    assert sum(one.carried for one in cluster.wires) > (NODES - 2) * SIZE


@pytest.mark.soak
@pytest.mark.parametrize("mood", [Mood.LYING, Mood.SLOW, Mood.SILENT, Mood.CUT])
def test_one_bad_peer(mood: Mood, cluster: Cluster, origin: Upstream) -> None:
    """All the others reach it by a bad wire; nobody gets a wrong byte or waits for it for long."""
    blob = published(origin)
    cluster.wires[0].mood = mood
    cluster.pull(blob)
    # A lying home of a blob without a chunk table costs each of the others up to a copy of its own.
    limit = NODES + 1 if mood is Mood.LYING else 2.2
    assert origin.blob_bytes <= limit * SIZE, f"{origin.blob_bytes / SIZE:.2f} x the blob"
    cluster.wires[0].mood = Mood.TRUE
    cluster.pull(published(origin, SEED + 1, "org/next"), "org/next")


@pytest.mark.soak
def test_all_peers_are_bad(cluster: Cluster, origin: Upstream) -> None:
    blob = published(origin, size=16 * MIB)
    for one in cluster.wires:
        one.mood = Mood.LYING
    cluster.pull(blob)


@pytest.mark.soak
def test_peers_are_killed(cluster: Cluster, origin: Upstream) -> None:
    for seed in range(SEED, SEED + max(1, KILLS // 5)):
        source = random.Random(seed)
        name = f"org/model-{seed}"
        blob = published(origin, seed, name)
        origin.misbehave(Fault(wrong=Wrong.SLOW, amount=16 * MIB))
        before, killed = origin.blob_bytes, 0
        with ThreadPoolExecutor(1) as pool:
            pulling = pool.submit(cluster.pull, blob, name)
            for _ in range(source.randrange(1, 4)):
                time.sleep(source.uniform(0, 1))
                victim = source.choice(cluster.nodes)
                victim.kill()
                time.sleep(source.uniform(0, 0.5))
                victim.start()
                killed += 1
            pulling.result()
        sent = origin.blob_bytes - before
        # Of a blob without a chunk table nobody could verify what a home had and took with it.
        limit = (1.1 + killed) * SIZE
        assert sent <= limit, f"SHIM_PROOF_SEED={seed}: {sent / SIZE:.2f} x the blob after {killed} kills"


@pytest.mark.soak
def test_what_one_node_has_the_others_do_not_fetch(cluster: Cluster, origin: Upstream) -> None:
    blob = published(origin)
    want = Download(path=blob_path(MODEL, blob.digest), blob=blob)
    download(cluster.nodes[0].address, want)
    download(cluster.nodes[1].address, want)
    sent = origin.blob_bytes
    for node in cluster.nodes[2:]:
        download(node.address, want)
    assert origin.blob_bytes <= sent + 0.1 * SIZE


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a model index, of three shards of 20 MB."""
    folder = tmp_path_factory.mktemp("built")
    checkpoint = make_checkpoint(folder / "checkpoint", elements=10_000_000)
    modelcar = Modelcar(folder / "home")
    modelcar("build", checkpoint, "-t", "localhost:5000/org/model:v1")
    modelcar("export", "localhost:5000/org/model:v1", "-o", folder / "layout")
    return folder / "layout"


@pytest.mark.parametrize("mood", [Mood.TRUE, Mood.LYING])
def test_a_model_index_lets_every_chunk_be_verified(
    mood: Mood, cluster: Cluster, origin: Upstream, layout: Path
) -> None:
    """Not one wrong byte, though two of four peers lie; and one that is killed takes next to nothing with it."""
    layers = origin.library.layout(layout, MODEL, "v1")
    shards = [layer for layer in layers if layer.size > MIB]
    for one in cluster.wires[:2]:
        one.mood = mood
    origin.misbehave(Fault(wrong=Wrong.SLOW, amount=16 * MIB))
    for node in cluster.nodes:
        assert get(node.address, manifest_path(MODEL, "v1")).status == 200
    with ThreadPoolExecutor(1) as pool:
        pulling = pool.submit(lambda: deque(map(cluster.pull, shards)))
        if mood is Mood.TRUE:
            time.sleep(1)
            cluster.nodes[0].restart()
        pulling.result()
    size = sum(shard.size for shard in shards)
    most = size + _LOST if mood is Mood.TRUE else 3 * size
    assert origin.blob_bytes <= most, f"{origin.blob_bytes / size:.2f} x the model"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port
