"""`registry-shim serve`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelcar.cli.options import NAMED_PATH, verbose_option
from modelcar.cli.output import Output, ready_file
from modelcar.errors import ModelcarError, UsageError

if TYPE_CHECKING:
    from modelcar.serving.address import Address
    from registry_shim.operations.settings import NodeSettings

__all__ = ["command"]


@click.command()
@click.option("--root", metavar="DIR", type=NAMED_PATH, help="Where its content lies; or `root` in the settings.")
@click.option("--config", metavar="FILE", type=NAMED_PATH, help="Settings, in YAML; options go before them.")
@click.option("--listen", metavar="HOST:PORT", help="Port 0 picks one.  [default: 127.0.0.1:5000]")
@click.option("--writable", is_flag=True, help="Take pushes, and create DIR.")
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="HOST[=URL,…]",
    help="Mirror this registry, reached at URL; of several the first that has it is asked; may be repeated.",
)
@click.option("--peers-listen", metavar="HOST:PORT", help="Share chunks with peers, who reach this node there.")
@click.option(
    "--peer", "peers", multiple=True, metavar="HOST:PORT[=ZONE]", help="A node of the same kind; may be repeated."
)
@click.option("--no-delete", is_flag=True, help="Refuse to delete tags, manifests and blobs.")
@click.option("--insecure", is_flag=True, help="Allow an address that other machines reach: no TLS, no password.")
@click.option(
    "--ready-file", "ready_path", metavar="FILE", type=NAMED_PATH, help="Write HOST:PORT there while it is ready."
)
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as a JSON document.")
@verbose_option
def command(config: Path | None, ready_path: Path | None, as_json: bool, **options: Any) -> None:
    """Serve a registry from DIR until SIGTERM or Ctrl-C.

    With --upstream it is the shim of a node: it brings, checks and keeps what is pulled through it. With --writable it
    takes pushes, too. With neither it serves what DIR has.

    \b
      registry-shim serve --root ./registry --writable
      registry-shim serve --root /var/lib/registry-shim --upstream ghcr.io --upstream docker.io
      registry-shim serve --config /etc/registry-shim/config.yaml
    """
    _require_aiohttp()
    from modelcar.serving import logs
    from registry_shim.server import run

    overrides = _overrides(config, **options)
    settings = _settings(config, overrides)
    logs.configure("registry-shim", settings.log)
    output = Output(as_json=as_json, quiet=False)

    with ready_file(ready_path) as say:

        def ready(address: Address) -> None:
            url = f"{'https' if settings.tls else 'http'}://{address}"
            say(str(address))
            output.document({"address": str(address), "url": url})
            output.line(f"listening on {url}")

        run(settings, ready=ready, config=config, overrides=overrides)


def _settings(config: Path | None, overrides: Mapping[str, Any]) -> NodeSettings:
    """What the file says, if there is one, and what the options say instead."""
    from modelcar.serving.config.reading import load_file
    from registry_shim.operations.settings import NodeSettings

    settings = (load_file(config, NodeSettings) if config is not None else NodeSettings()).overridden(overrides)
    if settings.root is None:
        raise UsageError("--root is missing: the folder with the node's content", hint="or `root` in the --config file")
    return settings


def _overrides(
    config: Path | None,
    *,
    root: Path | None,
    listen: str | None,
    writable: bool,
    upstreams: tuple[str, ...],
    peers_listen: str | None,
    peers: tuple[str, ...],
    no_delete: bool,
    insecure: bool,
    verbose: bool,
) -> dict[str, Any]:
    """The settings that the options give."""
    from modelcar.serving.settings import Level
    from registry_shim.mirror.settings import UpstreamSettings
    from registry_shim.peers.settings import PeerSettings

    given: dict[str, Any] = {}
    if root is not None:
        given["root"] = root
    if listen is not None:
        given["listen"] = listen
    if upstreams:
        given["mirror.upstreams"] = tuple(UpstreamSettings.parse(text) for text in upstreams)
    if peers_listen is not None and config is not None and not peers:
        given["peers.listen"] = peers_listen  # who they are stands in the file, which is the same on all nodes
    elif peers_listen is not None:
        given["peers"] = PeerSettings(listen=peers_listen, members=peers or (peers_listen,), insecure=insecure)
    elif peers:
        raise UsageError("--peer goes with --peers-listen, where the peers reach this node")
    return given | {
        name: value
        for name, value, is_given in (
            ("writable", True, writable),
            ("deletable", False, no_delete),
            ("insecure", True, insecure),
            ("log.level", Level.DEBUG, verbose),
        )
        if is_given
    }


def _require_aiohttp() -> None:
    from importlib.util import find_spec

    if find_spec("aiohttp") is None:
        raise ModelcarError("registry-shim needs aiohttp", hint="pip install 'modelcar[shim]'")
