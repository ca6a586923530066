"""containerd with our snapshotter, as a kubelet uses it: lazy layers are never fetched, everything else is as usual.

Once with folders instead of mounts, so that what fails is the snapshotter, and once with a shim and real mounts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelcar.mounts.process.unmounting import mounted
from registry_shim.operations.admin.client import AdminClient
from tests.e2e.conftest import Published
from tests.e2e.mounts.erofs import requires_erofs
from tests.e2e.support.commands import BIN, Modelcar, run
from tests.e2e.support.cri import PAUSE, CriError
from tests.e2e.support.cri_pods import Kubelet, PodFailed
from tests.e2e.support.servers import publish_server
from tests.e2e.support.shims import running_shim
from tests.e2e.support.snapshot_pods import READ, pod, sums
from tests.e2e.support.snapshotters import UNPACKING, Machine, machine
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("containerd", "runc", "skopeo", "busybox")]

UNIT = Path(__file__).parents[2] / "examples/node/modelcar-snapshotter.service"
STAY = f"{READ}; touch /root-was-here; {' '.join(PAUSE[2:])}"


@pytest.fixture(scope="module")
def model(checkpoint: Path, modelcar: Modelcar, embedded: str, busybox: str) -> Published:
    """The model in an image that has a shell."""
    ref = f"{embedded}/acme/lazy:v1"
    built = modelcar("build", checkpoint, "-t", ref, "--base", busybox)
    modelcar("push", ref)
    return Published(folder=checkpoint, ref=ref, digest=built["digest"])


@pytest.fixture(scope="module")
def weights(model: Published, modelcar: Modelcar) -> set[str]:
    """The digests of the layers that are lazy."""
    layers = modelcar("inspect", model.ref)["manifests"][0]["layers"]
    return {layer["digest"] for layer in layers if layer.get("annotations", {}).get("dev.modelcar.layer") == "weights"}


@pytest.fixture(scope="module")
def pause(workspace: Path, embedded: str) -> str:
    return publish_server(workspace / "server", f"{embedded}/servers/lazy:v1", command=tuple(PAUSE), passwd=None)


class Supply:
    """Where the lazy layers come from. It can be taken away, so that nothing can be mounted, and given back."""

    command: Sequence[str | Path] = UNPACKING

    def __init__(self, folder: Path) -> None:
        self._mark = folder / "unpacked/away"

    def take_away(self) -> None:
        self._mark.parent.mkdir(exist_ok=True)
        self._mark.touch()

    def give_back(self) -> None:
        self._mark.unlink()


class ShimSupply(Supply):
    """A shim, and mounts by `front`."""

    def __init__(self, folder: Path, upstream: str, front: str, *, as_service: bool = False) -> None:
        folder.mkdir()
        self._folder, self._upstream, self._as_service = folder, upstream, as_service
        self.root = folder / "shim"
        self._running = ExitStack()
        self.give_back()
        options = ("--root", self.root, "--state", "{state}", "--socket", "{socket}", "--kernel-mount", front)
        self.command = (BIN / "registry-shim", "snapshotter", *options)

    def take_away(self) -> None:
        self._running.close()

    def give_back(self) -> None:
        (self._folder / "ready").unlink(missing_ok=True)
        self._running.enter_context(running_shim(self._folder, self._upstream, as_service=self._as_service))


@pytest.fixture(params=["unpacked", "fuse", "erofs"])
def supply(request: pytest.FixtureRequest, workspace: Path, embedded: str, tmp_path: Path) -> Iterator[Supply]:
    name = tmp_path.name[-8:]
    if request.param == "unpacked":
        yield Supply(workspace / f"s-{name}")
        return
    if request.param == "erofs":
        requires_erofs(tmp_path)
    found = ShimSupply(workspace / f"h-{name}", embedded, request.param)
    yield found
    found.take_away()


@pytest.fixture
def node(workspace: Path, pause: str, tmp_path: Path, supply: Supply) -> Iterator[Machine]:
    with machine(workspace / f"s-{tmp_path.name[-8:]}", pause, supply.command) as found:
        yield found


@pytest.fixture
def kubelet(node: Machine) -> Kubelet:
    return Kubelet(node.cri, node.folder / "pods")


def reads(kubelet: Kubelet, model: Published) -> bool:
    """Whether a pod starts; containerd takes seconds to find that a snapshotter is there again, and kubelets retry."""
    try:
        with kubelet.running(pod(model.ref, "sh", "-c", READ)) as running:
            assert running.ended() == "Succeeded"
            assert running.log("server") == sums(model)
    except (PodFailed, CriError):
        return False
    return True


def test_a_pod_reads_weights_that_containerd_never_fetched(
    node: Machine, kubelet: Kubelet, model: Published, weights: set[str]
) -> None:
    assert len(weights) == 3
    with kubelet.running(pod(model.ref, "sh", "-c", READ)) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server") == sums(model)
    assert not weights & node.content()
    (image,) = node.images()
    assert len(list(image.iterdir())) == 3


def test_an_image_without_an_index_is_pulled_as_usual(node: Machine, kubelet: Kubelet, pause: str) -> None:
    with kubelet.running(pod(pause, "sh", "-c", "ls / && echo x > /etc/new && cat /etc/new")) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server").endswith("x\n")
    assert node.images() == set()


def test_weights_cannot_be_written_to_the_model(node: Machine, kubelet: Kubelet, model: Published) -> None:
    """A container may write above them, as above any layer; the next one does not see it."""
    change = "echo changed > /models/model-00001-of-00003.safetensors && rm /models/model-00002-of-00003.safetensors"
    with kubelet.running(pod(model.ref, "sh", "-c", f"{change} && ls /models", root=True)) as running:
        assert running.ended() == "Succeeded", running.log("server")
        assert "model-00002" not in running.log("server")
    with kubelet.running(pod(model.ref, "sh", "-c", READ)) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server") == sums(model)


def test_a_model_that_cannot_be_mounted_keeps_its_pod_waiting_and_says_why(
    node: Machine, kubelet: Kubelet, model: Published, supply: Supply
) -> None:
    node.cri.pull(model.ref)
    (image,) = node.images()
    eventually(lambda: mounted(image), "it is mounted")
    node.stop_snapshotter()  # as after the machine was off
    run("umount", "--lazy", image)
    supply.take_away()
    node.start_snapshotter()
    with (
        pytest.raises(PodFailed, match=r"cannot be mounted now: (the test has taken it away|no shim runs over)"),
        kubelet.running(pod(model.ref, "sh", "-c", READ)),
    ):
        pytest.fail("it runs")
    supply.give_back()
    with kubelet.running(pod(model.ref, "sh", "-c", READ)) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server") == sums(model)


def test_many_pods_at_once(node: Machine, kubelet: Kubelet, model: Published, weights: set[str]) -> None:
    def run_one(_number: int) -> str:
        with kubelet.running(pod(model.ref, "sh", "-c", READ)) as running:
            assert running.ended() == "Succeeded"
            return running.log("server")

    with ThreadPoolExecutor(12) as threads:
        assert list(threads.map(run_one, range(12))) == [sums(model)] * 12
    assert not weights & node.content()
    assert len(node.images()) == 1


@pytest.mark.parametrize("kills", [False, True], ids=["stopped", "killed"])
def test_the_snapshotter_starts_again_under_running_pods(
    node: Machine, kubelet: Kubelet, model: Published, kills: bool
) -> None:
    with kubelet.running(pod(model.ref, "sh", "-c", STAY, restart="Always", root=True)) as running:
        eventually(lambda: running.log("server").count("\n") == 4, "it has read its model")
        (node.kill_snapshotter if kills else node.stop_snapshotter)()
        read = running.execute("server", "sh", "-c", READ)
        assert read.stdout == sums(model)
        node.start_snapshotter()
        assert running.execute("server", "cat", "/root-was-here").status == 0
        eventually(lambda: reads(kubelet, model), "another pod runs")


def test_containerd_starts_again(node: Machine, model: Published, weights: set[str]) -> None:
    node.cri.pull(model.ref)
    node.stop_engine()
    node.start_engine()
    with Kubelet(node.cri, node.folder / "pods").running(pod(model.ref, "sh", "-c", READ)) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server") == sums(model)
    node.cri.pull(model.ref)
    assert not weights & node.content()


def pulled(node: Machine, model: Published) -> bool:
    """Whether it is; as for a kubelet, it is no more than a bad moment when a parent is collected just then."""
    try:
        node.cri.pull(model.ref)
    except CriError as e:
        if "does not exist: not found" not in str(e):
            raise
        return False
    return True


def test_an_image_that_is_removed_leaves_nothing(node: Machine, kubelet: Kubelet, model: Published, pause: str) -> None:
    before = node.snapshots()
    with kubelet.running(pod(model.ref, "sh", "-c", READ)) as running:
        assert running.ended() == "Succeeded"
        node.cri.remove_image(model.ref)
        assert node.images()  # a container has it still
    eventually(lambda: pulled(node, model), "it is pulled again while the first is collected")
    node.cri.remove_image(model.ref)
    eventually(lambda: not node.images(), "its mount is gone")
    eventually(lambda: node.snapshots() <= before, "its layers are gone")
    with kubelet.running(pod(model.ref, "sh", "-c", READ)) as running:  # and comes back
        assert running.ended() == "Succeeded"
        assert running.log("server") == sums(model)


def test_without_the_snapshotter_pods_fail_in_words_and_then_run(
    node: Machine, kubelet: Kubelet, model: Published
) -> None:
    node.cri.pull(model.ref)
    node.stop_snapshotter()
    with pytest.raises((PodFailed, CriError), match="nap"), kubelet.running(pod(model.ref, "sh", "-c", READ)):
        pytest.fail("it runs")
    node.start_snapshotter()
    eventually(lambda: reads(kubelet, model), "a pod runs again")


def capabilities() -> str:
    """Those of the snapshotter's unit, as setpriv takes them."""
    (line,) = (line for line in UNIT.read_text().splitlines() if line.startswith("CapabilityBoundingSet="))
    return ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in line.partition("=")[2].split())


