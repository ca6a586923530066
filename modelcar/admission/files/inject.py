"""The webhook's rewriting for files: the same decisions, and the text of the file with what they change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from modelcar.admission import names
from modelcar.admission.admit import Caller, Resolver, admit
from modelcar.admission.files.edits import CannotEdit, edited, style_of
from modelcar.admission.files.meaning import composed, meant, same
from modelcar.admission.files.roundtrip import rewritten
from modelcar.admission.files.stream import Document, split
from modelcar.admission.files.workloads import Path, Place, holds_pods, objects_in, pods_in, with_pods
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import ModelcarError, Refused, UsageError

__all__ = ["Injected", "PodInFile", "inject"]

_KSERVE: Final = "serving.kserve.io/"
_INDENT: Final = re.compile(r"\n([ \t]+)\S")


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInFile:
    """What became of one pod, or pod template.

    Attributes:
        line: where it begins.
        decision: `patched`, `unchanged` or `denied`.
        error: why it is denied.
    """

    place: Place
    line: int
    decision: str
    warnings: tuple[str, ...] = ()
    error: ModelcarError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """A file that went through. `notes` say what was left to others, each with its line."""

    text: str
    pods: tuple[PodInFile, ...]
    notes: tuple[str, ...]


def inject(
    text: str, name: str, resolver: Resolver, settings: AdmissionSettings, *, namespace: str = "default"
) -> Injected:
    """The file `name` with all pods in it rewritten; what does not change is the same to the last byte.

    `namespace` is where objects go that name none.

    Raises:
        UsageError: it is not YAML or JSON; the message says where.
    """
    run = _Run(name, resolver, settings, namespace)
    parts = [document.head + run.document(document) for document in split(text)]
    return Injected(text="".join(parts), pods=tuple(run.pods), notes=tuple(run.notes))


class _Run:
    def __init__(self, name: str, resolver: Resolver, settings: AdmissionSettings, namespace: str) -> None:
        self.pods: list[PodInFile] = []
        self.notes: list[str] = []
        self._name = name
        self._resolver = resolver
        self._settings = settings
        self._namespace = namespace

    def document(self, document: Document) -> str:
        """Its text as it is to be."""
        if document.is_empty:
            return document.body
        root = composed(document.body, name=self._name, line=document.line)
        kind, api = _scalar(root, "kind"), _scalar(root, "apiVersion")
        if not kind or not (holds_pods(kind) or api.startswith(_KSERVE)):
            return document.body  # what we do not know may be YAML that only others understand
        value = meant(document.body, name=self._name, line=document.line)
        changed: dict[Path, Any] = {}
        for place, item in objects_in(value):
            for path, pod in pods_in(item):
                line = document.line + _line_of(root, (*place.path, *path))
                after = self._admitted(place, line, pod)
                if not same(pod, after):
                    changed[(*place.path, *path)] = after
            self.notes += [
                f"{self._name}:{document.line + _line_of(root, place.path)}: {place}: {note}" for note in _notes(item)
            ]
        if not changed:
            return document.body
        return _with(document, self._name, value, with_pods(value, changed))

    def _admitted(self, place: Place, line: int, pod: dict[str, Any]) -> dict[str, Any]:
        caller = Caller(namespace=place.namespace or self._namespace)
        try:
            outcome = admit(pod, self._resolver, caller, self._settings)
        except (Refused, UsageError) as e:
            self.pods.append(PodInFile(place=place, line=line, decision="denied", error=e))
            return pod
        decision = "unchanged" if same(pod, outcome.pod) else "patched"
        self.pods.append(PodInFile(place=place, line=line, decision=decision, warnings=outcome.warnings))
        return outcome.pod


def _with(document: Document, name: str, old: Any, new: Any) -> str:
    """The text of `document` so that its value is `new`: the best of what really says so."""
    body = document.body
    if (json_text := _as_json(body, new)) is not None:
        return json_text
    for text in _candidates(body, old, new):
        try:
            if text is not None and same(meant(text), new):
                return text
        except UsageError:
            continue
    raise UsageError(
        f"{name}:{document.line}: this document cannot be changed and stay what it is otherwise",
        hint="write it without aliases and merge keys (<<) in its pods",
    )


def _candidates(body: str, old: Any, new: Any) -> Iterator[str | None]:
    with suppress(CannotEdit):
        yield edited(body, old, new)
    begins = len(body) - len(body.lstrip("\r\n\t "))
    style = style_of(composed(body))
    text = rewritten(body[begins:], new, mapping=style.mapping, sequence=style.sequence)
    if text is not None:
        yield body[:begins] + (text.replace("\n", "\r\n") if "\r\n" in body else text)


def _as_json(body: str, new: Any) -> str | None:
    """`new` as JSON, if `body` is JSON; written as that is written."""
    if not body.lstrip().startswith("{"):
        return None
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return None
    indent = _INDENT.search(body.strip())
    compact = (",", ":") if not indent and '": ' not in body else None
    text = json.dumps(new, indent=indent[1] if indent else None, separators=compact, ensure_ascii=False)
    before, after = len(body) - len(body.lstrip()), len(body.rstrip())
    return body[:before] + text + body[after:]


def _notes(item: dict[str, Any]) -> Iterator[str]:
    """What people may think happens here, and does not."""
    if str(item.get("apiVersion")).startswith(_KSERVE):
        for where, uri in _oci_uris(item.get("spec"), "spec"):
            yield f"{where} {uri}: KServe makes these pods, and the webhook rewrites them then; nothing is changed here"
        return
    mine = _annotations(item)
    for path, pod in pods_in(item):
        if path and mine & {names.MODEL, names.MODELS} and not _annotations(pod) & {names.MODEL, names.MODELS}:
            yield f"{names.MODEL} stands on it and not on its pods ({'.'.join(map(str, path))}): nothing is changed"


def _oci_uris(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Where a KServe object names models in registries."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _oci_uris(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _oci_uris(inner, f"{path}[{number}]")
    elif isinstance(value, str) and re.match(r"oci(\+[a-z]+)?://", value) and re.search(r"[uU]ris?(\[|$)", path):
        yield path, value


def _annotations(item: dict[str, Any]) -> set[str]:
    meta = item.get("metadata")
    found = meta.get("annotations") if isinstance(meta, dict) else None
    return set(found) if isinstance(found, dict) else set()


def _scalar(root: Node | None, name: str) -> str:
    """The text at the top of a document, without reading the rest."""
    for key, value in root.value if isinstance(root, MappingNode) else ():
        if isinstance(key, ScalarNode) and key.value == name and isinstance(value, ScalarNode):
            return str(value.value)
    return ""


def _line_of(root: Node | None, path: Path) -> int:
    """On which line of the document `path` stands, from 0; the nearest that is known."""
    line = root.start_mark.line if root is not None and root.start_mark is not None else 0
    node = root
    for step in path:
        key: Node | None = None
        if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            key = node = node.value[step]
        elif isinstance(node, MappingNode):
            found = [(k, v) for k, v in node.value if isinstance(k, ScalarNode) and k.value == step]
            key, node = found[-1] if found else (None, None)
        if key is None or key.start_mark is None:
            break
        line = key.start_mark.line
    return line
