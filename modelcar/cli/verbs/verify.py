"""`modelcar verify`."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click

from modelcar.cli.options import location_argument, network_options, output_options
from modelcar.cli.output import Output
from modelcar.cli.places import image_source, open_place
from modelcar.cli.policies import PolicyChoice, policy_options, show_decision
from modelcar.cli.trust import TrustChoice, trust_options
from modelcar.images.provenance import verify_source
from modelcar.oci import Descriptor, Reference
from modelcar.packaging.locations import Location
from modelcar.registry import ClientSettings
from modelcar.signing.attestations.image import read_image
from modelcar.signing.attestations.oms import verify_oms
from modelcar.signing.attestations.predicate_types import MODEL_SIGNING, predicate_type_of
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import LayoutPlace, RegistryPlace
from modelcar.signing.statement import COSIGN_SIGN
from modelcar.signing.verified import Authority, Verified
from modelcar.signing.verify import verify_attestations, verify_signature


@click.command("verify")
@location_argument()
@trust_options
@policy_options
@click.option(
    "--attestation",
    "predicate_type",
    metavar="TYPE",
    help="Want an attestation of this predicate type (a URI, or a short name such as provenance) and not a signature.",
)
@click.option("--source", is_flag=True, help="Check that its files are those of the commit on the Hub that it names.")
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@network_options
@output_options
def command(
    ref: Location,
    trust_choice: TrustChoice,
    policy_choice: PolicyChoice,
    predicate_type: str | None,
    source: bool,
    remote: bool,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Check that an image is signed by whom you name.

    If it is not, every reason is told, with exit status 1.

    With --policy, policies decide: ClusterImagePolicy, ModelPolicy and DigestDenyList documents, as in a cluster.

    With --source, every file must be what the Hub lists at the commit that the image was built of. No weights are read.

    Looks in the local store first, then in the registry; oci:DIR and oci-archive:FILE need no network at all. What is
    printed is the digest that was verified: use that, since tags move. Keys that an archive carries count only if --key
    says their fingerprint.

    \b
      modelcar verify ghcr.io/acme/llm:v1 --key modelcar.pub
      modelcar verify ghcr.io/acme/llm:v1 --key ci.pub --attestation provenance
      modelcar verify ghcr.io/acme/llm:v1 --policy policies/
      modelcar verify ghcr.io/acme/llm:v1 --key modelcar.pub --source
    """
    policies = policy_choice.load() if policy_choice else None
    signer_named = bool(trust_choice.keys or trust_choice.identity or predicate_type)
    authority = trust_choice.authority(ref) if signer_named or not (policy_choice.files or source) else None
    with ExitStack() as stack:
        place, root = open_place(ref, remote=remote, settings=settings, stack=stack)
        remotely = isinstance(place, RegistryPlace)
        where = "registry" if remotely else "local"
        answer: dict[str, Any] = {"name": str(ref), "digest": str(root.digest), "where": where}
        if policies is not None:
            decision = policy_choice.decide(policies, ref, place, root, trust_choice.identity)
            answer["policy"] = decision.to_dict()
            show_decision(output, decision)
            if not decision.allowed:
                output.document(answer)
                decision.require()
        found = () if authority is None else _verified(place, root, predicate_type, authority)
        if source:
            answer["source"] = _verified_source(place, root, str(ref), output)
    output.document({**answer, "verified": [_to_dict(v) for v in found]})
    for verified in found:
        what = "signed" if verified.predicate_type == COSIGN_SIGN else f"attested ({verified.predicate_type})"
        when = f" at {verified.signed_at.isoformat()}" if verified.signed_at else ""
        output.line(f"{ref} is {what} by {verified.signer}{when}")
    output.line(str(root.digest))
    if isinstance(ref, Reference) and ref.digest is None and not remotely:
        output.aside(f"that is {ref} in the local store; in the registry it may be another: --remote asks there")


def _verified_source(place: RegistryPlace | LayoutPlace, root: Descriptor, name: str, output: Output) -> dict[str, Any]:
    image = read_image(image_source(place, root))
    checked = verify_source(image.model, image.annotations, name)
    count = sum(map(len, checked.layers.values()))
    left_out = f" ({len(checked.left_out)} others lie there, too)" if checked.left_out else ""
    output.line(f"all {count} files of {name} are those of hf://{checked.repo}@{checked.revision}{left_out}")
    return checked.to_dict()


def _verified(
    place: RegistryPlace | LayoutPlace, root: Descriptor, predicate_type: str | None, authority: Authority
) -> tuple[Verified, ...]:
    """The signature, or the attestations of the type that is wanted."""
    evidence = gather_evidence(place, root.digest)
    if predicate_type is None:
        return (verify_signature(digest=root.digest, evidence=evidence, authority=authority),)
    if (wanted := predicate_type_of(predicate_type)) == MODEL_SIGNING:
        model = read_image(image_source(place, root)).model
        return (verify_oms(digest=root.digest, model=model, evidence=evidence, authority=authority),)
    return verify_attestations(digest=root.digest, predicate_type=wanted, evidence=evidence, authority=authority)


def _to_dict(verified: Verified) -> dict[str, Any]:
    signer = verified.signer
    return {
        "predicateType": verified.predicate_type,
        "predicate": dict(verified.predicate),
        "signer": {"fingerprint": signer.fingerprint, "identity": signer.identity, "issuer": signer.issuer},
        "signedAt": verified.signed_at.isoformat() if verified.signed_at else None,
        "format": verified.format,
    }
