"""`modelcar build`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click

from modelcar.cli.identities import trust_config_option
from modelcar.cli.images import existing_local_store, open_local_store
from modelcar.cli.loading import load_built
from modelcar.cli.options import (
    BASE,
    REFERENCE,
    max_layers_option,
    mount_from_option,
    network_options,
    output_options,
    packing_options,
    platform_option,
)
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.rates import limit_rate_option
from modelcar.cli.source import source_options
from modelcar.cli.trust import SignatoryChoice
from modelcar.cli.uploads import look_ahead, remembering
from modelcar.cli.watching import OutputWatcher
from modelcar.errors import UsageError
from modelcar.images.building import BuildRequest, Built, Signer, build_model, outline_model
from modelcar.images.sources import Wishes
from modelcar.oci import Platform, Reference
from modelcar.packaging.build import BuiltImage
from modelcar.packaging.plan import Packing
from modelcar.registry import ClientSettings
from modelcar.scanning.findings import Outcome
from modelcar.scanning.report import Report
from modelcar.store import LocalStore

_UNNAMED: Final = Reference.parse("localhost/unnamed:latest")  # which nothing but a dry run goes by


@click.command("build")
@click.argument("source")
@click.option("-t", "--tag", "ref", type=REFERENCE, help="Name of the image: registry/repo:tag.")
@click.option(
    "--base",
    type=BASE,
    default="holder",
    show_default=True,
    metavar="holder|scratch|IMAGE",
    help="What the image runs: our holder, nothing, or what IMAGE runs.",
)
@platform_option("Build for this platform only; may be repeated.  [default: linux/amd64, linux/arm64]", multiple=True)
@max_layers_option
@packing_options
@click.option("--content-digest", is_flag=True, help="Record every weight file's own sha256 too (one more hash).")
@click.option(
    "--adapter-of", type=REFERENCE, metavar="REF", help="Say of which image this is an adapter, by its digest."
)
@click.option("--with-base", is_flag=True, help="With --adapter-of: the image has the base's layers, too.")
@click.option("--adapter-name", metavar="NAME", help="Put the adapter's files into adapters/NAME/ of the model.")
@click.option("--no-scan", is_flag=True, help="Do not look for what does harm; see `modelcar scan`.")
@click.option("--push", is_flag=True, help="Push it when it is built.")
@mount_from_option
@click.option("--load", is_flag=True, help="Load it into a local docker or podman, as `modelcar load`.")
@click.option(
    "--sign-key", metavar="KEY", help="Sign it with this private key, as `modelcar sign --key`, before it is pushed."
)
@click.option("--sign-keyless", is_flag=True, help="Sign it as who you are, as `modelcar sign --keyless`.")
@trust_config_option
@source_options
@click.option("--no-cache", is_flag=True, help="Bring weights shard by shard, push each and keep none (needs --push).")
@limit_rate_option
@click.option("--dry-run", is_flag=True, help="Only show what would be built.")
@network_options
@output_options
def command(
    source: str,
    ref: Reference | None,
    base: str,
    platforms: tuple[Platform, ...],
    max_layers: int,
    packing: Packing,
    content_digest: bool,
    adapter_of: Reference | None,
    with_base: bool,
    adapter_name: str | None,
    no_scan: bool,
    push: bool,
    mount_from: tuple[str, ...],
    load: bool,
    sign_key: str | None,
    sign_keyless: bool,
    trust_config: Path | None,
    wishes: Wishes,
    no_cache: bool,
    limit_rate: float | None,
    dry_run: bool,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Package a checkpoint as an OCI image in the local store.

    SOURCE is a folder, a weights file, a snapshot in the Hub's cache, hf://org/name[@revision] or s3://bucket/folder.
    The weights stay where they are: the image refers to them, so keep them until it is pushed or exported. Those from
    elsewhere are brought into a cache; with --no-cache they go straight to the registry, and two shards are on the
    disk at most.

    \b
      modelcar build ./my-model -t ghcr.io/acme/my-model:v1
      modelcar build hf://org/name -t localhost:5000/name:v1 --push --sign-key modelcar.key
    """
    if ref is None and not dry_run:
        raise UsageError("an image needs a name", hint="add -t registry/repo:tag")
    if ref is None and with_base and adapter_name is None:
        raise UsageError("the adapter's folder is called as the image", hint="add -t registry/repo:tag")
    if load and no_cache:
        raise UsageError("--no-cache keeps no weights to load", hint="leave out --load or --no-cache")
    began = time.monotonic()
    choice = SignatoryChoice(key=sign_key, keyless=sign_keyless, trust_config=trust_config)
    request = BuildRequest(
        source=source,
        ref=ref or _UNNAMED,
        base=base,
        platforms=platforms,
        max_layers=max_layers,
        packing=packing,
        content_digests=content_digest,
        wishes=wishes,
        scan=not no_scan,
        push=push,
        keep=not no_cache,
        signer=None if dry_run else _signer(choice),
        adapter_of=adapter_of,
        with_base=with_base,
        adapter_name=adapter_name,
        mount_from=mount_from,
    )
    settings = remembering(settings, limit_rate)
    if dry_run:
        _show_outline(output, request, settings)
        return
    store = open_local_store()
    built = build_model(request, store, settings, OutputWatcher(output))
    _show(output, request, built, time.monotonic() - began, load_from=store if load else None)


