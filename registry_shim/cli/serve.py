"""`registry-shim serve`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelcar.cli.output import Output, printable
from modelcar.errors import ModelcarError, StorageError

if TYPE_CHECKING:
    from registry_shim.server import Address

__all__ = ["command"]


@click.command()
@click.option("--root", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Where its content lies.")
@click.option("--listen", default="127.0.0.1:5000", show_default=True, metavar="HOST:PORT", help="Port 0 picks one.")
@click.option("--writable", is_flag=True, help="Take pushes, and create DIR.")
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="HOST[=URL,…]",
    help="Mirror this registry, reached at URL; of several the first that has it is asked. Repeatable.",
)
@click.option("--no-delete", is_flag=True, help="Refuse to delete tags, manifests and blobs.")
@click.option("--insecure", is_flag=True, help="Allow an address that other machines reach: no TLS, no password.")
@click.option("--ready-file", metavar="FILE", type=click.Path(path_type=Path), help="Write HOST:PORT there when ready.")
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as a JSON document.")
def command(
    root: Path,
    listen: str,
    writable: bool,
    upstreams: tuple[str, ...],
    no_delete: bool,
    insecure: bool,
    ready_file: Path | None,
    as_json: bool,
) -> None:
    """Serve a registry from DIR until SIGTERM or Ctrl-C."""
    _require_aiohttp()
    _log_to_stderr()
    from registry_shim.mirror.settings import MirrorSettings, UpstreamSettings
    from registry_shim.operations.settings import NodeSettings
    from registry_shim.server import Address, run

    output = Output(as_json=as_json, quiet=False)

    def ready(address: Address) -> None:
        url = f"http://{address}"
        if ready_file is not None:
            _write_ready_file(ready_file, address)
        output.document({"address": str(address), "url": url})
        output.line(f"listening on {url}")

    mirror = MirrorSettings(upstreams=tuple(UpstreamSettings.parse(text) for text in upstreams))
    settings = NodeSettings(writable=writable, deletable=not no_delete, mirror=mirror)
    run(root, Address.parse(listen), settings, insecure=insecure, ready=ready)


def _write_ready_file(path: Path, address: Address) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(f"{address}\n")
        temporary.replace(path)
    except OSError as e:
        raise StorageError(f"cannot write {path}: {e.strerror}") from None


class _OneLine(logging.Formatter):
    """Log records for people: never a traceback, and nothing that moves the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        line = f"registry-shim: {record.getMessage()}" + (f": {type(error).__name__}: {error}" if error else "")
        return printable(" ".join(line.split()))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def _require_aiohttp() -> None:
    from importlib.util import find_spec

    if find_spec("aiohttp") is None:
        raise ModelcarError("registry-shim needs aiohttp", hint="pip install 'modelcar[shim]'")
