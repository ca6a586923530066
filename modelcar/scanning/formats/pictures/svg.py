"""SVG: XML that draws. Anything in it that runs, or fetches something from elsewhere, is a finding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from xml.parsers import expat

from modelcar.scanning.filescan import FileScan, Malformed, Probe
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.limits import LimitExceeded
from modelcar.scanning.secrets import report_secrets
from modelcar.scanning.texts import decoded

__all__ = ["RULES", "matches", "scan"]

ACTIVE: Final = Rule(
    id="picture.active-content",
    severity=Severity.UNVERIFIED,
    title="a drawing that does more than draw",
    why="A browser that shows it runs its scripts and fetches what it refers to.",
    fix="Have it saved as plain SVG or as PNG.",
)
RULES: Final = (ACTIVE,)

_LARGEST: Final = 16 << 20  # bytes
_SVG: Final = "http://www.w3.org/2000/svg"
_ELEMENTS: Final = frozenset(
    {
        "a", "animate", "animateMotion", "animateTransform", "circle", "clipPath", "defs", "desc", "ellipse",
        "filter", "font", "font-face", "font-face-name", "font-face-src", "g", "glyph", "hkern", "image", "line",
        "linearGradient", "marker", "mask", "metadata", "missing-glyph", "mpath", "path", "pattern", "polygon",
        "polyline", "radialGradient", "rect", "set", "stop", "style", "svg", "switch", "symbol", "text", "textPath",
        "title", "tspan", "use", "view",
    }
)  # fmt: skip
_FILTER: Final = re.compile(r"fe[A-Z][A-Za-z]{2,20}")
# of other vocabularies that drawing programs keep their own notes in
_NOTES: Final = re.compile(
    r"https?://(?:www\.w3\.org/1999/02/22-rdf-syntax-ns#|purl\.org/dc/|creativecommons\.org/ns#|web\.resource\.org/cc/"
    r"|(?:www\.)?inkscape\.org/|sodipodi\.sourceforge\.net/|www\.bohemiancoding\.com/sketch|ns\.adobe\.com/xap/).{0,60}"
)
_INSIDE: Final = re.compile(r"\s*(?:#|data:image/(?:png|jpe?g|gif|webp);base64,|$)", re.IGNORECASE)
_LINK: Final = re.compile(r"\s*(?:#|https?://)", re.IGNORECASE)
_FETCHES: Final = re.compile(
    r"(?i)@import|expression\s{0,8}\(|javascript\s{0,8}:|url\s{0,8}\(\s{0,8}[\"']?(?!\s{0,8}[#\"'])"
)
_CSS: Final = re.compile(r"(?i)image-set|\\")  # a backslash can spell any of the others
_DTD: Final = re.compile(r"https?://www\.w3\.org/\S{0,100}")


def matches(probe: Probe) -> bool:
    """By its name: by their content drawings are texts."""
    return probe.name.endswith(".svg")


def scan(scan: FileScan) -> None:
    """Look at every element, attribute and instruction."""
    if scan.size > _LARGEST:
        raise LimitExceeded(f"a drawing of {scan.size} bytes; the limit is {_LARGEST}")
    data = scan.read_all()
    text = decoded(data)
    report_secrets(scan, data)
    try:
        _Drawing(scan).read(text)
    except expat.ExpatError as e:
        raise Malformed(f"it is not XML: {expat.ErrorString(e.code)} in line {e.lineno}") from None
    scan.account_for_all()


class _Drawing:
    def __init__(self, scan: FileScan) -> None:
        self._scan = scan
        self._elements = 0
        self._styles: list[list[str]] = []  # the text of each <style> that is open
        self._parser = parser = expat.ParserCreate("utf-8", "\n")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._entity

    def read(self, text: str) -> None:
        self._parser.Parse(text.encode(), True)

    def _start(self, qualified: str, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if self._elements % 1000 == 1:
            self._scan.budget.check_time()
        namespace, _, name = qualified.rpartition("\n")
        if self._elements == 1 and name != "svg":
            raise Malformed(f"it is no drawing: its outermost element is {shown(name)}")
        drawn = namespace in ("", _SVG)
        if drawn and name not in _ELEMENTS and not _FILTER.fullmatch(name):
            self._found(f"<{name}>")
        elif not drawn and not _NOTES.fullmatch(namespace):
            self._found(f"<{name}> of {namespace}")
        if name == "style":
            self._styles.append([])
        for attribute, value in attributes.items():
            self._attribute(name, attribute.rpartition("\n")[2].lower(), value)

    def _attribute(self, element: str, name: str, value: str) -> None:
        if name == "style":
            self._style(value)
        runs = name.startswith("on") or _FETCHES.search(value) is not None
        fetches = name in ("href", "src") and not (_LINK if element == "a" else _INSIDE).match(value)
        changes = name == "attributename" and value.rpartition(":")[2].lower().startswith(("href", "on"))
        if runs or fetches or changes:
            self._found(f'{name}="{value}"')

    def _end(self, qualified: str) -> None:
        if qualified.rpartition("\n")[2] == "style":
            self._style("".join(self._styles.pop()))

    def _characters(self, text: str) -> None:
        for style in self._styles:
            style.append(text)

    def _style(self, text: str) -> None:
        if match := _FETCHES.search(text) or _CSS.search(text):
            self._found(text[match.start() : match.start() + 100])

    def _instruction(self, target: str, data: str) -> None:
        if target.lower() == "xml-stylesheet":
            self._found(f"<?{target} {data}?>")

    def _doctype(self, name: str, system_id: str | None, public_id: str | None, has_internal_subset: int) -> None:
        if has_internal_subset or (system_id and not _DTD.fullmatch(system_id)):
            self._found(f"<!DOCTYPE {name} … {system_id or public_id or ''}")

    def _entity(self, name: str, *_: object) -> None:
        self._found(f"<!ENTITY {name} …>")
        raise Malformed("it declares entities, which can stand for anything")

    def _found(self, what: str) -> None:
        self._scan.found(ACTIVE, f"line {self._parser.CurrentLineNumber}: {shown(what)}")
