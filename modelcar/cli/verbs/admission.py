"""`modelcar admission serve`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelcar.cli.options import NAMED_PATH, kubeconfig_option, output_options
from modelcar.cli.output import Output, ready_file
from modelcar.errors import ModelcarError, UsageError

if TYPE_CHECKING:
    from modelcar.admission.server.service import Service
    from modelcar.admission.server.settings import WebhookSettings
    from modelcar.cluster.api import ApiServer
    from modelcar.cluster.certificates import ClusterVault

__all__ = ["command"]


@click.group("admission")
def command() -> None:
    """The webhook that gives pods their models."""


@command.command()
@click.option("--config", metavar="FILE", type=NAMED_PATH, help="Settings, in YAML; read again when they change.")
@click.option("--listen", metavar="HOST:PORT", help="Where the API server asks.  [default: 0.0.0.0:8443]")
@click.option("--operations-listen", metavar="HOST:PORT", help="Where health and metrics are.  [default: 0.0.0.0:8080]")
@click.option("--tls-cert", metavar="FILE", type=NAMED_PATH, help="A certificate, where it should not make its own.")
@click.option("--tls-key", metavar="FILE", type=NAMED_PATH, help="Its key.")
@kubeconfig_option
@click.option(
    "--ready-file",
    "ready_path",
    metavar="FILE",
    type=NAMED_PATH,
    help="Write both HOST:PORT there while it is ready, a line each.",
)
@output_options
def serve(
    config: Path | None,
    listen: str | None,
    operations_listen: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    kubeconfig: Path | None,
    ready_path: Path | None,
    output: Output,
) -> None:
    """Answer a cluster's API server, until SIGTERM or Ctrl-C.

    In a cluster it makes, renews and publishes its own certificate; `modelcar manifests` has all that it needs.

    \b
      modelcar admission serve --config /etc/modelcar/webhook.yaml
      modelcar admission serve --listen 127.0.0.1:8443 --tls-cert tls.crt --tls-key tls.key
    """
    _require_server()
    from modelcar.admission.resolve import Images
    from modelcar.admission.server.service import PROGRAM, run
    from modelcar.admission.server.settings import WebhookSettings
    from modelcar.cluster.secrets import ClusterSecrets
    from modelcar.serving import logs
    from modelcar.serving.config.reading import load_file

    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together")
    options = _Options(
        listen=listen,
        operations_listen=operations_listen,
        tls_cert=tls_cert,
        tls_key=tls_key,
        verbose=output.verbose,
    )
    settings = options.over(load_file(config, WebhookSettings) if config is not None else WebhookSettings())
    logs.configure(PROGRAM, settings.server.log)

    def ready(service: Service) -> None:
        addresses = {"address": str(service.address), "operations": str(service.operations)}
        say(*addresses.values())
        output.document(addresses)
        if not output.quiet:
            output.line(f"listening on https://{service.address}, health and metrics on http://{service.operations}")

    with ExitStack() as ending:
        say = ending.enter_context(ready_file(ready_path))
        cluster = _cluster(settings, kubeconfig)
        if cluster is not None:
            ending.callback(cluster.close)
            options = replace(options, namespace=cluster.access.namespace)
            settings = options.over(settings)
        secrets = ClusterSecrets(cluster) if cluster is not None else None
        images = ending.enter_context(Images(settings.trust, secrets=secrets, may_ask=settings.server.may_ask))
        images.open()
        vault = _vault(settings, cluster)
        run(
            settings,
            images,
            vault=vault,
            config=config,
            overridden=options.over,
            retrusted=images.change,
            ready=ready,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What goes before a file's settings, also when it is read again."""

    listen: str | None
    operations_listen: str | None
    tls_cert: Path | None
    tls_key: Path | None
    verbose: bool
    namespace: str | None = None

    def over(self, settings: WebhookSettings) -> WebhookSettings:
        from modelcar.serving.settings import Level, Tls

        server = settings.server
        if self.tls_cert is not None and self.tls_key is not None:
            server = replace(server, tls=Tls(certificate_file=self.tls_cert, key_file=self.tls_key))
        if self.verbose:
            server = replace(server, log=replace(server.log, level=Level.DEBUG))
        own = server.certificates
        server = replace(
            server,
            listen=self.listen or server.listen,
            operations_listen=self.operations_listen or server.operations_listen,
            certificates=replace(own, namespace=own.namespace or self.namespace),
        )
        return replace(settings, server=server)


def _cluster(settings: WebhookSettings, kubeconfig: Path | None) -> ApiServer | None:
    """The cluster. With a certificate from files there need be none: images are then asked for without pull secrets."""
    from modelcar.cluster.access import find_access
    from modelcar.cluster.api import ApiServer

    try:
        return ApiServer(find_access(kubeconfig))
    except UsageError:
        if kubeconfig is not None or settings.server.tls is None:
            raise
        return None


def _vault(settings: WebhookSettings, cluster: ApiServer | None) -> ClusterVault | None:
    from modelcar.cluster.certificates import ClusterVault

    own = settings.server.certificates
    if cluster is None or own.namespace is None:
        return None
    return ClusterVault(cluster, namespace=own.namespace, secret=own.secret, configuration=own.configuration)


def _require_server() -> None:
    from importlib.util import find_spec

    if find_spec("aiohttp") is None or find_spec("prometheus_client") is None:
        raise ModelcarError("the webhook needs aiohttp and prometheus-client", hint="pip install 'modelcar[cluster]'")
