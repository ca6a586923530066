"""Pods that ask for a model, rewritten with facts from the registry, really run: in containerd, as a kubelet runs them.

Nothing is made up in between: the image is built by `modelcar build`, lies in our registry (once behind the shim), and
the processes that open and map its weights are those of the rewritten pod.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import select
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from modelcar.admission.admit import Caller, admit
from modelcar.admission.facts import User
from modelcar.admission.resolve import Images
from modelcar.admission.settings import AdmissionSettings, Cluster, Requests, Rewriting
from modelcar.errors import Denied
from modelcar.registry import ClientSettings
from tests.e2e.conftest import Published
from tests.e2e.support.commands import Modelcar
from tests.e2e.support.cri import PAUSE, CriClient, cri_engine
from tests.e2e.support.cri_pods import Kubelet, RunningPod
from tests.e2e.support.servers import PASSWD, publish_server, python_files
from tests.e2e.support.shims import running_shim
from tests.support.checkpoints import make_checkpoint
from tests.support.waiting import eventually
from tests.support.weights import safetensors_bytes

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("containerd", "runc", "skopeo", "busybox")]

SHARDS = [f"model-{i:05}-of-00003.safetensors" for i in (1, 2, 3)]
PATH = "/mnt/models"
READ = f'echo "ran by $(id -u):$(id -g)"; cd {PATH} && sha256sum *.safetensors'
# What sidecars get by default suffices, and makes whoever waits for a pod of theirs wait for seconds.
AMPLE = Requests(cpu="500m")
Build = Callable[..., str]


@pytest.fixture(scope="module")
def build(workspace: Path, embedded: str) -> Build:
    """Makes images of servers; returns their names."""

    def make(name: str, **options: Any) -> str:
        return publish_server(workspace / "server", f"{embedded}/servers/{name}:v1", **options)

    return make


@pytest.fixture(scope="module")
def engine(workspace: Path, build: Build) -> Iterator[CriClient]:
    pause = build("pause", command=tuple(PAUSE), passwd=None)
    with cri_engine(workspace / "cri", pause) as client:
        client.pull(pause)
        yield client


@pytest.fixture
def kubelet(engine: CriClient, workspace: Path) -> Kubelet:
    return Kubelet(engine, workspace / "pods")


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    settings = AdmissionSettings()
    with Images(settings.trust, client=ClientSettings(timeout=10, attempts=1)) as resolver:
        resolver.open()
        yield resolver


def pod(image: str, model: str, *command: str, **more: Any) -> dict[str, Any]:
    """A pod as people write it; `more`: `annotations`, what its `container` says besides, and the rest of its spec."""
    annotations = {"modelcar.dev/model": f"oci://{model}", **more.pop("annotations", {})}
    container = {"name": "server", "image": image, "command": list(command), **more.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "server", "annotations": annotations},
        "spec": {"restartPolicy": "Never", **more, "containers": [container]},
    }


def rewritten(
    pod: dict[str, Any], images: Images, *, native: bool = True, requests: Requests = AMPLE
) -> dict[str, Any]:
    settings = AdmissionSettings(cluster=Cluster(native_sidecars=native), rewriting=Rewriting(requests=requests))
    return admit(pod, images, Caller(namespace="default"), settings).pod


def sums(model: Published) -> str:
    """What sha256sum says of all shards."""
    return "".join(f"{hashlib.sha256(model.files[name]).hexdigest()}  {name}\n" for name in SHARDS)


# Who runs the server


@pytest.mark.parametrize(
    ("name", "user", "expected"),
    [
        ("root", "", User(uid=0, gid=0)),
        ("number", "1000", User(uid=1000, gid=0)),
        ("number-and-group", "1000:2000", User(uid=1000, gid=0)),
        ("number-in-passwd", "2000", User(uid=2000, gid=2001)),
        ("number-in-passwd-and-group", "2000:7", User(uid=2000, gid=2001)),
        ("name", "vllm", User(uid=2000, gid=2001)),
        ("name-and-group", "vllm:root", User(uid=2000, gid=2001)),
    ],
)
def test_the_images_user_reads_the_model(
    kubelet: Kubelet, images: Images, build: Build, model: Published, name: str, user: str, expected: User
) -> None:
    wanted = rewritten(pod(build(name, user=user), model.ref, "sh", "-c", READ), images)
    with kubelet.running(wanted) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server") == f"ran by {expected.uid}:{expected.gid}\n{sums(model)}"
        assert running.exit_code("modelcar-model") == 0


@pytest.mark.parametrize("where", ["container", "pod"])
@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"runAsUser": 3000, "runAsGroup": 3001}, User(uid=3000, gid=3001)),
        ({"runAsUser": 3000}, User(uid=3000, gid=0)),
        ({"runAsUser": 2000}, User(uid=2000, gid=2001)),
        ({"runAsGroup": 5}, User(uid=2000, gid=5)),
        ({"runAsUser": 0}, User(uid=0, gid=0)),
    ],
)
def test_whom_the_pod_names_reads_the_model(
    kubelet: Kubelet,
    images: Images,
    build: Build,
    model: Published,
    where: str,
    context: dict[str, int],
    expected: User,
) -> None:
    said = {"container": {"securityContext": context}} if where == "container" else {"securityContext": context}
    wanted = rewritten(pod(build("name", user="vllm"), model.ref, "sh", "-c", READ, **said), images)
    with kubelet.running(wanted) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server") == f"ran by {expected.uid}:{expected.gid}\n{sums(model)}"


def test_a_confined_server_reads_the_model(kubelet: Kubelet, images: Images, build: Build, model: Published) -> None:
    """Under Kubernetes' restricted profile, with supplementary groups and a root that it cannot write to. The sidecar
    has no more than it gets by default."""
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    of_pod = {"runAsUser": 2000, "fsGroup": 4000, "supplementalGroups": [5000, 6000]}
    image = build("name", user="vllm")
    wanted = pod(image, model.ref, "sh", "-c", READ, container={"securityContext": context}, securityContext=of_pod)
    with kubelet.running(rewritten(wanted, images, requests=Requests())) as running:
        assert running.ended() == "Succeeded"
        assert running.log("server") == f"ran by 2000:2001\n{sums(model)}"


def test_a_server_whose_user_nobody_knows_is_denied_before_it_runs(
    images: Images, build: Build, model: Published
) -> None:
    wanted = pod(build("stranger", user="nobody"), model.ref, "sh", "-c", READ)
    with pytest.raises(Denied, match="whom its /etc/passwd does not know"):
        rewritten(wanted, images)


# How it appears


@pytest.mark.parametrize("link", ["farm", "directory"])
@pytest.mark.parametrize("path", ["/mnt/models", "/data/llm/current"])
def test_the_whole_model_is_there(
    kubelet: Kubelet, images: Images, build: Build, model: Published, link: str, path: str
) -> None:
    annotations = {"modelcar.dev/link": link, "modelcar.dev/path": path}
    command = ("sh", "-c", f"cd {path} && cat README.md && ls && sha256sum *.safetensors && cat 1_Pooling/config.json")
    wanted = rewritten(pod(build("name", user="vllm"), model.ref, *command, annotations=annotations), images)
    with kubelet.running(wanted) as running:
        assert running.ended() == "Succeeded"
        listing = "".join(f"{name}\n" for name in sorted({name.partition("/")[0] for name in model.files}))
        card = model.files["README.md"].decode()
        assert running.log("server") == f"{card}{listing}{sums(model)}{model.files['1_Pooling/config.json'].decode()}"


def test_several_models_and_an_init_container_that_reads_them(
    kubelet: Kubelet, images: Images, build: Build, model: Published
) -> None:
    image = build("name", user="vllm")
    several = [
        {"name": "base", "image": f"oci://{model.ref}", "path": "/mnt/models/base"},
        {"name": "adapter", "image": f"oci://{model.ref}", "path": "/mnt/models/adapter"},
        {"name": "linked", "image": f"oci://{model.ref}", "path": "/mnt/adapters/a", "link": "directory"},
    ]
    wanted = pod(image, model.ref, "sh", "-c", "sha256sum /mnt/*/*/config.json")
    wanted["metadata"]["annotations"] = {
        "modelcar.dev/models": json.dumps(several),
        "modelcar.dev/container": "warm-up,server",
    }
    warm = {"name": "warm-up", "image": image, "command": ["sh", "-c", "cat /mnt/*/*/config.json"]}
    wanted["spec"]["initContainers"] = [warm]
    with kubelet.running(rewritten(wanted, images)) as running:
        assert running.ended() == "Succeeded"
        config = model.files["config.json"]
        digest = hashlib.sha256(config).hexdigest()
        places = ("adapters/a", "models/adapter", "models/base")
        expected = "".join(f"{digest}  /mnt/{place}/config.json\n" for place in places)
        assert running.log("server") == expected
        assert running.log("warm-up").replace("\n", "") == config.decode() * 3


def test_an_older_clusters_sidecar(kubelet: Kubelet, images: Images, build: Build, model: Published) -> None:
    wanted = pod(
        build("name", user="vllm"), model.ref, "sh", "-c", f"{READ}; {' '.join(PAUSE[2:])}", restartPolicy="Always"
    )
    with kubelet.running(rewritten(wanted, images, native=False)) as running:
        eventually(lambda: running.log("server").count("\n") == 4, "the server has read the model")
        assert running.log("server") == f"ran by 2000:2001\n{sums(model)}"


# Models of other tools


@pytest.mark.parametrize("link", ["farm", "directory"])
@pytest.mark.parametrize("user", [None, 1000])
def test_a_model_with_a_shell_works_like_ours(
    kubelet: Kubelet, images: Images, build: Build, model: Published, link: str, user: int | None
) -> None:
    """Made by no tool of ours: busybox with a folder. The sidecar's root is read-only."""
    files = {f"models/{name}": content for name, content in model.files.items()}
    theirs = build("third-party-model", user="", passwd=None, files=files)
    context = {"securityContext": {"runAsUser": user, "runAsGroup": user}} if user is not None else {}
    command = ("sh", "-c", f"{READ}; cat 1_Pooling/config.json")
    wanted = pod(build("root"), theirs, *command, annotations={"modelcar.dev/link": link}, **context)
    with kubelet.running(rewritten(wanted, images)) as running:
        assert running.ended() == "Succeeded"
        ids = f"{user or 0}:{user or 0}"
        assert running.log("server") == f"ran by {ids}\n{sums(model)}{model.files['1_Pooling/config.json'].decode()}"
        assert running.exit_code("modelcar-model") == 0


