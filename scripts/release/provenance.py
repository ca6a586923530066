"""Where the files of a release come from: sums, and a SLSA statement about all of them.

Source: https://slsa.dev/spec/v1.1/provenance
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from modelcar.oci import Digest
from modelcar.signing.attestations.invocation import ambient_invocation
from modelcar.signing.attestations.predicate_types import SLSA_PROVENANCE
from modelcar.signing.statement import Statement, Subject
from scripts.release.base import BaseLock
from scripts.release.source import Source

__all__ = ["predicate_of", "statement_about", "sums"]

_BUILD_TYPE: Final = "https://modelcar.dev/build-types/release/v1"


def sums(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The sha256 of files in `folder`, by name."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(names)}


def predicate_of(source: Source, base: BaseLock, url: str | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """How it was built: from which commit, on which base, with which packages, and by whom as far as CI says so.

    `url`: where the image says that its source is.
    """
    run = ambient_invocation(environment)
    locks = source.folder / "scripts/release/locks"
    dependencies = [
        {"uri": run.repository or "git+file:.", "digest": {"gitCommit": source.commit}},
        {"uri": f"oci://{base.image}", "digest": {"sha256": base.digest.removeprefix("sha256:")}},
        *(
            {"name": f"scripts/release/locks/{name}", "digest": {"sha256": digest}}
            for name, digest in sums(locks, [file.name for file in locks.iterdir()]).items()
        ),
    ]
    metadata = {} if run.id is None else {"metadata": {"invocationId": run.id}}
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPE,
            "externalParameters": {"commit": source.commit, "version": source.version}
            | ({"source": url} if url else {}),
            "internalParameters": {"environment": dict(run.variables)} if run.variables else {},
            "resolvedDependencies": dependencies,
        },
        "runDetails": {"builder": {"id": run.builder}, **metadata},
    }


def statement_about(files: Mapping[str, str], image: Digest, predicate: Mapping[str, Any]) -> Statement:
    """One statement about `files`, sums by name, and the image."""
    subjects = [Subject(name=name, digests={"sha256": digest}) for name, digest in sorted(files.items())]
    return Statement(
        subjects=(*subjects, Subject.of(image, name="image")), predicate_type=SLSA_PROVENANCE, predicate=predicate
    )
