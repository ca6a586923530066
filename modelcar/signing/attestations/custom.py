"""Predicates that someone else made: any JSON object, from a file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from modelcar.errors import InvalidDocument, UsageError
from modelcar.oci.document import parse_object
from modelcar.signing.attestations.predicate_types import COSIGN_CUSTOM

__all__ = ["MAX_PREDICATE", "custom_predicate"]

MAX_PREDICATE: Final = 8 << 20  # bytes
_STATEMENTS: Final = frozenset({"_type", "predicateType", "predicate", "subject"})


def custom_predicate(raw: bytes, predicate_type: str, *, timestamp: datetime | None = None) -> dict[str, Any]:
    """The predicate of `predicate_type` that `raw` is.

    cosign's own type `custom` holds text of any kind: it becomes `{"Data": …, "Timestamp": …}`, as cosign makes it.
    Every other type takes a JSON object as it is.

    Raises:
        UsageError: it is too large, not a JSON object, or a whole statement instead of a predicate.
    """
    if len(raw) > MAX_PREDICATE:
        raise UsageError(f"the predicate has {len(raw)} bytes, more than the {MAX_PREDICATE} that are allowed")
    if predicate_type == COSIGN_CUSTOM:
        try:
            data = raw.decode()
        except UnicodeDecodeError:
            raise UsageError("the predicate is not UTF-8 text") from None
        stamp = timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if timestamp else ""
        return {"Data": data, "Timestamp": stamp}
    try:
        predicate = parse_object(raw, "the predicate", limit=MAX_PREDICATE)
    except InvalidDocument as e:
        raise UsageError(str(e), hint="--predicate takes a file with one JSON object") from None
    if predicate.keys() >= _STATEMENTS:
        raise UsageError("the file holds a whole in-toto statement", hint="give only what is in its member `predicate`")
    return predicate
