"""AdmissionReview v1: what the API server asks, and our answers in the form that it takes.

An answer that is no AdmissionReview (`errored`) leaves it to the `failurePolicy` of the webhook configuration what
becomes of the pod; a denial never does.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from modelcar.errors import ModelcarError, UsageError

__all__ = ["MAX_WARNING", "Answer", "Question", "allowed", "denied", "errored", "patched", "read_review"]

MAX_WARNING: Final = 256
"""Characters of a warning; the API server cuts longer ones."""
_MAX_WARNINGS: Final = 4096  # characters of all warnings of one answer; it drops what is beyond
_MAX_MESSAGE: Final = 1000  # of a denial: the events of controllers, where most people read it, have 1024
_MAX_AUDIT: Final = 1000
_AUDIT_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_API: Final = "admission.k8s.io/v1"
_OPERATIONS: Final = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
_MAX_UID: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the API server asks about one object.

    Attributes:
        namespace: where it is created; what the object itself says may be missing.
        name: its name, or the prefix (`web-7d4b9c-`) that the API server makes one from.
        object: as it is to be stored; `None` for what has none.
    """

    uid: str
    operation: str
    kind: str
    resource: str
    subresource: str
    namespace: str
    name: str
    dry_run: bool
    object: dict[str, Any] | None

    @property
    def creates_pod(self) -> bool:
        """Whether a pod comes to be: its update, its ephemeral containers and its status are no business of ours."""
        return self.operation == "CREATE" and self.resource == "v1/pods" and not self.subresource


def read_review(body: bytes) -> Question:
    """The question in the body of a request.

    Raises:
        UsageError: it is no AdmissionReview of version 1.
    """
    try:
        document = json.loads(body.decode(), parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        raise UsageError("the body is not JSON") from None
    if not isinstance(document, dict) or document.get("kind") != "AdmissionReview":
        raise UsageError("the body is no AdmissionReview")
    if document.get("apiVersion") != _API:
        version = str(document.get("apiVersion"))[:60]
        raise UsageError(f"the AdmissionReview is {version!r}, not {_API}", hint="admissionReviewVersions: [v1]")
    request = document.get("request")
    if not isinstance(request, dict):
        raise UsageError("the AdmissionReview has no request")
    uid, operation = _text(request, "uid"), _text(request, "operation")
    if not 0 < len(uid) <= _MAX_UID or operation not in _OPERATIONS:
        raise UsageError("the request of the AdmissionReview has no uid, or no operation")
    subject, dry_run = request.get("object"), request.get("dryRun")
    if not isinstance(subject, dict | None) or not isinstance(dry_run, bool | None):
        raise UsageError("the AdmissionReview has an object that is none, or a dryRun that is no boolean")
    question = Question(
        uid=uid,
        operation=operation,
        kind=_gvk(request, "kind", "kind"),
        resource=_gvk(request, "resource", "resource"),
        subresource=_text(request, "subResource"),
        namespace=_text(request, "namespace"),
        name=_text(request, "name") or _prefix(subject),
        dry_run=bool(dry_run),
        object=subject,
    )
    if question.creates_pod and subject is None:
        raise UsageError("the request of the AdmissionReview creates a pod and does not have it")
    return question


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _text(request: Mapping[str, Any], name: str) -> str:
    value = request.get(name)
    if not isinstance(value, str | None):
        raise UsageError(f"{name} in the request of the AdmissionReview is no text")
    return value or ""


def _gvk(request: Mapping[str, Any], name: str, last: str) -> str:
    """`apps/v1/deployments`, `v1/pods`."""
    value = request.get(name)
    parts = [value.get(part) for part in ("group", "version", last)] if isinstance(value, dict) else [None]
    if not all(isinstance(part, str | None) for part in parts) or not parts[-1]:
        raise UsageError(f"{name} in the request of the AdmissionReview is none")
    return "/".join(part for part in parts if part)


def _prefix(subject: Mapping[str, Any] | None) -> str:
    meta = (subject or {}).get("metadata")
    given = meta.get("name") or meta.get("generateName") if isinstance(meta, dict) else None
    return given if isinstance(given, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What becomes of the object that was asked about.

    Attributes:
        decision: `allowed`, `patched` or `denied`, for logs and metrics.
        patch: operations of a JSON patch.
        message: why not, in one line.
    """

    uid: str
    decision: str
    patch: Sequence[Mapping[str, Any]] = ()
    message: str = ""
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The AdmissionReview with this answer."""
        response: dict[str, Any] = {"uid": self.uid, "allowed": self.decision != "denied"}
        if self.message:
            response["status"] = _status(403, "Forbidden", self.message)
        if self.patch:
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(_json(self.patch)).decode()}
        if warnings := _bounded(self.warnings):
            response["warnings"] = warnings
        if audit := {name: _line(v, _MAX_AUDIT) for name, v in self.audit.items() if _AUDIT_NAME.fullmatch(name)}:
            response["auditAnnotations"] = audit
        return _json({"apiVersion": _API, "kind": "AdmissionReview", "response": response})


def allowed(question: Question, *, warnings: tuple[str, ...] = (), audit: Mapping[str, str] | None = None) -> Answer:
    """It is as it should be."""
    return Answer(uid=question.uid, decision="allowed", warnings=warnings, audit=audit or {})


def patched(
    question: Question,
    patch: Sequence[Mapping[str, Any]],
    *,
    warnings: tuple[str, ...] = (),
    audit: Mapping[str, str] | None = None,
) -> Answer:
    """It is let in with these changes; without any, as it is."""
    decision = "patched" if patch else "allowed"
    return Answer(uid=question.uid, decision=decision, patch=patch, warnings=warnings, audit=audit or {})


def denied(question: Question, why: ModelcarError, *, audit: Mapping[str, str] | None = None) -> Answer:
    """It is not let in: `why` with its reasons and what to do about it, in one line."""
    parts = [str(why), *why.reasons, *([why.hint] if why.hint else [])]
    return Answer(uid=question.uid, decision="denied", message=_line("; ".join(parts), _MAX_MESSAGE), audit=audit or {})


def errored(code: int, message: str) -> bytes:
    """The body of an answer with the status `code`, for programs that read a Kubernetes `Status`."""
    reason = {400: "BadRequest", 503: "ServiceUnavailable", 504: "Timeout"}.get(code, "InternalError")
    return _json({"apiVersion": "v1", "kind": "Status", **_status(code, reason, _line(message, _MAX_MESSAGE))})


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"status": "Failure", "code": code, "reason": reason, "message": message}


def _bounded(warnings: Iterable[str]) -> list[str]:
    """As many as the API server passes on, each on one line: it drops those with line breaks."""
    lines = list(dict.fromkeys(line for warning in warnings if (line := _line(warning, MAX_WARNING))))
    kept: list[str] = []
    room = _MAX_WARNINGS - 60
    for line in lines:
        room -= len(line)
        if room < 0:
            return [*kept, f"there are {len(lines) - len(kept)} more warnings"]
        kept.append(line)
    return kept


def _line(text: str, limit: int) -> str:
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _json(value: Any) -> bytes:
    """ASCII alone, because half a surrogate pair in somebody's annotation has no other form."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
