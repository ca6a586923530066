"""containerd's CRI as a kubelet uses it: sandboxes, containers, images. And a containerd that offers it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelcar.errors import WorldError
from registry_shim.engines.cri import Cri
from tests.e2e.support.commands import run, serving
from tests.e2e.support.mounts import removed_cgroups, unmount_below
from tests.support.protobufs import Read, message, read
from tests.support.waiting import eventually

__all__ = ["PAUSE", "CriClient", "CriError", "Executed", "Status", "cri_engine", "pairs", "wrapped"]

_SECONDS = 60.0
# What Kubernetes' pause container does, for a shell: reap, and end on TERM.
PAUSE = ["sh", "-c", 'trap "exit 0" TERM; while :; do sleep 3600 & wait $!; done']
_CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{folder}/socket"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{folder}/certs.d"
"""


class CriError(Exception):
    """The engine said no, in its own words."""


@dataclass(frozen=True, kw_only=True)
class Executed:
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Status:
    """`state`: 0 created, 1 running, 2 exited. `pid` is the host's; 0 where there is none."""

    state: int
    exit_code: int
    pid: int

    @property
    def is_running(self) -> bool:
        return self.state == 1

    @property
    def has_ended(self) -> bool:
        return self.state == 2


class CriClient:
    """One call a method; requests are protobuf as `runtime/v1/api.proto` has it."""

    def __init__(self, socket: Path) -> None:
        self._cri = Cri(socket)

    def pull(self, image: str) -> None:
        self._call("ImageService/PullImage", (1, _image(image)))

    def remove_image(self, image: str) -> None:
        self._call("ImageService/RemoveImage", (1, _image(image)))

    def image_user(self, image: str) -> tuple[int | None, str]:
        """What the engine tells a kubelet of an image's USER: a number, or a name."""
        found = _first(self._call("ImageService/ImageStatus", (1, _image(image))), 1)
        fields = read(found)
        uid = read(_first(fields, 5)).get(1, [0])[0] if 5 in fields else None
        assert uid is None or isinstance(uid, int)
        return uid, _first(fields, 6).decode()

    def run_sandbox(self, config: bytes) -> str:
        return _text(self._call("RuntimeService/RunPodSandbox", (1, config)), 1)

    def stop_sandbox(self, sandbox: str) -> None:
        self._call("RuntimeService/StopPodSandbox", (1, sandbox))

    def remove_sandbox(self, sandbox: str) -> None:
        self._call("RuntimeService/RemovePodSandbox", (1, sandbox))

    def create(self, sandbox: str, container: bytes, config: bytes) -> str:
        return _text(self._call("RuntimeService/CreateContainer", (1, sandbox), (2, container), (3, config)), 1)

    def start(self, container: str) -> None:
        self._call("RuntimeService/StartContainer", (1, container))

    def stop(self, container: str, seconds: int) -> None:
        self._call("RuntimeService/StopContainer", (1, container), (2, seconds))

    def remove(self, container: str) -> None:
        self._call("RuntimeService/RemoveContainer", (1, container))

    def status(self, container: str) -> Status:
        answer = self._call("RuntimeService/ContainerStatus", (1, container), (2, 1))
        fields = read(_first(answer, 1))
        info = dict(_pair(each) for each in answer.get(2, []))
        pid = json.loads(info.get("info", "{}")).get("pid", 0)
        return Status(state=_number(fields, 3), exit_code=_number(fields, 7), pid=pid)

    def execute(self, container: str, command: Sequence[str], seconds: int = 20) -> Executed:
        fields = self._call("RuntimeService/ExecSync", (1, container), *((2, word) for word in command), (3, seconds))
        return Executed(status=_number(fields, 3), stdout=_text(fields, 1), stderr=_text(fields, 2))

    def _call(self, method: str, *fields: tuple[int, int | bytes | str]) -> Read:
        answer = self._cri.call(f"/runtime.v1.{method}", message(*fields), _SECONDS)
        if answer.refusal is not None:
            raise CriError(f"{method}: {answer.refusal}")
        return read(answer.content)


def wrapped(value: int) -> bytes:
    """An `Int64Value`, which may be zero and is there all the same."""
    return message((1, value))


def pairs(number: int, entries: Mapping[str, str]) -> Iterable[tuple[int, bytes]]:
    """A map, or a list of keys and values, as field `number`."""
    return [(number, message((1, key), (2, value))) for key, value in entries.items()]


@contextmanager
def cri_engine(
    folder: Path,
    pause: str,
    *,
    more: str = "",
    keeps: bool = False,
    program: str | Path = "containerd",
    config: str = _CONFIG,
    before: Sequence[str] = (),
    hosts: Mapping[str, str] | None = None,
) -> Iterator[CriClient]:
    """Start a containerd in `folder`, whose path must be short: there will be sockets in it.

    Registries are configured in `folder/certs.d`, read at every pull.

    Args:
        pause: the image of sandboxes, which does what `PAUSE` does; pulled when the first is made.
        more: what else its configuration says.
        keeps: pods and images stay, for the next one in the same folder.
        program: which containerd.
        config: its configuration; `{folder}` and `{pause}` are filled in.
        before: a command that runs it elsewhere, in another network namespace for one.
        hosts: `hosts.toml` of registries.
    """
    folder.mkdir(exist_ok=True)
    file, socket = folder / "config.toml", folder / "socket"
    file.write_text(config.format(folder=folder, pause=pause) + more)
    for registry, text in (hosts or {}).items():
        (folder / "certs.d" / registry).mkdir(parents=True, exist_ok=True)
        (folder / "certs.d" / registry / "hosts.toml").write_text(text)
    client = CriClient(socket)
    try:
        with removed_cgroups("k8s.io"), serving(folder / "log", *before, program, "--config", file) as process:
            eventually(lambda: _answers(socket) or process.poll() is not None, "containerd starts")
            assert process.poll() is None, (folder / "log").read_text()
            try:
                yield client
            finally:
                if not keeps:
                    _clear(socket)
    finally:
        if not keeps:
            unmount_below(folder)


def _clear(socket: Path) -> None:
    """What a failed test has left."""
    client = CriClient(socket)
    for sandbox in client._call("RuntimeService/ListPodSandbox").get(1, []):
        assert isinstance(sandbox, bytes)
        name = _text(read(sandbox), 1)
        client.stop_sandbox(name)
        client.remove_sandbox(name)
    for image in run("ctr", "--address", socket, "--namespace", "k8s.io", "image", "list", "--quiet").stdout.split():
        run("ctr", "--address", socket, "--namespace", "k8s.io", "image", "remove", "--sync", image, check=False)


def _answers(socket: Path) -> bool:
    try:
        return bool(Cri(socket).version().version)
    except WorldError:
        return False


def _image(name: str) -> bytes:
    return message((1, name))


def _first(fields: Read, number: int) -> bytes:
    value = fields.get(number, [b""])[0]
    assert isinstance(value, bytes)
    return value


def _text(fields: Read, number: int) -> str:
    return _first(fields, number).decode(errors="replace")


def _number(fields: Read, number: int) -> int:
    value = fields.get(number, [0])[0]
    assert isinstance(value, int)
    return value


def _pair(entry: int | bytes) -> tuple[str, str]:
    assert isinstance(entry, bytes)
    fields = read(entry)
    return _text(fields, 1), _text(fields, 2)