def _show_outline(output: Output, request: BuildRequest, settings: ClientSettings) -> None:
    from modelcar.cli.layer_plans import show_plan

    outline = outline_model(request, existing_local_store(), settings, OutputWatcher(output))
    show_plan(output, outline, look_ahead(request.ref.name, outline) if request.push else None)


def _signer(choice: SignatoryChoice) -> Signer | None:
    if choice.key is not None:
        signatory = choice.signatory()  # before any long work: it may ask for a password
        return Signer(signatory=lambda: signatory)
    return Signer(signatory=choice.signatory, legacy=False) if choice.keyless else None


def _show(output: Output, request: BuildRequest, built: Built, seconds: float, *, load_from: LocalStore | None) -> None:
    image, report = built.image, built.report
    rows = [
        [layer.label, layer.kind or "base", human_size(layer.descriptor.size), layer.descriptor.digest.short]
        for layer in image.layers
    ]
    output.table(Table(columns=("layer", "kind", "size", "sha256"), rows=rows, right=frozenset({"size"})))
    platforms = ", ".join(str(p) for p in image.platforms)
    done = "built and pushed" if request.push else "built"
    output.line(f"{done} {built.name} for {platforms} in {seconds:.1f} s")
    if built.signatory is not None:
        output.line(f"signed by {built.signatory}")
    output.line(f"{image.index.digest}")
    if report is not None and report.outcome is not Outcome.CLEAN:
        _show_doubts(output, report, str(request.source))
    loaded = load_built(load_from, request.ref, output) if load_from is not None else None
    output.document(
        {
            **_to_dict(image, built.name),
            **({"sent": built.moved.sent, "reused": built.moved.reused} if built.moved is not None else {}),
            "verdict": str(report.outcome) if report is not None else None,
            "signer": str(built.signatory) if built.signatory is not None else None,
            "pushed": request.push,
            **({"loaded": loaded} if loaded is not None else {}),
            "seconds": round(seconds, 3),
        }
    )


def _show_doubts(output: Output, report: Report, source: str) -> None:
    first, *others = report.doubtful or (source,)
    more = f" and {len(others)} more" if others else ""
    output.aside(f"note: the scan cannot vouch for {first}{more}; `modelcar scan {source}` says why")


def _to_dict(image: BuiltImage, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "digest": str(image.index.digest),
        "modelpack": str(image.modelpack.digest),
        "platforms": [str(p) for p in image.platforms],
        "modelSize": image.model_size,
        "layers": [
            {
                "digest": str(layer.descriptor.digest),
                "size": layer.descriptor.size,
                "kind": layer.kind,
                "label": layer.label,
            }
            for layer in image.layers
        ],
    }
