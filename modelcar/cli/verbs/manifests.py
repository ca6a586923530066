"""`modelcar manifests`."""

from __future__ import annotations

from pathlib import Path

import click

from modelcar.cli.options import NamedPath, output_options
from modelcar.cli.output import Output
from modelcar.errors import UsageError
from modelcar.files import read_bounded

__all__ = ["command"]

_PARTS = ("definitions", "system", "controller", "shim", "webhook", "monitoring", "unwire")
_MODES = ("off", "audit", "warn", "enforce")


@click.command("manifests")
@click.option(
    "--namespace",
    metavar="NAME",
    default="modelcar-system",
    show_default=True,
    help="Of the webhook and the controller.",
)
@click.option("--shim-namespace", metavar="NAME", default="registry-shim", show_default=True, help="Of the shim.")
@click.option(
    "--image", metavar="REF", help="The image with modelcar[cluster,shim], in a registry that the shim does not gate."
)
@click.option(
    "--registry", "registries", metavar="HOST", multiple=True, help="A registry that the shim gates; may be repeated."
)
@click.option(
    "--trust",
    type=click.Choice(_MODES),
    default="off",
    show_default=True,
    help="What becomes of a pod whose model policies refuse.",
)
@click.option(
    "--policy",
    "policies",
    metavar="FILE",
    multiple=True,
    type=NamedPath(dir_okay=False),
    help="A policy for the webhook; may be repeated.",
)
@click.option("--peers/--no-peers", default=True, show_default=True, help="Shims share what they have among them.")
@click.option("--cert-manager", is_flag=True, help="Certificates of webhook and peers come from cert-manager.")
@click.option("--monitoring", is_flag=True, help="Add a ServiceMonitor, for the Prometheus operator.")
@click.option(
    "--only",
    metavar="PART",
    multiple=True,
    type=click.Choice(_PARTS),
    help=f"Only this part: {', '.join(_PARTS[:-1])} or {_PARTS[-1]}; may be repeated.",
)
@output_options
def command(
    namespace: str,
    shim_namespace: str,
    image: str | None,
    registries: tuple[str, ...],
    trust: str,
    policies: tuple[Path, ...],
    peers: bool,
    cert_manager: bool,
    monitoring: bool,
    only: tuple[str, ...],
    output: Output,
) -> None:
    """Print the objects that install everything.

    YAML, and with --json a List. The same options give the same bytes. `--only unwire` prints what takes the shim
    out of the way of nodes.

    \b
      modelcar manifests --image registry.internal/modelcar:1.0 | kubectl apply --server-side -f -
    """
    from modelcar.admission.settings import TrustMode
    from modelcar.cluster.manifests.bundle import bundle
    from modelcar.cluster.manifests.printing import stream
    from modelcar.cluster.manifests.settings import Installation

    usual = Installation()
    chosen = Installation(
        namespace=namespace,
        shim_namespace=shim_namespace,
        trust=TrustMode(trust),
        policies=_read(policies),
        peers=peers,
        cert_manager=cert_manager,
        monitoring=monitoring,
        image=image or usual.image,
        registries=registries or usual.registries,
    )
    objects = bundle(chosen, only)
    output.document({"apiVersion": "v1", "kind": "List", "items": objects})
    output.text(stream(objects))


def _read(files: tuple[Path, ...]) -> dict[str, str]:
    """By their names, which a ConfigMap has once. Raises `UsageError`, `StorageError`; also for what is no policy."""
    from modelcar.signing.policy.documents import MAX_BYTES
    from modelcar.signing.policy.policyset import load

    found: dict[str, str] = {}
    for path in files:
        if path.name in found:
            raise UsageError(f"two policies are called {path.name}", hint="rename one")
        try:
            found[path.name] = read_bounded(path, MAX_BYTES, "a policy").decode()
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not UTF-8 text") from None
    if files:
        load(files)
    return found
