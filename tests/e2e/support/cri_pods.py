"""Pods run as a kubelet runs them, without a cluster: from a pod's dictionary to processes, through CRI.

What a kubelet does that matters here: init containers one after the other; native sidecars, whose startup probe the
next container waits for, which are started again when they die and stopped last; `$(VAR)` in commands; who runs a
container where the pod does not say; confinement. Containers have the host's network: there is no network plug-in.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.support.cri import CriClient, CriError, Executed, Status, pairs, wrapped
from tests.support.protobufs import message
from tests.support.waiting import eventually

__all__ = ["Kubelet", "PodFailed", "RunningPod"]

Object = dict[str, Any]

_NODE, _POD, _CONTAINER = 2, 0, 1  # NamespaceMode
_GRACE_SECONDS = 10
_EXPANSION = re.compile(r"\$(\$|\(([A-Za-z_.][A-Za-z0-9_.-]*)\))")
_MASKED = ("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
           "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware")  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


class PodFailed(Exception):
    """A container could not be started, or an init container ended with an error."""


class Kubelet:
    """Runs pods in `folder`, and looks every `interval` seconds what has become of them."""

    def __init__(self, cri: CriClient, folder: Path, *, interval: float = 0.02) -> None:
        self.cri = cri
        self.folder = folder
        self.interval = interval

    @contextmanager
    def running(self, pod: Mapping[str, Any]) -> Iterator[RunningPod]:
        """The pod, its containers started; gone after the block.

        Raises:
            PodFailed: it did not come so far.
        """
        running = RunningPod(self.cri, self.folder / uuid.uuid4().hex[:8], pod, self.interval)
        try:
            running.start()
            yield running
        finally:
            running.close()


@dataclass(eq=False)
class _Container:
    """One of the pod's: `id` is that of its latest run."""

    spec: Object
    is_sidecar: bool
    log: str
    id: str = ""
    runs: int = 0
    ended: Status | None = None
    command: list[str] = field(default_factory=list)


