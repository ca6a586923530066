"""`modelcar push`."""

from __future__ import annotations

import time
from contextlib import ExitStack

import click

from modelcar.cli.images import content_size, store_of
from modelcar.cli.options import REFERENCE, location_argument, mount_from_option, network_options, output_options
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import show_carried
from modelcar.cli.progress import progress
from modelcar.cli.rates import limit_rate_option
from modelcar.cli.uploads import moved_document, remembering
from modelcar.errors import UsageError
from modelcar.images.local import find_local, local_name
from modelcar.images.publish import mount_repositories, publish_image
from modelcar.oci import Descriptor, Reference
from modelcar.packaging.fetch import LayoutSource, StoreSource
from modelcar.packaging.labels import image_labels
from modelcar.packaging.locations import Location
from modelcar.registry import ClientSettings, Registry
from modelcar.store import Layout


@click.command("push")
@location_argument()
@click.argument("target", type=REFERENCE, required=False)
@mount_from_option
@limit_rate_option
@network_options
@output_options
def command(
    ref: Location,
    target: Reference | None,
    mount_from: tuple[str, ...],
    limit_rate: float | None,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Push an image of the store to its registry, or to TARGET.

    REF may also be an archive (oci-archive:FILE[:TAG]) or an OCI layout (oci:DIR[:TAG]). Weights go straight from the
    checkpoint's files, or the archive, to the registry; what it has already is not sent again. Signatures and
    attestations go along, and the tag appears when everything else is there. A push that was killed goes on where the
    registry has come to. Layers that the registry is known not to take are named before the first byte.

    \b
      modelcar push localhost:5000/my-model:v1
      modelcar push localhost:5000/my-model:v1 ghcr.io/acme/llm:v1 --limit-rate 50MB/s
      modelcar push oci-archive:llm.tar registry.internal/acme/llm:v1
    """
    began = time.monotonic()
    settings = remembering(settings, limit_rate)
    if target is None:
        if not isinstance(ref, Reference):
            raise UsageError(f"nothing says where to push {ref}", hint=f"`modelcar push {ref} registry/repo:tag`")
        target = ref
    repositories = mount_repositories(mount_from, target)
    with ExitStack() as stack:
        content, root = _open(ref, stack)
        size = content_size(content, root)
        labels = image_labels(StoreSource(content, root), root)
        with progress(output, "push", labels) as report, Registry(settings, report) as registry:
            carried = publish_image(registry, content, root, target, mount_from=repositories)
            moved = moved_document(registry)
        attached = show_carried(carried, output)
    seconds = time.monotonic() - began
    output.document(
        {
            "name": str(target),
            "digest": str(root.digest),
            "size": size,
            **moved,
            "attachments": attached,
            "seconds": round(seconds, 3),
        }
    )
    output.line(f"pushed {target} ({human_size(size)}) in {seconds:.1f} s")
    output.line(str(root.digest))


def _open(ref: Location, stack: ExitStack) -> tuple[Layout, Descriptor]:
    if not isinstance(ref, Reference):
        source = LayoutSource(ref)
        return source.layout, source.resolve()
    hint = f"`modelcar build SOURCE -t {local_name(ref)}` makes it"
    store = store_of(ref, hint=hint)
    stack.enter_context(store.session())
    return store.content, find_local(store, ref, hint=hint)