# The process that serves


WEIGHTS = "model.safetensors"
TENSOR = random.Random(1).randbytes(4 << 20)


@pytest.fixture(scope="module")
def weights(workspace: Path, modelcar: Modelcar, embedded: str) -> Published:
    """A model with one tensor, of a kind that numpy knows."""
    folder, ref = workspace / "weights", f"{embedded}/acme/weights:v1"
    folder.mkdir()
    content = safetensors_bytes({"weight": ("F32", (len(TENSOR) // 4,), TENSOR)}, align=8)
    (folder / WEIGHTS).write_bytes(content)
    (folder / "config.json").write_text("{}")
    built = modelcar("build", folder, "-t", ref)
    modelcar("push", ref)
    return Published(folder=folder, ref=ref, digest=built["digest"])


@pytest.fixture(scope="module")
def python_server(build: Build) -> str:
    """Python with numpy and safetensors, as whoever the pod says."""
    files, env = python_files()
    return build("python", user="vllm", files=files, env=env)


class Server:
    """The program in `servers.SERVER`, asked from outside through pipes in an emptyDir."""

    def __init__(self, running: RunningPod) -> None:
        self._running = running
        self._control = running.volume("control")
        eventually((self._control / "questions").exists, "the server starts")
        self._answers = os.open(self._control / "answers", os.O_RDONLY | os.O_NONBLOCK)  # waits for nobody
        self._questions = -1
        eventually(self._is_listening, "the server loads the model", within=60)

    def _is_listening(self) -> bool:
        assert self._running.is_running("server"), self._running.log("server")
        with suppress(OSError):  # nobody reads it yet
            self._questions = os.open(self._control / "questions", os.O_WRONLY | os.O_NONBLOCK)
        return self._questions >= 0

    def __call__(self, question: str) -> Any:
        os.write(self._questions, f"{question}\n".encode())
        ready, _, _ = select.select([self._answers], [], [], 30)
        answer = os.read(self._answers, 4096) if ready else b""
        assert answer, f"no answer to {question}: {self._running.log('server')}"
        return json.loads(answer)

    def close(self) -> None:
        os.close(self._questions)
        os.close(self._answers)


def serving_pod(image: str, model: Published) -> dict[str, Any]:
    control = {"name": "control", "mountPath": "/control"}
    pipes = "for pipe in answers questions; do /bin/busybox mkfifo -m 666 /control/$pipe; done"
    serve = f"{pipes}; exec /opt/python/bin/python3 /opt/server.py {PATH}/{WEIGHTS} /control"
    return pod(
        image,
        model.ref,
        "sh",
        "-c",
        serve,
        container={"volumeMounts": [control]},
        volumes=[{"name": "control", "emptyDir": {}}],
    )


@pytest.fixture
def asking() -> Iterator[Callable[[RunningPod], Server]]:
    servers: list[Server] = []

    def ask(running: RunningPod) -> Server:
        server = Server(running)
        servers.append(server)
        return server

    yield ask
    for server in servers:
        server.close()


def on_disk(*folders: Path) -> dict[Path, int]:
    """Bytes that files below take up, each once, however many names it has."""
    found: dict[tuple[int, int], tuple[Path, int]] = {}
    for where, _, names in (entry for folder in folders for entry in os.walk(folder)):
        for path in (Path(where, name) for name in names):
            with suppress(FileNotFoundError):
                status = path.lstat()
                found.setdefault((status.st_dev, status.st_ino), (path, status.st_blocks * 512))
    return dict(found.values())


def test_a_server_maps_the_weights_where_they_lie_and_nothing_is_copied(
    kubelet: Kubelet,
    images: Images,
    python_server: str,
    weights: Published,
    workspace: Path,
    asking: Callable[[RunningPod], Server],
) -> None:
    wanted = rewritten(serving_pod(python_server, weights), images)
    for container in (*wanted["spec"]["initContainers"], *wanted["spec"]["containers"]):
        kubelet.cri.pull(container["image"])
    stores = (workspace / "cri" / "root", workspace / "pods")
    before = on_disk(*stores)
    shard = weights.files[WEIGHTS]
    with kubelet.running(wanted) as running:
        ask = asking(running)
        assert ask("who") == [2000, 2001]
        assert ask("mapping") == hashlib.sha256(shard).hexdigest()
        assert ask("tensor") == hashlib.sha256(TENSOR).hexdigest()
        sidecar = Path(f"/proc/{running.pid('modelcar-model')}/root/models")
        theirs = (sidecar / WEIGHTS).stat()
        assert ask("file") == [theirs.st_ino, theirs.st_dev]
        assert re.fullmatch(r"/proc/\d+/root/models", ask("link"))
        assert running.volume("modelcar-model").joinpath(WEIGHTS).is_symlink()
        grown = {path: size - before.get(path, 0) for path, size in on_disk(*stores).items()}
        assert sum(grown.values()) < len(shard) // 4, sorted(grown.items(), key=lambda item: -item[1])[:5]


def test_a_sidecar_that_is_killed_takes_nothing_away_and_comes_back(
    kubelet: Kubelet,
    images: Images,
    python_server: str,
    weights: Published,
    asking: Callable[[RunningPod], Server],
) -> None:
    wanted = rewritten(serving_pod(python_server, weights), images)
    shard = weights.files[WEIGHTS]
    whole, tensor = hashlib.sha256(shard).hexdigest(), hashlib.sha256(TENSOR).hexdigest()
    with kubelet.running(wanted) as running:
        ask = asking(running)
        assert ask("half") == hashlib.sha256(shard[: len(shard) // 2]).hexdigest()
        link = ask("link")
        os.kill(running.pid("modelcar-model"), signal.SIGKILL)
        assert [ask("mapping"), ask("read"), ask("tensor")] == [whole, whole, tensor]
        eventually(lambda: ask("open") == whole, "the sidecar is back")
        assert ask("load") == tensor
        assert ask("link") != link
        assert running.runs("modelcar-model") == 2
        assert [ask("mapping"), ask("read"), ask("tensor")] == [whole, whole, tensor]


def test_a_pod_whose_image_came_through_the_shim(
    kubelet: Kubelet, images: Images, build: Build, modelcar: Modelcar, embedded: str, tmp_path: Path
) -> None:
    ref, checkpoint = f"{embedded}/acme/through-the-shim:v1", make_checkpoint(tmp_path / "checkpoint", seed="shim")
    built = modelcar("build", checkpoint, "-t", ref)
    modelcar("push", ref)
    wanted = rewritten(pod(build("name", user="vllm"), ref, "sh", "-c", READ), images)
    hosts = kubelet.folder.parent / "cri/certs.d" / embedded / "hosts.toml"
    with running_shim(tmp_path, embedded) as shim:
        hosts.parent.mkdir(parents=True)
        hosts.write_text(f'server = "{shim.url}"\n[host."{shim.url}"]\n  capabilities = ["pull", "resolve"]\n')
        try:
            with kubelet.running(wanted) as running:
                assert running.ended() == "Succeeded"
                theirs = Published(folder=checkpoint, ref=ref, digest=built["digest"])
                assert running.log("server") == f"ran by 2000:2001\n{sums(theirs)}"
        finally:
            shutil.rmtree(hosts.parent)
        layers = modelcar("inspect", ref)["manifests"][0]["layers"]
        weights = [layer["digest"] for layer in layers if layer["annotations"]["dev.modelcar.layer"] == "weights"]
        assert len(weights) == 3
        assert all(shim.has(digest) for digest in (built["digest"], *weights))


@pytest.mark.parametrize("execs", [True, False])
def test_who_only_changed_its_user_is_closed_to_others(
    kubelet: Kubelet, build: Build, python_server: str, execs: bool
) -> None:
    """A process that gave up root by itself is not dumpable until it runs another program."""
    stay = "os.execv('/bin/busybox', ['sleep', '600'])" if execs else "time.sleep(600)"
    become = f"import os, time; os.setgroups([]); os.setgid(1000); os.setuid(1000); {stay}"
    sidecar = {"name": "sidecar", "image": python_server, "command": ["/opt/python/bin/python3", "-c", become]}
    server = {"name": "server", "image": build("root"), "command": PAUSE}
    confined = {"runAsUser": 1000, "runAsGroup": 1000, "capabilities": {"drop": ["ALL"]}}
    containers = [
        {**sidecar, "securityContext": {"runAsUser": 0, "runAsGroup": 0}},
        {**server, "securityContext": confined},
    ]
    bare = {"metadata": {"name": "bare"}, "spec": {"shareProcessNamespace": True, "containers": containers}}
    with kubelet.running(bare) as running:
        process = Path(f"/proc/{running.pid('sidecar')}")
        name = "busybox" if execs else "python3"

        def is_somebody_else() -> bool:
            status = (process / "status").read_text()
            return f"Name:\t{name}\n" in status and "Uid:\t1000\t" in status

        eventually(is_somebody_else, "it is somebody else")
        inside = (process / "status").read_text().partition("NSpid:")[2].split()[1]
        done = running.execute("server", "cat", f"/proc/{inside}/root/etc/passwd")
        assert (done.status, done.stdout) == ((0, PASSWD.decode()) if execs else (1, ""))