class RunningPod:
    """A pod between `start` and `close`."""

    def __init__(self, cri: CriClient, folder: Path, pod: Mapping[str, Any], interval: float) -> None:
        self.folder = folder
        self._interval = interval
        self._cri = cri
        self._spec: Object = dict(pod["spec"])
        self._name = str(pod["metadata"].get("name", "pod"))
        self._uid = uuid.uuid4().hex
        self._sandbox = ""
        self._config = b""
        self._stopping = threading.Event()
        self._tender = threading.Thread(target=self._tend, name="kubelet", daemon=True)
        inits, mains = self._spec.get("initContainers") or [], self._spec["containers"]
        self._inits = {c["name"]: self._container(c, sidecar=c.get("restartPolicy") == "Always") for c in inits}
        self._mains = {c["name"]: self._container(c, sidecar=False) for c in mains}

    # What a test does with it

    def execute(self, name: str, *command: str) -> Executed:
        """Run a command in a container, as its user."""
        return self._cri.execute(self._all[name].id, command)

    def log(self, name: str) -> str:
        """All that a container has said, over all its runs."""
        files = sorted((self.folder / "logs").glob(f"{name}-*.log"), key=lambda file: int(file.stem.rpartition("-")[2]))
        return "".join(_said(file) for file in files)

    def pid(self, name: str) -> int:
        """A container's first process, as the host sees it."""
        return self._cri.status(self._all[name].id).pid

    def runs(self, name: str) -> int:
        """How often a container was started."""
        return self._all[name].runs

    def volume(self, name: str) -> Path:
        """An emptyDir, on the host."""
        return self.folder / "volumes" / name

    def ended(self) -> str:
        """Waits for the pod to end; returns its phase, `Succeeded` or `Failed`."""
        eventually(lambda: all(main.ended for main in self._mains.values()), "the pod ends", within=30)
        self._stop_sidecars()
        return "Failed" if any(main.ended and main.ended.exit_code for main in self._mains.values()) else "Succeeded"

    def is_running(self, name: str) -> bool:
        return self._cri.status(self._all[name].id).is_running

    # What a kubelet does

    def start(self) -> None:
        (self.folder / "logs").mkdir(parents=True)
        for volume in self._spec.get("volumes") or []:
            if "emptyDir" not in volume:
                raise PodFailed(f"volume {volume['name']} is none that this kubelet knows")
            folder = self.volume(volume["name"])
            folder.mkdir(parents=True)
            folder.chmod(0o777)
        self._config = self._sandbox_config()
        self._sandbox = self._cri.run_sandbox(self._config)
        self._tender.start()
        for container in self._inits.values():
            self._run(container)
            if container.is_sidecar:
                self._await_startup(container)
            else:
                self._await_end(container)
        for container in self._mains.values():
            self._run(container)
            self._await_hook(container)

    def close(self) -> None:
        """Stop everything: sidecars last, the first of them the very last."""
        self._stopping.set()
        if self._tender.is_alive():
            self._tender.join(30)
        if self._sandbox:
            for container in (*self._mains.values(), *reversed(self._inits.values())):
                self._stop(container)
            self._cri.stop_sandbox(self._sandbox)
            self._cri.remove_sandbox(self._sandbox)
        shutil.rmtree(self.folder)

    @property
    def _all(self) -> dict[str, _Container]:
        return {**self._inits, **self._mains}

    def _container(self, spec: Object, *, sidecar: bool) -> _Container:
        return _Container(spec=spec, is_sidecar=sidecar, log=spec["name"])

    def _run(self, container: _Container) -> None:
        try:
            self._cri.pull(container.spec["image"])
            config = self._container_config(container)
            container.runs += 1
            container.ended = None
            container.id = self._cri.create(self._sandbox, config, self._config)
            self._cri.start(container.id)
        except CriError as e:
            raise PodFailed(f"container {container.log}: {e}") from None

    def _await_startup(self, container: _Container) -> None:
        probe = container.spec.get("startupProbe")
        if probe is None:
            return
        for _ in range(probe["failureThreshold"]):
            with suppress(CriError):  # it does not run at the moment
                if self._cri.execute(container.id, probe["exec"]["command"], probe["timeoutSeconds"]).status == 0:
                    return
            if container.runs > 3:
                break
            time.sleep(0.05)  # a kubelet waits for periodSeconds
        raise PodFailed(f"sidecar {container.log} did not start up: {self.log(container.log)}")

    def _await_end(self, container: _Container) -> None:
        eventually(lambda: container.ended, f"{container.log} ends", within=30)
        if container.ended and container.ended.exit_code:
            raise PodFailed(
                f"init container {container.log} ended with {container.ended.exit_code}: {self.log(container.log)}"
            )

    def _await_hook(self, container: _Container) -> None:
        """A postStart hook: the next container waits for it."""
        hook = (container.spec.get("lifecycle") or {}).get("postStart")
        if hook:
            done = self._cri.execute(container.id, hook["exec"]["command"])
            if done.status:
                raise PodFailed(f"the postStart hook of {container.log} ended with {done.status}: {done.stderr}")

    def _tend(self) -> None:
        """Notices what has ended, and starts sidecars again."""
        while not self._stopping.wait(self._interval):
            for container in self._all.values():
                if not container.id or container.ended:
                    continue
                status = self._cri.status(container.id)
                if not status.has_ended:
                    continue
                if container.is_sidecar and not self._stopping.is_set():
                    self._run(container)
                else:
                    container.ended = status

    def _stop_sidecars(self) -> None:
        self._stopping.set()
        self._tender.join(30)
        for container in reversed(self._inits.values()):
            if container.is_sidecar:
                self._stop(container)

    def _stop(self, container: _Container) -> None:
        if container.id and container.ended is None:
            self._cri.stop(container.id, _GRACE_SECONDS)
            container.ended = self._cri.status(container.id)

    def exit_code(self, name: str) -> int | None:
        """Of a container that has ended; 137 is that of one that did not heed TERM."""
        ended = self._all[name].ended
        return ended.exit_code if ended else None

    # From a pod to CRI

    def _sandbox_config(self) -> bytes:
        security = message((1, self._namespaces()), (9, message((1, 0))))
        metadata = message((1, self._name), (2, self._uid), (3, "default"))
        return message(
            (1, metadata), (3, str(self.folder / "logs")), *pairs(6, {"app": self._name}), (8, message((2, security)))
        )

    def _namespaces(self) -> bytes:
        shared = self._spec.get("shareProcessNamespace")
        return message((1, _NODE), (2, _POD if shared else _CONTAINER), (3, _POD))

    def _container_config(self, container: _Container) -> bytes:
        spec = container.spec
        env = _environment(spec)
        mounts = [
            message((1, m["mountPath"]), (2, str(self.volume(m["name"]))), (3, int(m.get("readOnly", False))))
            for m in spec.get("volumeMounts") or []
        ]
        linux = message((1, _resources(spec)), (2, self._security(spec)))
        return message(
            (1, message((1, spec["name"]), (2, container.runs))),
            (2, message((1, spec["image"]))),
            *((3, _expand(word, env)) for word in spec.get("command") or []),
            *((4, _expand(word, env)) for word in spec.get("args") or []),
            *([(5, spec["workingDir"])] if "workingDir" in spec else []),
            *pairs(6, env),
            *((7, mount) for mount in mounts),
            (11, f"{spec['name']}-{container.runs}.log"),
            (15, linux),
        )

    def _security(self, spec: Object) -> bytes:
        own, of_pod = spec.get("securityContext") or {}, self._spec.get("securityContext") or {}

        def effective(name: str) -> Any:
            return own[name] if own.get(name) is not None else of_pod.get(name)

        uid, name = effective("runAsUser"), ""
        if uid is None:
            uid, name = self._cri.image_user(spec["image"])
            uid = 0 if uid is None and not name else uid
        if effective("runAsNonRoot") and (uid == 0 or name):
            raise PodFailed(f"container {spec['name']} has runAsNonRoot, and its image runs as {name or 'root'}")
        gid = effective("runAsGroup")
        capabilities = own.get("capabilities") or {}
        groups = [g for g in (of_pod.get("fsGroup"), *(of_pod.get("supplementalGroups") or [])) if g is not None]
        seccomp = (effective("seccompProfile") or {}).get("type", "Unconfined")
        return message(
            (
                1,
                message(
                    *((1, c) for c in capabilities.get("add") or []), *((2, c) for c in capabilities.get("drop") or [])
                ),
            ),
            (2, int(own.get("privileged", False))),
            (3, self._namespaces()),
            *([(5, wrapped(uid))] if uid is not None else []),
            *([(6, name)] if name else []),
            (7, int(own.get("readOnlyRootFilesystem", False))),
            *((8, group) for group in groups),
            (11, int(own.get("allowPrivilegeEscalation") is False)),
            *([(12, wrapped(gid))] if gid is not None else []),
            *((13, path) for path in _MASKED),
            *((14, path) for path in _READ_ONLY),
            (15, message((1, 0 if seccomp == "RuntimeDefault" else 1))),
        )


