"""`modelcar build`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from modelcar.checkpoint import open_checkpoint
from modelcar.cli.identities import trust_config_option
from modelcar.cli.options import (
    PLATFORM,
    REFERENCE,
    local_name,
    network_options,
    open_local_store,
    output_options,
)
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.places import publish
from modelcar.cli.progress import progress
from modelcar.cli.trust import SignatoryChoice
from modelcar.cli.verbs.plan import show_plan
from modelcar.errors import UsageError
from modelcar.oci import Platform, Reference
from modelcar.packaging.base import DEFAULT_PLATFORMS, Base, foreign_bases, holder_base, scratch_base
from modelcar.packaging.build import BuiltImage, build_image
from modelcar.packaging.fetch import bring_image
from modelcar.packaging.locations import parse_location
from modelcar.packaging.plan import DEFAULT_MAX_LAYERS, plan_layers
from modelcar.registry import ClientSettings, Registry
from modelcar.signing.places import LayoutPlace
from modelcar.signing.sign import BOTH, Format, sign_image
from modelcar.signing.signatory import Signatory
from modelcar.store import LocalStore


@click.command("build")
@click.argument("source")
@click.option("-t", "--tag", "ref", type=REFERENCE, help="Name of the image: registry/repo:tag.")
@click.option("--base", default="holder", show_default=True, metavar="holder|scratch|IMAGE", help="What runs in it.")
@click.option("--platform", "platforms", type=PLATFORM, multiple=True, help="For these only; may be repeated.")
@click.option("--max-layers", type=click.IntRange(4, 127), default=DEFAULT_MAX_LAYERS, show_default=True)
@click.option("--content-digest", is_flag=True, help="Record every weight file's own sha256 too (one more hash).")
@click.option("--push", is_flag=True, help="Push it when it is built.")
@click.option(
    "--sign-key", metavar="KEY", help="Sign it with this private key, as `modelcar sign --key`, before it is pushed."
)
@click.option("--sign-keyless", is_flag=True, help="Sign it as who you are, as `modelcar sign --keyless`.")
@trust_config_option
@click.option("--dry-run", is_flag=True, help="Only show what would be built.")
@network_options
@output_options
def command(
    source: str,
    ref: Reference | None,
    base: str,
    platforms: tuple[Platform, ...],
    max_layers: int,
    content_digest: bool,
    push: bool,
    sign_key: str | None,
    sign_keyless: bool,
    trust_config: Path | None,
    dry_run: bool,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Package a checkpoint as an OCI image in the local store.

    SOURCE is a folder, a weights file, a snapshot in the Hub's cache, or hf://org/name[@revision]. The weights stay
    where they are: the image refers to them, so keep them until it is pushed or exported.

    \b
      modelcar build ./my-model -t ghcr.io/acme/my-model:v1
      modelcar build hf://org/name -t localhost:5000/name:v1 --push --sign-key modelcar.key
    """
    if ref is None and not dry_run:
        raise UsageError("an image needs a name", hint="add -t registry/repo:tag")
    began = time.monotonic()
    checkpoint = open_checkpoint(source)
    store = open_local_store()
    if dry_run:
        show_plan(output, checkpoint, plan_layers(checkpoint, max_layers=max_layers), store)
        return
    assert ref is not None  # noqa: S101  # checked above; this is for the type checker
    name = local_name(ref)
    who = SignatoryChoice(key=sign_key, keyless=sign_keyless, trust_config=trust_config)
    signatory = who.signatory() if sign_key is not None else None
    with ExitStack() as stack:
        stack.enter_context(store.session())
        bases = _bases(base, platforms, store, settings, output)
        with progress(output, "hash") as report:
            image = build_image(
                checkpoint, store, bases, max_layers=max_layers, content_digests=content_digest, progress=report
            )
        store.names.put(name, image.index)
        store.names.put(f"{name}-modelpack", image.modelpack)
        if sign_keyless:
            signatory = who.signatory()  # only now: its certificate is valid for minutes, and hashing may take longer
        if signatory is not None:
            formats = (Format.BUNDLE,) if sign_keyless else BOTH
            place = LayoutPlace(store.content, ref.name)
            sign_image(place, image.index, signatory, formats=formats, created=datetime.now(UTC))
        _show(output, image, name, time.monotonic() - began, signatory)
        if push:
            _push(store, image, ref, settings, output)


def _bases(
    base: str, platforms: tuple[Platform, ...], store: LocalStore, settings: ClientSettings, output: Output
) -> list[Base]:
    if base == "holder":
        return [holder_base(p) for p in platforms or DEFAULT_PLATFORMS]
    if base == "scratch":
        return [scratch_base(p) for p in platforms or DEFAULT_PLATFORMS]
    with progress(output, "base") as report, Registry(settings, report) as registry:
        wanted = platforms or DEFAULT_PLATFORMS
        root = bring_image(parse_location(base), store, registry, wanted)
    return foreign_bases(store.content, root, platforms or None, base)


def _push(store: LocalStore, image: BuiltImage, ref: Reference, settings: ClientSettings, output: Output) -> None:
    with progress(output, "push") as report, Registry(settings, report) as registry:
        twin = ref.with_tag(f"{ref.tag}-modelpack")
        publish(store.content, {ref: image.index, twin: image.modelpack}, registry, output)
    output.line(f"pushed {ref.name}:{ref.tag}")


def _show(output: Output, image: BuiltImage, name: str, seconds: float, signatory: Signatory | None) -> None:
    output.document(
        {
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
            "signer": str(signatory) if signatory is not None else None,
            "seconds": round(seconds, 3),
        }
    )
    rows = [
        [layer.label, layer.kind or "base", human_size(layer.descriptor.size), layer.descriptor.digest.short]
        for layer in image.layers
    ]
    output.table(Table(("layer", "kind", "size", "sha256"), rows, right=frozenset({"size"})))
    platforms = " and ".join(str(p) for p in image.platforms)
    output.line(f"built {name} for {platforms} in {seconds:.1f} s")
    if signatory is not None:
        output.line(f"signed by {signatory}")
    output.line(f"{image.index.digest}")
