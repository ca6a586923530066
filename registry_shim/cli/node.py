"""`registry-shim node`."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType

import click

from modelcar.cli.options import NAMED_PATH, kubeconfig_option, log_option, log_settings, verbose_option
from modelcar.errors import UsageError
from registry_shim.cli.asking import neighbour_option

__all__ = ["command"]

_ANSWER_SECONDS = 30.0


@click.command("node")
@neighbour_option
@click.option("--node-name", metavar="NAME", envvar="NODE_NAME", help="This node's name; also $NODE_NAME.")
@click.option("--lists", metavar="DIR", type=NAMED_PATH, help="Its `precache.folder`, if it has one.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    default=2.0,
    show_default=True,
    help="Between two looks.",
)
@kubeconfig_option
@log_option("json")
@verbose_option
def command(
    root: Path,
    node_name: str | None,
    lists: Path | None,
    interval: float,
    kubeconfig: Path | None,
    log_format: str,
    verbose: bool,
) -> None:
    """Make the shim beside it a part of a Kubernetes cluster.

    What ModelCaches want on this node is pre-cached, and how far it is reported; the node gets labels for the models
    that it has, and pods that wait for one get events. Until SIGTERM or Ctrl-C.

    \b
      registry-shim node --root /var/lib/registry-shim --node-name "$(hostname)"
    """
    from modelcar.cluster.access import find_access
    from modelcar.cluster.api import ApiServer
    from modelcar.serving import logs
    from registry_shim.cluster.agent import Agent, AgentSettings
    from registry_shim.operations.admin.client import AdminClient

    if not node_name:
        raise UsageError("--node-name is missing: as which node?", hint="in a pod: env from fieldRef spec.nodeName")
    cluster = ApiServer(find_access(kubeconfig))
    logs.configure("registry-shim node", log_settings(log_format, verbose=verbose))
    settings = AgentSettings(node=node_name, root=root, lists=lists, interval=interval)
    agent = Agent(cluster, AdminClient(root, timeout=_ANSWER_SECONDS), settings)

    def stop(_number: int, _frame: FrameType | None) -> None:
        agent.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    agent.start()
    try:
        agent.run()
    finally:
        agent.close()
        cluster.close()