def _environment(spec: Object) -> dict[str, str]:
    env: dict[str, str] = {}
    for entry in spec.get("env") or []:
        env[entry["name"]] = _expand(entry.get("value", ""), env)
    return env


def _expand(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` is a variable's value, if there is one, and `$$` is `$`."""

    def value(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else env.get(found[2], found[0])

    return _EXPANSION.sub(value, text)


def _resources(spec: Object) -> bytes:
    limits, requests = ((spec.get("resources") or {}).get(key) or {} for key in ("limits", "requests"))
    fields: list[tuple[int, int]] = [(3, max(2, _cpu(requests.get("cpu", "0")) * 1024 // 1000))]
    if "cpu" in limits:
        fields += [(1, 100_000), (2, max(1000, _cpu(limits["cpu"]) * 100))]
    if "memory" in limits:
        fields.append((4, _memory(limits["memory"])))
    return message(*fields)


def _cpu(quantity: str) -> int:
    """In thousandths."""
    return int(quantity[:-1]) if quantity.endswith("m") else int(float(quantity) * 1000)


def _memory(quantity: str) -> int:
    return int(quantity[:-2]) * _UNITS[quantity[-2:]] if quantity[-2:] in _UNITS else int(quantity)


def _said(log: Path) -> str:
    """The lines of a log in CRI's format: time, stream, `F` or `P`, text."""
    lines = (line.split(" ", 3) for line in log.read_text(errors="replace").splitlines())
    return "".join(f"{line[3]}\n" if line[2] == "F" else line[3] for line in lines if len(line) == 4)
