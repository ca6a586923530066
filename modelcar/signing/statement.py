"""in-toto statements v1: what is said (`predicate`, of a type) about what (subjects, by digest)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from modelcar.errors import InvalidDocument
from modelcar.oci import Digest
from modelcar.oci.document import MAX_DOCUMENT, Fields, compact_json, parse_object

__all__ = ["COSIGN_SIGN", "STATEMENT_V1", "Statement", "Subject"]

STATEMENT_V1: Final = "https://in-toto.io/Statement/v1"
COSIGN_SIGN: Final = "https://sigstore.dev/cosign/sign/v1"
_ACCEPTED: Final = (STATEMENT_V1, "https://in-toto.io/Statement/v0.1")
_MAX_STATEMENT: Final = 4 * MAX_DOCUMENT  # bytes; an ML-BOM or per-file provenance may exceed a manifest
_KNOWN: Final = frozenset({"_type", "subject", "predicateType", "predicate"})
_KNOWN_OF_SUBJECT: Final = frozenset({"name", "digest"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One thing a statement is about. `digests` maps in-toto's algorithm names to lower-case hex."""

    digests: Mapping[str, str]
    name: str | None = None

    @classmethod
    def of(cls, digest: Digest, name: str | None = None) -> Subject:
        return cls(digests={digest.algorithm: digest.hex}, name=name)

    def to_dict(self) -> dict[str, Any]:
        named = {} if self.name is None else {"name": self.name}
        return {**named, "digest": dict(self.digests)}

    def __str__(self) -> str:
        return ", ".join(f"{algorithm}:{hexadecimal}" for algorithm, hexadecimal in self.digests.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """`predicate` is any JSON object; what it means depends on `predicate_type`."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def about(cls, digest: Digest, predicate_type: str, predicate: Mapping[str, Any] | None = None) -> Statement:
        """A statement about one manifest, as cosign makes it: the subject has no name."""
        return cls(subjects=(Subject.of(digest),), predicate_type=predicate_type, predicate=predicate or {})

    @classmethod
    def parse(cls, raw: bytes) -> Statement:
        """Parse strictly; v0.1 and v1 differ only in `_type`. Unknown fields are ignored, as in-toto wants it.

        Raises:
            InvalidDocument: naming the field.
        """
        fields = Fields(parse_object(raw, "statement", limit=_MAX_STATEMENT), "statement")
        fields.rest(_KNOWN)  # none that another program takes for a known one
        if (kind := fields.text("_type")) not in _ACCEPTED:
            raise InvalidDocument(f"statement._type is {kind!r}, not an in-toto statement")
        subjects = tuple(_subject(entry) for entry in fields.objects("subject"))
        if not subjects or not all(s.digests for s in subjects):
            raise InvalidDocument("statement.subject is empty or has an entry without a digest")
        predicate = fields.optional_object("predicate")
        return cls(
            subjects=subjects,
            predicate_type=fields.text("predicateType"),
            predicate=predicate.rest(frozenset()) if predicate else {},
        )

    def to_bytes(self) -> bytes:
        """Compact JSON in cosign's key order."""
        return compact_json(
            {
                "_type": STATEMENT_V1,
                "subject": [s.to_dict() for s in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate),
            }
        )

    def is_about(self, digest: Digest) -> bool:
        """Whether a subject is this manifest."""
        return any(s.digests.get(digest.algorithm) == digest.hex for s in self.subjects)


def _subject(fields: Fields) -> Subject:
    fields.rest(_KNOWN_OF_SUBJECT)
    return Subject(digests=fields.text_map("digest"), name=fields.optional_text("name"))
