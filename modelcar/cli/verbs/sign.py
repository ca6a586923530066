"""`modelcar sign`."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime

import click

from modelcar.cli.options import location_argument, network_options, output_options
from modelcar.cli.output import Output
from modelcar.cli.places import open_place
from modelcar.cli.trust import SignatoryChoice, signatory_options
from modelcar.packaging.locations import Location, StoredLocation
from modelcar.registry import ClientSettings
from modelcar.signing.places import RegistryPlace
from modelcar.signing.sign import BOTH, Format, sign_image

_FORMATS = {"both": BOTH, "bundle": (Format.BUNDLE,), "legacy": (Format.LEGACY,)}


@click.command("sign")
@location_argument()
@signatory_options
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_FORMATS)),
    default="both",
    show_default=True,
    help="A sigstore bundle, cosign's older .sig tag, or both: many tools read only one. Keyless: bundles only.",
)
@click.option("--remote", is_flag=True, help="Sign in the registry even if the local store has the image.")
@network_options
@output_options
def command(
    ref: Location,
    signatory_choice: SignatoryChoice,
    form: str,
    remote: bool,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Sign an image and every manifest in it.

    `modelcar verify` and `cosign verify` accept what it writes. It signs where the image is: in an OCI layout
    (oci:DIR), in the local store if it is there (`modelcar push` then takes the signatures along), else in the
    registry. Nothing but documents is read. Signing again adds nothing.

    \b
      modelcar keygen
      modelcar sign ghcr.io/acme/llm:v1 --key modelcar.key
    """
    signatory = signatory_choice.signatory()
    with ExitStack() as stack:
        place, root = open_place(ref, remote=remote, settings=settings, stack=stack)
        formats = _FORMATS["bundle" if signatory_choice.keyless and form == "both" else form]
        signed = sign_image(place, root, signatory, formats=formats, created=datetime.now(UTC))
    where = "registry" if isinstance(place, RegistryPlace) else "local"
    output.document(
        {
            "name": str(ref),
            "digest": str(root.digest),
            "where": where,
            "signer": str(signatory),
            "signatures": [{"digest": str(s.digest), "format": s.format, "new": s.new} for s in signed],
        }
    )
    new = sum(s.new for s in signed)
    output.line(f"signed {ref} by {signatory}: {new} new signatures, {len(signed) - new} there already")
    output.line(str(root.digest))
    if where == "local" and not isinstance(ref, StoredLocation):
        output.aside(f"the signatures are in the local store; `modelcar push {ref}` publishes them")
