"""Sign what was built: the image and its statements where they lie, and one statement about every file.

Nothing of it is public then; what is published afterwards has its signatures from its first moment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.cli.trust import SignatoryChoice
from modelcar.errors import NotVerified, WorldError
from modelcar.oci import Digest
from modelcar.signing.attestations.predicate_types import SLSA_PROVENANCE
from modelcar.signing.bundle import parse_bundle
from modelcar.signing.signatory import Signatory
from modelcar.signing.statement import Statement
from modelcar.signing.verified import Authority, Evidence
from modelcar.signing.verify import verify_attestation
from modelcar.store.layout import OciLayout
from modelcar.store.names import Names
from scripts.release.provenance import sums

__all__ = ["BUNDLE", "IMAGE", "SBOM", "STATEMENT", "SUMS", "Keys", "sign", "verify"]

IMAGE: Final = "image"
SBOM: Final = "sbom.cdx.json"
STATEMENT: Final = "provenance.intoto.json"
BUNDLE: Final = "provenance.sigstore.json"
SUMS: Final = "SHA256SUMS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who signs: two keys, or without them the identity that runs this.

    Attributes:
        trust_config: the Sigstore that vouches for the identity; by default the public one.
        token_file: has the identity token, where the CI system's own is not found.
    """

    sign: str | None = None
    attest: str | None = None
    trust_config: Path | None = None
    token_file: Path | None = None

    @property
    def of_images(self) -> list[str]:
        return ["--key", self.sign] if self.sign is not None else self._keyless

    @property
    def of_statements(self) -> list[str]:
        return ["--key", self.attest] if self.attest is not None else [*self._keyless, "--allow-same-signer"]

    @property
    def _keyless(self) -> list[str]:
        given = {"--trust-config": self.trust_config, "--identity-token": self.token_file}
        return ["--keyless", *(word for name, file in given.items() if file is not None for word in (name, str(file)))]

    def signatory(self) -> Signatory:
        """Of the statement about all files. Raises `UsageError` if there is none."""
        return SignatoryChoice(
            key=self.attest,
            keyless=self.attest is None,
            trust_config=self.trust_config,
            token_file=self.token_file,
        ).signatory()


def sign(folder: Path, keys: Keys) -> None:
    """Sign the image in `folder`, attest its SBOM and provenance, and bundle the statement about all files.

    Raises:
        NotVerified: a file is not what the statement says: it was changed since it was built.
        WorldError: something cannot be signed; what was said about it is on standard error.
    """
    statement = Statement.parse((folder / STATEMENT).read_bytes())
    _check_files(folder, statement)
    image = f"oci:{folder / IMAGE}"
    predicate = folder / "predicate.json"
    predicate.write_text(json.dumps(dict(statement.predicate)))
    try:
        _modelcar("sign", image, *keys.of_images)
        attest = ("attest", image, *keys.of_statements)
        _modelcar(*attest, "--type", "https://cyclonedx.org/bom", "--predicate", str(folder / SBOM))
        _modelcar(*attest, "--type", "slsaprovenance1", "--predicate", str(predicate))
    finally:
        predicate.unlink()
    (folder / BUNDLE).write_bytes(keys.signatory().sign_statement(statement).raw)


def verify(folder: Path, authority: Authority) -> None:
    """Hold every file of a release, and the image if it is there, against its bundle.

    Raises:
        NotVerified: the bundle is not by `authority`, or a file is not what it says, or is not in it.
    """
    bundle = parse_bundle((folder / BUNDLE).read_bytes())
    listed = [line.split("  ", 1) for line in (folder / SUMS).read_text().splitlines()]
    for said, name in listed:
        found = sums(folder, [name])[name]
        if found != said:
            raise NotVerified(f"{name} is sha256:{found}, and {SUMS} says {said}")
    digests = [Digest.parse(f"sha256:{sums(folder, [SUMS])[SUMS]}")]
    if (folder / IMAGE).exists():
        digests.append(Names(OciLayout(folder / IMAGE, create=False)).only().digest)
    for digest in digests:
        verify_attestation(
            digest=digest, predicate_type=SLSA_PROVENANCE, evidence=Evidence(bundles=(bundle,)), authority=authority
        )


def _check_files(folder: Path, statement: Statement) -> None:
    said = {subject.name: subject.digests["sha256"] for subject in statement.subjects if subject.name != IMAGE}
    there = {file.name for file in folder.iterdir() if file.is_file()} - {STATEMENT, BUNDLE}
    if there != said.keys():
        odd = min(there ^ {str(name) for name in said})
        raise NotVerified(f"{odd} is not both in {folder} and in {STATEMENT}")
    for name, digest in sums(folder, there).items():
        if said[name] != digest:
            raise NotVerified(f"{name} is not what {STATEMENT} says: it was changed since it was built")


def _modelcar(*arguments: str) -> None:
    command: Sequence[str] = [sys.executable, "-m", "modelcar", *arguments]
    if status := subprocess.run(command, check=False).returncode:
        raise WorldError(f"modelcar {arguments[0]} ended with status {status}")