@pytest.mark.debian("setpriv", "unshare")
@pytest.mark.parametrize("front", ["fuse", "erofs"])
def test_the_shim_is_a_service_with_a_user_of_its_own(
    workspace: Path, embedded: str, pause: str, model: Published, weights: set[str], front: str
) -> None:
    """As its unit has it: another user, other mounts, and no sight of the snapshotter's processes; that one has the
    capabilities of its own unit."""
    if front == "erofs":
        requires_erofs(workspace)
    supply = ShimSupply(workspace / f"u-{front}", embedded, front, as_service=True)
    limited = ("setpriv", f"--bounding-set=-all,{capabilities()}", "--inh-caps=-all", "--no-new-privs")
    try:
        with machine(workspace / f"v-{front}", pause, [*limited, *supply.command]) as node:
            kubelet = Kubelet(node.cri, node.folder / "pods")
            with kubelet.running(pod(model.ref, "sh", "-c", STAY, restart="Always", root=True)) as running:
                eventually(lambda: running.log("server") == sums(model), "it has read its model")
                (image,) = node.images()
                found = mounted(image)
                assert found is not None
                assert found.kind.partition(".")[0] == front
                supply.take_away()
                supply.give_back()
                assert reads(kubelet, model)
                assert running.execute("server", "sh", "-c", READ).stdout == sums(model)
            node.cri.remove_image(model.ref)
            eventually(lambda: not node.images(), "its mount is gone")
            assert AdminClient(supply.root).get("mounts") == {"mounts": []}
        assert not weights & node.content()
        assert supply.root.stat().st_uid != os.getuid()
    finally:
        supply.take_away()
