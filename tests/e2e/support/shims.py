"""`registry-shim serve` in front of an upstream, as a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.support.commands import BIN, serving
from tests.e2e.support.confined import confined, plain_python
from tests.support.waiting import eventually

__all__ = ["Shim", "running_shim"]


@dataclass(frozen=True, kw_only=True)
class Shim:
    url: str
    root: Path
    stop: Callable[[], None]

    def has(self, digest: str) -> bool:
        """Whether a blob or manifest is whole in its cache."""
        return (self.root / "blobs/sha256" / digest.removeprefix("sha256:")).exists()


@contextmanager
def running_shim(
    folder: Path, upstream: str, *, certificate: tuple[Path, Path] | None = None, as_service: bool = False
) -> Iterator[Shim]:
    """A fresh one in front of `upstream`, as its configuration says: `as_service` is with a user of its own."""
    ready = folder / "ready"
    tls = {"certificate_file": str(certificate[0]), "key_file": str(certificate[1])} if certificate else None
    mirror = {"upstreams": [{"registry": upstream, "urls": [f"http://{upstream}"]}]}
    config = {"root": str(folder / "shim"), "listen": "127.0.0.1:0", "mirror": mirror, **({"tls": tls} if tls else {})}
    (folder / "config.yaml").write_text(json.dumps(config))  # which is YAML, too
    arguments = ("serve", "--config", folder / "config.yaml", "--ready-file", ready)
    command: Sequence[str | Path] = (BIN / "registry-shim", *arguments)
    environment: dict[str, str] = {}
    if as_service:
        python = plain_python("registry_shim.server")
        command, environment = confined(folder, python.path, "-m", "registry_shim", *arguments), python.environment
    with ExitStack() as stack:
        process = stack.enter_context(serving(folder / "log", *command, environment=environment))
        eventually(lambda: ready.exists() or process.poll() is not None, "the shim starts")
        assert process.poll() is None, (folder / "log").read_text()
        url = f"{'https' if tls else 'http'}://{ready.read_text().strip()}"
        yield Shim(url=url, root=folder / "shim", stop=stack.close)
