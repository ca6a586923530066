"""`modelcar attest`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from modelcar.cli.options import EXISTING_FILE, NAMED_PATH, location_argument, network_options, output_options
from modelcar.cli.output import Output
from modelcar.cli.places import image_source, open_place
from modelcar.cli.trust import SignatoryChoice, signatory_options
from modelcar.errors import StorageError, UsageError
from modelcar.oci import Descriptor
from modelcar.packaging.locations import Location, StoredLocation
from modelcar.registry import ClientSettings
from modelcar.signing.attestations.attest import attach_statement, check_not_hiding, check_other_signer
from modelcar.signing.attestations.custom import MAX_PREDICATE, custom_predicate
from modelcar.signing.attestations.image import read_image
from modelcar.signing.attestations.invocation import ambient_invocation
from modelcar.signing.attestations.mlbom import mlbom
from modelcar.signing.attestations.oms import oms_statement
from modelcar.signing.attestations.predicate_types import (
    CYCLONEDX,
    MODEL_SIGNING,
    SLSA_PROVENANCE,
    predicate_type_of,
)
from modelcar.signing.attestations.provenance import provenance
from modelcar.signing.places import LayoutPlace, RegistryPlace, documents
from modelcar.signing.signatory import Signatory
from modelcar.signing.statement import Statement
from modelcar.store.disk import atomic_write

_MADE_HERE = (SLSA_PROVENANCE, CYCLONEDX, MODEL_SIGNING)
_Place = RegistryPlace | LayoutPlace


@click.command("attest")
@location_argument()
@click.option(
    "--type",
    "type_name",
    required=True,
    metavar="TYPE",
    help="provenance, mlbom or oms, which are made from the image; any URI or short name of cosign's with --predicate.",
)
@click.option(
    "--predicate",
    "predicate_file",
    type=EXISTING_FILE,
    help="Take the predicate from this file.",
)
@signatory_options
@click.option("--recursive", is_flag=True, help="Attest every manifest of an index, too.")
@click.option("--builder-id", metavar="URI", help="Who built it, for provenance; by default what the CI system says.")
@click.option(
    "--timestamp",
    metavar="TIME",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]),
    help="When it was made, as 2026-11-30T12:00:00Z, to be written into the predicate; by default nothing says so.",
)
@click.option(
    "--bundle", "bundle_file", metavar="FILE", type=NAMED_PATH, help="Write the signed bundle to this file as well."
)
@click.option("--allow-same-signer", is_flag=True, help="Attest with the key or identity that signed the image.")
@click.option("--allow-hiding", is_flag=True, help="Attest even if cosign then overlooks a legacy signature.")
@click.option("--dry-run", is_flag=True, help="Only print the predicate; nothing is signed.")
@click.option("--remote", is_flag=True, help="Attest in the registry even if the local store has the image.")
@network_options
@output_options
def command(
    ref: Location,
    type_name: str,
    predicate_file: Path | None,
    signatory_choice: SignatoryChoice,
    recursive: bool,
    builder_id: str | None,
    timestamp: datetime | None,
    bundle_file: Path | None,
    allow_same_signer: bool,
    allow_hiding: bool,
    dry_run: bool,
    remote: bool,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Attach a signed statement about an image.

    Where it comes from, what is in it, what was found in it.

    The statement is about what REF stands for, an index as a rule; with --recursive about each of its manifests as
    well. Use another key than the image's: cosign takes any statement by a signer for a signature.

    \b
      modelcar attest ghcr.io/acme/llm:v1 --type provenance --key attest.key
      modelcar attest ghcr.io/acme/llm:v1 --type mlbom --dry-run
      modelcar attest ghcr.io/acme/llm:v1 --type https://acme.example/review --predicate review.json
    """
    predicate_type = predicate_type_of(type_name)
    moment = timestamp.replace(tzinfo=UTC) if timestamp is not None else None
    signatory = None if dry_run else signatory_choice.signatory()
    with ExitStack() as stack:
        place, root = open_place(ref, remote=remote, settings=settings, stack=stack)
        if predicate_file is not None and predicate_type == MODEL_SIGNING:
            raise UsageError("a model signing manifest is made from the image", hint="leave --predicate out")
        if predicate_file is not None:
            predicate = custom_predicate(_read(predicate_file), predicate_type, timestamp=moment)
            statement = Statement.about(root.digest, predicate_type, predicate)
        else:
            statement = _statement(place, root, predicate_type, builder_id, moment)
        if signatory is None:
            _show_predicate(output, statement)
            return
        if not allow_same_signer:
            check_other_signer(place, root.digest, signatory)
        if not allow_hiding:
            check_not_hiding(place, root.digest)
        subjects = documents(place, root) if recursive else [root]
        attached = _attach(place, subjects, signatory, statement, bundle_file)
    output.document(
        {
            "name": str(ref),
            "digest": str(root.digest),
            "predicateType": predicate_type,
            "predicate": dict(statement.predicate),
            "signer": str(signatory),
            "attached": attached,
        }
    )
    new = sum(each["referrer"] is not None for each in attached)
    output.line(f"attested {ref} by {signatory}: {predicate_type}" + ("" if new else " (there already)"))
    output.line(str(root.digest))
    if statement.predicate.get("serialization", {}).get("method") == "shards":
        output.aside("the manifest is by shards, which model_signing's library reads and its command does not;")
        output.aside("for one by files build with --content-digest")
    if isinstance(place, LayoutPlace) and not isinstance(ref, StoredLocation):
        output.aside(f"the attestation is in the local store; `modelcar push {ref}` publishes it")


def _statement(
    place: _Place, root: Descriptor, predicate_type: str, builder_id: str | None, moment: datetime | None
) -> Statement:
    """One of those that are made from the image itself."""
    if predicate_type not in _MADE_HERE:
        raise UsageError(f"a predicate of type {predicate_type} cannot be made from the image", hint="add --predicate")
    image = read_image(image_source(place, root), place.repository or None)
    if predicate_type == MODEL_SIGNING:
        return oms_statement(image.model, image.name)
    if predicate_type == CYCLONEDX:
        return Statement.about(root.digest, predicate_type, mlbom(image, timestamp=moment))
    invocation = ambient_invocation(os.environ)
    predicate = provenance(image, invocation, builder=builder_id, finished_on=moment)
    return Statement.about(root.digest, predicate_type, predicate)


def _attach(
    place: _Place, subjects: list[Descriptor], signatory: Signatory, statement: Statement, bundle_file: Path | None
) -> list[dict[str, str | None]]:
    """The root is last, and its bundle is what is written to `bundle_file`."""
    attached: list[dict[str, str | None]] = []
    raw = b""
    for subject in subjects:
        about = statement
        if statement.predicate_type != MODEL_SIGNING:
            about = Statement.about(subject.digest, statement.predicate_type, statement.predicate)
        referrer, bundle = attach_statement(place, subject, signatory, about, created=datetime.now(UTC))
        attached.append({"subject": str(subject.digest), "referrer": str(referrer) if referrer else None})
        raw = bundle.raw
    if bundle_file is not None:
        atomic_write(bundle_file, raw)
    return attached


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PREDICATE + 1)
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None


def _show_predicate(output: Output, statement: Statement) -> None:
    import json

    answer: dict[str, Any] = dict(statement.predicate)
    output.document(answer)
    output.line(json.dumps(answer, indent=2, ensure_ascii=False))
