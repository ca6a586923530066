"""A real Kubernetes API server (kube-apiserver, its controllers and etcd), compiled from published Go modules.

There are no kubelets: nodes are objects that a test writes, and pods never run. `.cache/go` keeps the programs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.golang import CACHE, go_command

__all__ = ["VERSION", "Kubernetes", "kubernetes", "programs"]

_SOURCES: Final = Path(__file__).parents[1] / "cluster" / "programs"
_NAMES: Final = ("etcd", "apiserver", "controllers", "kubectl")
_START_SECONDS: Final = 120
VERSION: Final = "1.36.3"  # as in tests/cluster/programs/go.mod


def programs() -> Mapping[str, Path]:
    """The compiled programs by name. The first time takes some minutes and the network.

    Raises `CalledProcessError` if they cannot be built.
    """
    files = sorted(path for path in _SOURCES.rglob("*") if path.is_file())
    state = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
    folder = CACHE / "bin" / f"kubernetes-{state[:16]}"
    if not folder.exists():
        aside = CACHE / f"kubernetes.{os.getpid()}"
        environment = {
            **os.environ,
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
            "GOCACHE": str(CACHE / "build"),
            "GOMODCACHE": str(CACHE / "modules"),
            "GOFLAGS": "-modcacherw -mod=readonly",
        }
        aside.mkdir(parents=True)
        packages = [f"./{name}" for name in _NAMES]
        said = {"gitVersion": f"v{VERSION}", "gitMajor": VERSION.split(".")[0], "gitMinor": VERSION.split(".")[1]}
        flags = " ".join(
            ["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in said.items())]
        )
        options = ["-trimpath", "-ldflags", flags, "-o", str(aside)]
        go = go_command(at_least=(1, 26))
        subprocess.run([go, "build", *options, *packages], cwd=_SOURCES, env=environment, check=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(folder)
    return {name: folder / name for name in _NAMES}


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """A cluster that runs. `kubeconfig` is an administrator's."""

    url: str
    token: str
    ca_file: Path
    kubeconfig: Path
    folder: Path
    kubectl_program: Path

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, check: bool = True) -> str:
        """What `kubectl` printed. `check=False` returns what it complained of, too."""
        done = subprocess.run(
            [self.kubectl_program, "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0 or not check, f"kubectl {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get … -o json`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, *documents: Mapping[str, Any]) -> str:
        """`kubectl apply` of these documents."""
        return self.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(d) for d in documents))

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, token: str | None = None
    ) -> tuple[int, Any, list[str]]:
        """Status, document and warnings of one request, as an administrator or with another token.

        What is patched is merged.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {token or self.token}", "Content-Type": kind}
        with urllib3.PoolManager(ca_certs=str(self.ca_file), retries=False, timeout=30) as pool:
            answer = pool.request(method, self.url + path, json=body, headers=headers)
        warnings = re.findall(r'\b299 - "((?:[^"\\]|\\.)*)"', answer.headers.get("Warning", ""))
        return answer.status, answer.json(), [re.sub(r"\\(.)", r"\1", warning) for warning in warnings]

    def token_for(self, namespace: str, service_account: str, *bound_to: str) -> str:
        """A token of a service account. `bound_to` is a kind and a name, as that of a pod's own token."""
        options = ("--bound-object-kind", bound_to[0], "--bound-object-name", bound_to[1]) if bound_to else ()
        return self.kubectl("-n", namespace, "create", "token", service_account, *options).strip()

    def config_for(self, namespace: str, service_account: str, *bound_to: str) -> Path:
        """A kubeconfig with such a token: what a program in the cluster may do."""
        token = self.token_for(namespace, service_account, *bound_to)
        file = self.folder / f"{'.'.join((namespace, service_account, *bound_to))}.kubeconfig"
        _write_kubeconfig(file, self.url, self.ca_file, token)
        return file


@contextmanager
def kubernetes(folder: Path) -> Iterator[Kubernetes]:
    """A cluster of its own in `folder`, on loopback; gone afterwards."""
    built = programs()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        start = _Processes(folder, stack)
        etcd, peer, port = _free_port(), _free_port(), _free_port()
        etcd_url = f"http://127.0.0.1:{etcd}"
        start(
            built["etcd"],
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )
        token, keys = secrets.token_urlsafe(24), folder / "keys"
        key, tokens = _service_account_key(folder), folder / "tokens.csv"
        tokens.write_text(f"{token},admin,admin,system:masters\n")
        tokens.chmod(0o600)
        start(
            built["apiserver"],
            f"--etcd-servers={etcd_url}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--cert-dir={keys}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=none",
        )
        url, ca_file = f"https://127.0.0.1:{port}", keys / "apiserver.crt"
        start.until(lambda: ca_file.exists() and _is_ready(url, token, ca_file), "the API server is ready")
        kubeconfig = folder / "admin.kubeconfig"
        _write_kubeconfig(kubeconfig, url, ca_file, token)
        start(
            built["controllers"],
            f"--kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={ca_file}",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            "--secure-port=0",
            "--controllers=*,-node-lifecycle-controller",
        )
        cluster = Kubernetes(
            url=url,
            token=token,
            ca_file=ca_file,
            kubeconfig=kubeconfig,
            folder=folder,
            kubectl_program=built["kubectl"],
        )
        start.until(lambda: "default" in cluster.kubectl("get", "serviceaccounts", check=False), "controllers run")
        yield cluster


class _Processes:
    """What was started, ended with the block; their output lies in the folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._running: list[subprocess.Popen[bytes]] = []

    def __call__(self, program: Path, *arguments: str) -> None:
        log = self._stack.enter_context((self._folder / f"{program.name}.log").open("wb"))
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, cwd=self._folder)
        self._running.append(process)
        self._stack.callback(_end, process)

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not done():
            for process in self._running:
                assert process.poll() is None, f"{process.args!r} ended; its log is in {self._folder}"
            assert time.monotonic() < deadline, f"{what}: not within {_START_SECONDS} s"
            time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _service_account_key(folder: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file = folder / "service-accounts.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    file.chmod(0o600)
    return file


def _is_ready(url: str, token: str, ca_file: Path) -> bool:
    with urllib3.PoolManager(ca_certs=str(ca_file), retries=False, timeout=5) as pool:
        try:
            return pool.request("GET", f"{url}/readyz", headers={"Authorization": f"Bearer {token}"}).status == 200
        except urllib3.exceptions.HTTPError:
            return False


def _write_kubeconfig(file: Path, url: str, ca_file: Path, token: str) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(ca_file)}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    file.write_text(json.dumps(document))
    file.chmod(0o600)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
