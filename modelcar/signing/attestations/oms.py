"""OpenSSF Model Signing manifests (predicate type `https://model_signing/signature/v1.0`) without hashing a byte.

The model index has what they need: by file where the content digest of every file is recorded (`build
--content-digest`, or files of one chunk), else by shards of 4 MiB, which is how chunks are cut. Both are what
model_signing itself would compute over the pulled folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from modelcar.errors import InvalidDocument, NotVerified, UsageError
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.layers.index import IndexedFile, IndexedLayer, ModelIndex
from modelcar.oci import Digest
from modelcar.signing.attestations.files import chunks_of, content_digest, files_of
from modelcar.signing.attestations.predicate_types import MODEL_SIGNING
from modelcar.signing.bundle import key_bundle
from modelcar.signing.keys.authority import KeyAuthority
from modelcar.signing.signatory import Signatory
from modelcar.signing.statement import Statement, Subject
from modelcar.signing.verified import Authority, Bundle, Evidence, Verified

__all__ = ["oms_statement", "verify_oms", "with_oms_hint"]

# model_signing leaves these out at the top of a model whatever the manifest says, so they must not be in it.
_IGNORED: Final = (".git", ".gitattributes", ".github", ".gitignore")


def oms_statement(model: ModelIndex, name: str) -> Statement:
    """The statement about all files of `model`; its subject is the digest over their digests, not the image's.

    Args:
        name: of the model, for people; verifiers ignore it.

    Raises:
        UsageError: the index knows too little, or a file's name cannot be written in a manifest by shards.
    """
    files = [(file, layer) for file, layer in files_of(model) if file.path.split("/")[0] not in _IGNORED]
    if not files:
        raise UsageError("the model has no file that a model signing manifest could list")
    whole = _by_file(files)
    serialization: dict[str, Any] = {"method": "files", "hash_type": "sha256"}
    if whole is None:
        serialization = {"method": "shards", "hash_type": "sha256", "shard_size": CHUNK_SIZE}
    resources = whole if whole is not None else _by_shard(files)
    root = hashlib.sha256(b"".join(bytes.fromhex(resource["digest"]) for resource in resources))
    predicate = {
        "serialization": {**serialization, "allow_symlinks": False, "ignore_paths": list(_IGNORED)},
        "resources": resources,
    }
    subject = Subject(digests={"sha256": root.hexdigest()}, name=name)
    return Statement(subjects=(subject,), predicate_type=MODEL_SIGNING, predicate=predicate)


def with_oms_hint(bundle: Bundle, signatory: Signatory) -> Bundle:
    """`bundle` with its key named as model_signing does, by the hash of the PEM; others do not look at the name."""
    authority = signatory.authority
    if bundle.certificate is not None or not isinstance(authority, KeyAuthority):
        return bundle
    hint = hashlib.sha256(authority.keys[0].pem).hexdigest()
    return key_bundle(bundle.envelope.payload, bundle.envelope.signatures[0], hint)


def verify_oms(*, digest: Digest, model: ModelIndex, evidence: Evidence, authority: Authority) -> Verified:
    """A model signing manifest by `authority` over exactly the files of `model`, which the image `digest` holds.

    The statement's subject is the files, not the image: it holds wherever the same files lie.

    Raises:
        NotVerified: there is none; `reasons` says of every bundle why it does not do.
    """
    expected = oms_statement(model, "")
    reasons = []
    for i, bundle in enumerate(evidence.bundles, 1):
        try:
            _check_same_files(Statement.parse(bundle.envelope.payload), expected)
            signer, signed_at = authority.verify_bundle(bundle)
        except (NotVerified, InvalidDocument) as e:
            reasons.append(f"bundle {i}: {e}")
            continue
        return Verified(
            digest=digest,
            predicate_type=MODEL_SIGNING,
            predicate=expected.predicate,
            signer=signer,
            signed_at=signed_at,
            format="bundle",
        )
    raise NotVerified(
        f"{digest} has no model signing manifest by {authority}",
        reasons=(*reasons, *evidence.unreadable) or ("nothing is attached to it",),
    )


def _check_same_files(statement: Statement, expected: Statement) -> None:
    if statement.predicate_type != MODEL_SIGNING:
        raise NotVerified(f"it is a statement of type {statement.predicate_type}")
    same_root = [s.digests for s in statement.subjects] == [s.digests for s in expected.subjects]
    if not same_root or statement.predicate.get("resources") != expected.predicate["resources"]:
        raise NotVerified("it lists other files than this image holds")


def _by_file(files: Iterable[tuple[IndexedFile, IndexedLayer]]) -> list[dict[str, str]] | None:
    resources = []
    for file, layer in files:
        digest = content_digest(file, layer)
        if digest is None or digest.algorithm != "sha256":
            return None
        resources.append(_resource(file.path, "sha256", digest.hex))
    return resources


def _by_shard(files: Sequence[tuple[IndexedFile, IndexedLayer]]) -> list[dict[str, str]]:
    algorithm = f"sha256-sharded-{CHUNK_SIZE}"
    resources = []
    for file, layer in files:
        chunks = chunks_of(file, layer)
        if chunks is None or any(c.size != CHUNK_SIZE for c in chunks[:-1]):
            raise UsageError(
                f"the image does not record what {file.path} hashes to", hint="build it with --content-digest"
            )
        if ":" in file.path:
            raise UsageError(
                f"{file.path}: a name with a colon cannot be in a manifest by shards",
                hint="build the image with --content-digest",
            )
        for chunk in chunks:
            start = chunk.offset - file.offset
            resources.append(_resource(f"{file.path}:{start}:{start + chunk.size}", algorithm, chunk.digest.hex))
    return resources


def _resource(name: str, algorithm: str, digest: str) -> dict[str, str]:
    return {"name": name, "algorithm": algorithm, "digest": digest}
