"""`modelcar archive`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import click

from modelcar.cli.options import EXISTING_FILE, NAMED_PATH, location_argument, network_options, output_options
from modelcar.cli.output import Output, human_size
from modelcar.cli.passwords import ask_password
from modelcar.cli.places import image_source, open_place, show_carried
from modelcar.cli.progress import progress
from modelcar.images.archive import archive_image
from modelcar.oci import Digest, Reference
from modelcar.packaging.labels import image_labels
from modelcar.packaging.locations import Location
from modelcar.registry import ClientSettings
from modelcar.signing.carried_trust import CarriedTrust
from modelcar.signing.keys.load import load_public_key


@click.command("archive")
@location_argument()
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    type=NAMED_PATH,
    required=True,
    help="The file to write; there must be none yet.",
)
@click.option("--key", "keys", metavar="KEY", multiple=True, help="A public key to take along; may be repeated.")
@click.option(
    "--trusted-root",
    type=EXISTING_FILE,
    help="A Sigstore trusted_root.json to take along.",
)
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@network_options
@output_options
def command(
    ref: Location,
    file: Path,
    keys: tuple[str, ...],
    trusted_root: Path | None,
    remote: bool,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Write an image to one file, for places without a network.

    Signatures and attestations come along. Looks in the local store first, then in the registry. `push`, `verify`,
    `copy`, `inspect` and `pull` take the file back as oci-archive:FILE without unpacking it; so do skopeo and podman.
    Nobody trusts the keys in it for being there: see `modelcar verify`.

    \b
      modelcar archive ghcr.io/acme/llm:v1 -o llm.tar --key modelcar.pub
      modelcar push oci-archive:llm.tar registry.internal/acme/llm:v1
    """
    began = time.monotonic()
    trust = _trust(keys, trusted_root)
    labels: dict[Digest, str] = {}
    with progress(output, "archive", labels) as report, ExitStack() as stack:
        place, root = open_place(ref, remote=remote, settings=settings, stack=stack, progress=report)
        labels.update(image_labels(image_source(place, root), root))
        name = ref if isinstance(ref, Reference) else ref.name
        archived = archive_image(place, root, file, name=name, trust=trust, progress=report)
    attached = show_carried(archived.carried, output)
    seconds = time.monotonic() - began
    output.document(
        {
            "name": str(ref),
            "file": str(file),
            "digest": str(root.digest),
            "size": archived.size,
            "attachments": attached,
            "trust": trust.to_dict(),
            "seconds": round(seconds, 3),
        }
    )
    output.line(f"archived {ref} as oci-archive:{file} ({human_size(archived.size)}) in {seconds:.1f} s")
    for key in trust.keys:
        output.line(f"carries {key}; send the fingerprint another way")
    if trust.root_digest:
        output.line(f"carries trusted root {trust.root_digest}")
    output.line(str(root.digest))


def _trust(keys: tuple[str, ...], trusted_root: Path | None) -> CarriedTrust:
    loaded = {key.fingerprint: key for key in (load_public_key(key, ask_password) for key in keys)}
    if trusted_root is None:
        return CarriedTrust(keys=tuple(loaded.values()))
    from modelcar.signing.keyless.trust import TrustSource

    TrustSource(trusted_root=trusted_root).root()  # what is no root of trust is no use to anybody
    return CarriedTrust(keys=tuple(loaded.values()), root=trusted_root.read_bytes())
