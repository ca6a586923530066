"""Spegel and Dragonfly, built from source, beside our peers and before our shims: the same nodes, links and images.

`SPEGEL_SOURCE` and `DRAGONFLY_SOURCE` name checkouts for where the module proxy has not got the modules themselves.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.conftest import SIZE
from tests.support import pull
from tests.support.engines.cluster import Cluster, Front, Node, cluster
from tests.support.engines.dragonfly import Dragonfly
from tests.support.engines.programs import Unbuildable, build_containerd, build_dfdaemon, build_scheduler, build_spegel
from tests.support.engines.shims import Shims
from tests.support.engines.spegel import Spegel
from tests.support.skips import unavailable
from tests.support.waiting import eventually

pytestmark = [pytest.mark.conformance, pytest.mark.root, pytest.mark.debian("ip", "tc", "runc")]

MBIT = 200
OVERHEAD = 1.08  # what TCP, IP and Ethernet add to a byte on the link, and HTTP's small talk
HEDGED = 0.5  # what of a model the upstream may send because a mirror before it stood still
IMAGE = "org/model:v1"


def built(build: Callable[[], Path]) -> Path:
    """Once the source is here, what does not compile or run fails."""
    try:
        return build()
    except Unbuildable as e:
        unavailable(str(e))


@pytest.fixture(scope="session")
def spegel_program() -> Path:
    return built(build_spegel)


@pytest.fixture
def nodes(repositories: Path) -> Iterator[Cluster]:
    containerd = built(build_containerd)
    try:
        with (
            TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True) as folder,
            cluster(Path(folder), repositories, mbit=MBIT, containerd=containerd) as made,
        ):
            yield made
    except PermissionError as e:
        unavailable(f"network namespaces cannot be made: {e}")


@pytest.fixture
def spegel(spegel_program: Path) -> Spegel:
    return Spegel(spegel_program)


@pytest.fixture(params=["spegel", "dragonfly", "registry-shim"])
def front(request: pytest.FixtureRequest) -> Front:
    if request.param == "spegel":
        return Spegel(built(build_spegel))
    if request.param == "dragonfly":
        return Dragonfly(dfdaemon=built(build_dfdaemon), scheduler=built(build_scheduler))
    return Shims()


def sent_for(cluster: Cluster, work: Callable[[], object]) -> float:
    """How many copies of the model the upstream sends meanwhile."""
    before = cluster.sent
    work()
    return (cluster.sent - before) / SIZE


def test_who_comes_later_takes_nothing_from_the_upstream(nodes: Cluster, front: Front) -> None:
    first, *later = nodes.add(3, front)
    nodes.pull([first], IMAGE)
    assert sent_for(nodes, lambda: nodes.pull(later, IMAGE)) < 0.1
    assert first.containerd.blobs() == later[0].containerd.blobs() == later[1].containerd.blobs()


def test_of_all_that_start_together_only_our_peers_promise_one_copy(nodes: Cluster, front: Front) -> None:
    together = nodes.add(3, front)
    copies = sent_for(nodes, lambda: nodes.pull(together, IMAGE))
    assert copies < (1.1 if isinstance(front, Shims) else len(together)) * OVERHEAD, f"{copies:.2f} x the model"


class Chain:
    """Two nodes with Spegel. The first has the model; the second has a shim that asks its own Spegel first."""

    def __init__(self, cluster: Cluster, spegel: Spegel) -> None:
        self.cluster = cluster
        self.spegel = spegel
        self.holder, self.node = cluster.add(2, spegel)
        shims = Shims(mirrors=lambda node: [spegel.url(node)])
        shims.start(cluster, [self.node])
        self.node.containerd.mirror(cluster.registry, shims.hosts(cluster, self.node))
        self.address = shims.url(self.node).removeprefix("http://")

    @property
    def given(self) -> float:
        """How many copies of the model have left the first node."""
        return self.cluster.network.sent(self.holder.machine) / SIZE

    def begin_pull(self) -> subprocess.Popen[str]:
        """A client on the second node, which checks every digest."""
        path = f"{self.cluster.registry}/{IMAGE.partition(':')[0]}"
        command = [*self.node.machine.enter, sys.executable, pull.__file__, self.address, path, "verify"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    @staticmethod
    def end_pull(client: subprocess.Popen[str]) -> None:
        said, _ = client.communicate(timeout=120)
        assert client.returncode == 0, said


@pytest.fixture
def chain(nodes: Cluster, spegel: Spegel) -> Chain:
    return Chain(nodes, spegel)


def test_a_shim_takes_blobs_from_the_spegel_before_the_upstream(chain: Chain) -> None:
    chain.cluster.pull([chain.holder], IMAGE)
    copies = sent_for(chain.cluster, lambda: chain.cluster.pull([chain.node], IMAGE))
    assert copies < HEDGED, f"{copies:.2f} x the model"
    assert copies + chain.given > 1
    assert chain.node.containerd.blobs() == chain.holder.containerd.blobs()


def test_what_spegel_has_not_comes_from_the_upstream(chain: Chain) -> None:
    assert 1 < sent_for(chain.cluster, lambda: chain.end_pull(chain.begin_pull())) < 1.1 * OVERHEAD


def test_a_spegel_that_is_gone_is_done_without(chain: Chain) -> None:
    chain.spegel.running[chain.node.address].kill()
    chain.end_pull(chain.begin_pull())


@pytest.mark.parametrize("whose", ["holder", "node"])
def test_a_spegel_that_dies_in_the_middle_costs_what_it_had_still_to_give(chain: Chain, whose: str) -> None:
    chain.cluster.pull([chain.holder], IMAGE)
    victim: Node = getattr(chain, whose)

    def pull_and_kill() -> None:
        client = chain.begin_pull()
        eventually(lambda: chain.given > 0.4, "Spegel brings blobs")
        chain.spegel.running[victim.address].kill()
        chain.end_pull(client)

    copies = sent_for(chain.cluster, pull_and_kill)
    assert 0 < copies < 0.9 * OVERHEAD, f"{copies:.2f} x the model"


def test_what_spegel_sends_is_verified(chain: Chain) -> None:
    """Spegel serves the files of containerd's store as they are; one has rotted."""
    chain.cluster.pull([chain.holder], IMAGE)
    stored = sorted((chain.holder.containerd.content / "blobs/sha256").iterdir(), key=lambda p: p.stat().st_size)
    size = stored[-1].stat().st_size
    stored[-1].chmod(0o600)
    stored[-1].write_bytes(bytes(size))
    copies = sent_for(chain.cluster, lambda: chain.end_pull(chain.begin_pull()))
    assert 1 / 3 < copies < HEDGED * OVERHEAD, f"{copies:.2f} x the model"
