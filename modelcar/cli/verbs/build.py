"""`modelcar build`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelcar.checkpoint import Checkpoint
from modelcar.cli.identities import trust_config_option
from modelcar.cli.images import open_local_store
from modelcar.cli.options import (
    BASE,
    OWN_BASES,
    REFERENCE,
    max_layers_option,
    network_options,
    output_options,
    packing_options,
    platform_option,
)
from modelcar.cli.output import Output, Table, human_size
from modelcar.cli.places import open_place
from modelcar.cli.progress import progress
from modelcar.cli.rates import limit_rate_option
from modelcar.cli.source import Wishes, open_source, source_options
from modelcar.cli.trust import SignatoryChoice
from modelcar.cli.uploads import moved_document, remembering
from modelcar.cli.verbs.plan import show_plan
from modelcar.errors import UsageError
from modelcar.images.adapters import base_annotations
from modelcar.images.gate import ArrivalGate, ScanGate, Upload, gated, remember
from modelcar.images.local import new_name
from modelcar.images.operations import choose_bases
from modelcar.images.passing import RepositoryTarget, spool_for
from modelcar.images.publish import publish_image
from modelcar.images.scan_folders import report_memo, spool_folder
from modelcar.oci import Platform, Reference
from modelcar.packaging.base import Base
from modelcar.packaging.build import BuiltImage, build_image
from modelcar.packaging.passing import Passing
from modelcar.packaging.plan import Packing, PlannedLayer, plan_layers
from modelcar.packaging.streams import Begin
from modelcar.registry import ClientSettings, Registry
from modelcar.registry.uploader import Uploading
from modelcar.scanning.findings import Outcome
from modelcar.scanning.report import Report
from modelcar.scanning.settings import ScanSettings
from modelcar.signing.places import LayoutPlace
from modelcar.store import LocalStore

if TYPE_CHECKING:
    from modelcar.signing.signatory import Signatory


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
@click.option("--no-scan", is_flag=True, help="Do not look for what does harm; see `modelcar scan`.")
@click.option("--push", is_flag=True, help="Push it when it is built.")
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
    no_scan: bool,
    push: bool,
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
    if dry_run:
        checkpoint = open_source(source, output, wishes)
        show_plan(output, checkpoint, plan_layers(checkpoint, max_layers=max_layers, packing=packing))
        return
    if ref is None:
        raise UsageError("an image needs a name", hint="add -t registry/repo:tag")
    if no_cache and not push:
        raise UsageError("--no-cache keeps no weights here", hint="add --push, so that they are somewhere")
    began = time.monotonic()
    settings = remembering(settings, limit_rate)
    name = new_name(ref)
    signing = _Signing(SignatoryChoice(key=sign_key, keyless=sign_keyless, trust_config=trust_config))
    wanted = tuple({str(platform): platform for platform in platforms}.values())
    store = open_local_store()
    own_bases = _bases(base, wanted, store, settings, output) if base in OWN_BASES else []  # costs nothing, may fail
    with ExitStack() as stack:
        spool = stack.enter_context(spool_for(store.home / "spool", source)) if no_cache else None
        checkpoint = open_source(source, output, wishes, spool=spool)
        stack.enter_context(store.session())
        bases = own_bases or _bases(base, wanted, store, settings, output)
        build = partial(
            build_image,
            checkpoint,
            store,
            bases,
            max_layers=max_layers,
            packing=packing,
            content_digests=content_digest,
            annotations=_adapter_of(adapter_of, checkpoint, settings),
        )
        moved: dict[str, int] = {}
        with _scanning(checkpoint, source, no_scan=no_scan) as scan:
            if push:
                image, moved = _build_and_push(build, store, ref, signing, scan, settings, output, spool)
            else:
                image = _build(build, store, ref, signing, scan, output)
        scan.remember(image, name, base)
    seconds = time.monotonic() - began
    _show(output, image, name, seconds, signing.signatory, pushed=push)
    scan.show(output, source)
    signer = str(signing.signatory) if signing.signatory is not None else None
    verdict = {"verdict": scan.verdict, "signer": signer, "pushed": push, "seconds": round(seconds, 3)}
    output.document({**_to_dict(image, name), **moved, **verdict})


def _adapter_of(base: Reference | None, checkpoint: Checkpoint, settings: ClientSettings) -> dict[str, str]:
    if base is None:
        return {}
    with ExitStack() as stack:
        _, root = open_place(base, remote=False, settings=settings, stack=stack)
    return base_annotations(checkpoint, str(base), root)


class _Signing:
    """Signs what was built, if that was asked for."""

    def __init__(self, choice: SignatoryChoice) -> None:
        self._choice = choice
        # A key is opened before any long work: it may ask for a password. A certificate is had when it is needed: it is
        # valid for minutes, and hashing may take longer.
        self.signatory: Signatory | None = choice.signatory() if choice.key is not None else None

    def finish(self, image: BuiltImage, store: LocalStore, ref: Reference) -> None:
        """Name the image in the store and sign it there."""
        store.names.put(new_name(ref), image.index)
        if self._choice.keyless:
            self.signatory = self._choice.signatory()
        if self.signatory is not None:
            from modelcar.signing.sign import BOTH, Format, sign_image

            formats = (Format.BUNDLE,) if self._choice.keyless else BOTH
            place = LayoutPlace(store.content, ref.name)
            sign_image(place, image.index, self.signatory, formats=formats, created=datetime.now(UTC))


class _Scan:
    """The scan beside the build, if one was asked for."""

    def __init__(self, gate: ScanGate | ArrivalGate | None, settings: ScanSettings) -> None:
        self._gate = gate
        self._settings = settings
        self._report: Report | None = None

    @property
    def verdict(self) -> str | None:
        return str(self._report.outcome) if self._report is not None else None

    def hold(self, upload: Upload) -> Upload:
        return self._gate.hold(upload) if self._gate is not None else upload

    def look(self, layer: PlannedLayer) -> None:
        if self._gate is not None:
            self._gate.look(layer)

    def stream(self, uploading: Uploading) -> Begin | None:
        """Layers leave while they are hashed, once the scan has nothing against it; `None` if it comes after that."""
        if isinstance(self._gate, ArrivalGate):
            return None
        ready = self._gate.ready if self._gate is not None else (lambda _: True)
        return lambda layer: uploading.begin(layer.label, layer.tar.content, ready)

    @property
    def watch(self) -> Upload | None:
        return self._gate.watch if self._gate is not None else None

    def require(self) -> None:
        """Raises `Denied` where the scan says no."""
        self._report = self._gate.require() if self._gate is not None else None

    def remember(self, image: BuiltImage, name: str, base: str) -> None:
        if self._report is not None and base in OWN_BASES:
            remember(self._report, image.index.digest, report_memo(), self._settings, subject=name)

    def show(self, output: Output, source: str) -> None:
        if self._report is None or self._report.outcome is Outcome.CLEAN:
            return
        files = [file.path for file in self._report.files if file.outcome is not Outcome.CLEAN]
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        output.aside(f"note: the scan cannot vouch for {files[0]}{more}; `modelcar scan {source}` says why")


@contextmanager
def _scanning(checkpoint: Checkpoint, source: str, *, no_scan: bool) -> Iterator[_Scan]:
    settings = ScanSettings(spool=spool_folder())
    if no_scan:
        yield _Scan(None, settings)
        return
    with gated(checkpoint, settings, source) as gate:
        yield _Scan(gate, settings)


def _bases(
    base: str, platforms: tuple[Platform, ...], store: LocalStore, settings: ClientSettings, output: Output
) -> list[Base]:
    with progress(output, "base") as report, Registry(settings, report) as registry:
        return choose_bases(base, platforms, store, registry)


def _build(
    build: Callable[..., BuiltImage],
    store: LocalStore,
    ref: Reference,
    signing: _Signing,
    scan: _Scan,
    output: Output,
) -> BuiltImage:
    with progress(output, "hash") as report:
        image = build(progress=report, upload=scan.watch, arrived=scan.look)
    scan.require()
    signing.finish(image, store, ref)
    return image


def _build_and_push(
    build: Callable[..., BuiltImage],
    store: LocalStore,
    ref: Reference,
    signing: _Signing,
    scan: _Scan,
    settings: ClientSettings,
    output: Output,
    spool: Path | None,
) -> tuple[BuiltImage, dict[str, int]]:
    """Layers are on their way while they are hashed, or as soon as their digest is known; the tag comes when all is
    there."""

    def check(layers: Sequence[PlannedLayer]) -> None:
        registry.preflight(ref, {layer.label: layer.size for layer in layers}).require()

    with progress(output, "build") as report, Registry(settings, report) as registry:
        with registry.uploading(ref) as upload:
            passing = Passing(target=RepositoryTarget(registry, ref), spool=spool) if spool is not None else None
            image = build(
                progress=report,
                upload=scan.hold(upload),
                streaming=scan.stream(upload),
                passing=passing,
                arrived=scan.look,
                expected=check,
            )
            scan.require()
        signing.finish(image, store, ref)
        publish_image(registry, store.content, image.index, ref)
        return image, moved_document(registry)


def _show(
    output: Output, image: BuiltImage, name: str, seconds: float, signatory: Signatory | None, *, pushed: bool
) -> None:
    rows = [
        [layer.label, layer.kind or "base", human_size(layer.descriptor.size), layer.descriptor.digest.short]
        for layer in image.layers
    ]
    output.table(Table(columns=("layer", "kind", "size", "sha256"), rows=rows, right=frozenset({"size"})))
    platforms = ", ".join(str(p) for p in image.platforms)
    done = "built and pushed" if pushed else "built"
    output.line(f"{done} {name} for {platforms} in {seconds:.1f} s")
    if signatory is not None:
        output.line(f"signed by {signatory}")
    output.line(f"{image.index.digest}")


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
