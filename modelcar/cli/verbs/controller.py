"""`modelcar controller`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from modelcar.cli.options import kubeconfig_option, log_option, log_settings, output_options
from modelcar.cli.output import Output
from modelcar.errors import ModelcarError

__all__ = ["command"]


@click.command("controller")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="0.0.0.0:8081",
    show_default=True,
    help="Where /healthz is; port 0 for nowhere.",
)
@kubeconfig_option
@log_option("json")
@output_options
def command(listen: str, kubeconfig: Path | None, log_format: str, output: Output) -> None:
    """Keep models where ModelCaches want them.

    Until SIGTERM or Ctrl-C. One replica is enough: nodes go on with what they were told while it is away.

    \b
      modelcar controller --kubeconfig ~/.kube/config
    """
    if find_spec("kopf") is None:
        raise ModelcarError("the controller needs kopf", hint="pip install 'modelcar[cluster]'")
    import asyncio

    from modelcar.cluster.access import find_access
    from modelcar.cluster.api import ApiServer
    from modelcar.cluster.controller.operator import run
    from modelcar.serving import logs
    from modelcar.serving.address import Address

    address = Address.parse(listen)
    access = find_access(kubeconfig)
    logs.configure("modelcar controller", log_settings(log_format, verbose=output.verbose))
    cluster = ApiServer(access)
    health = f"http://{address}/healthz" if address.port else None
    output.document({"cluster": access.server, "health": health})
    try:
        asyncio.run(run(cluster, access, liveness=health))
    finally:
        cluster.close()
