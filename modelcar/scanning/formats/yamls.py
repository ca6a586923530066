"""YAML: its events are looked at, nothing is built. What a tag or a key makes some loader call is a finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelcar.scanning.callables import is_dangerous
from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.formats.templates import report_templates
from modelcar.scanning.limits import LimitExceeded
from modelcar.scanning.references import DANGEROUS, KEYS, expressions_in, references_in
from modelcar.scanning.secrets import report_secrets
from modelcar.scanning.texts import decoded

if TYPE_CHECKING:
    import yaml

__all__ = ["FORMATS", "RULES"]

PYTHON_CALL: Final = Rule(
    id="yaml.python-call",
    severity=Severity.MALICIOUS,
    title="YAML that calls Python objects",
    why="A program that loads it with anything but a safe loader runs what the tag names.",
    fix="Do not load it; report it to where it came from.",
)
PYTHON_OBJECT: Final = Rule(
    id="yaml.python-object",
    severity=Severity.UNVERIFIED,
    title="YAML that builds Python objects",
    why="Only unsafe loaders take such tags, and with them the author of the file decides what is imported.",
    fix="Write plain lists, mappings and texts in place of the tag.",
)
CUSTOM_TAG: Final = Rule(
    id="yaml.custom-tag",
    severity=Severity.UNVERIFIED,
    title="YAML with tags that a program gives a meaning of its own",
    why="HyperPyYAML and others import and call what such tags name.",
    fix="Look at what the tag names, and at the program that reads it.",
)
ALIASES: Final = Rule(
    id="yaml.alias-bomb",
    severity=Severity.UNVERIFIED,
    title="YAML whose aliases multiply",
    why="Programs that expand them run out of memory.",
    fix="Write out what the aliases stand for, or do not use the file.",
)
DUPLICATE: Final = Rule(
    id="yaml.duplicate-key",
    severity=Severity.UNVERIFIED,
    title="a YAML mapping has the same key twice",
    why="One program takes the first, another the last, a third refuses the file.",
    fix="Remove one of them.",
)
RULES: Final = (PYTHON_CALL, PYTHON_OBJECT, CUSTOM_TAG, ALIASES, DUPLICATE)

_LONGEST: Final = 2 << 20  # bytes; the parser is slow, and honest files have some thousands
_DEEPEST: Final = 100
_MOST_EXPANDED: Final = 10_000_000  # nodes after all aliases
_NULLS: Final = ("", "~", "null", "Null", "NULL")
_STANDARD: Final = "tag:yaml.org,2002:"
_PLAIN: Final = frozenset(
    {
        "binary", "bool", "float", "int", "map", "merge", "null", "omap", "pairs", "seq", "set", "str", "timestamp",
        "value",
    }
)  # fmt: skip
_CALLING: Final = ("apply:", "new:")
_SIMPLE: Final = frozenset(
    {"bool", "bytes", "complex", "dict", "float", "int", "list", "long", "none", "str", "tuple", "unicode"}
)


def _matches(probe: Probe) -> bool:
    return probe.name.endswith((".yaml", ".yml"))


def _scan(scan: FileScan) -> None:
    import yaml

    if scan.size > _LONGEST:
        raise LimitExceeded(f"a YAML document of {scan.size} bytes; the limit is {_LONGEST}")
    data = scan.read_all()
    text = decoded(data)
    report_secrets(scan, data)
    for rule, detail in expressions_in(data):
        scan.found(rule, detail)
    try:
        _Documents(scan).read(text)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise Malformed(f"it is not YAML{where}") from None
    scan.account_for_all()


class _Documents:
    """Goes through events as they come, and keeps of each mapping only what may refer to code."""

    def __init__(self, scan: FileScan) -> None:
        self._scan = scan
        self._open: list[_Collection] = []
        self._anchored: dict[str, tuple[object, int]] = {}  # value, and the nodes in it with its aliases expanded

    def read(self, text: str) -> None:
        import yaml

        for event in yaml.parse(text, Loader=yaml.SafeLoader):  # the pure Python one: no C library on hostile bytes
            self._scan.budget.check_time()
            tag = getattr(event, "tag", None)
            if tag is not None and tag != "!":
                self._tag(tag, event)
            if isinstance(event, yaml.CollectionStartEvent):
                if len(self._open) >= _DEEPEST:
                    raise LimitExceeded(f"YAML nested more than {_DEEPEST} deep")
                self._open.append(_Collection(event))
            elif isinstance(event, yaml.CollectionEndEvent):
                self._close(self._open.pop())
            elif isinstance(event, yaml.ScalarEvent):
                is_null = event.implicit[0] and event.value in _NULLS
                self._value(None if is_null else event.value, 1, event.anchor)
            elif isinstance(event, yaml.AliasEvent):
                if event.anchor not in self._anchored:
                    raise Malformed(f"an alias of nothing: {shown(event.anchor or '')}")
                value, weight = self._anchored[event.anchor]
                self._value(value, weight, None)

    def _close(self, collection: _Collection) -> None:
        if collection.is_mapping and not KEYS.isdisjoint(collection.members):
            for rule, detail in references_in(collection.members):
                self._scan.found(rule, detail)
        for key, value in collection.members.items():
            if "template" in key:
                report_templates(self._scan, key, value)
        value = collection.members if collection.is_mapping else collection.items
        self._value(value, collection.weight, collection.anchor)

    def _value(self, value: object, weight: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchored[anchor] = value, weight
        if weight > _MOST_EXPANDED:
            self._scan.found(ALIASES)
            raise LimitExceeded(f"its aliases stand for more than {_MOST_EXPANDED} values")
        if self._open and not self._open[-1].add(value, weight):
            self._scan.found(DUPLICATE)

    def _tag(self, tag: str, event: yaml.Event) -> None:
        line = f"line {event.start_mark.line + 1}: " if event.start_mark is not None else ""
        if not tag.startswith(_STANDARD):
            target = tag.lstrip("!").partition(":")[2] or tag.lstrip("!")
            rule = DANGEROUS if is_dangerous(target) else CUSTOM_TAG
            self._scan.found(rule, line + shown(tag))
            return
        name = tag.removeprefix(_STANDARD)
        if name in _PLAIN:
            return
        kind = name.removeprefix("python/")
        target = kind.rpartition(":")[2]
        calls = kind.removeprefix("object/").startswith(_CALLING)
        harmful = is_dangerous(target) or (calls and target not in _SIMPLE)
        self._scan.found(PYTHON_CALL if harmful else PYTHON_OBJECT, line + shown(f"!!{name}"))


class _Collection:
    """A mapping or sequence that is still open."""

    def __init__(self, event: yaml.CollectionStartEvent) -> None:
        import yaml

        self.is_mapping = isinstance(event, yaml.MappingStartEvent)
        self.anchor: str | None = event.anchor
        self.members: dict[str, object] = {}
        self.items: list[object] = []
        self.weight = 1
        self._key: tuple[object] | None = None

    def add(self, value: object, weight: int) -> bool:
        """Whether it could be added; not the value of a key that was there before."""
        self.weight += weight
        if not self.is_mapping:
            self.items.append(value)
        elif self._key is None:
            self._key = (value,)
        else:
            key, self._key = self._key[0], None
            if isinstance(key, str):
                if key in self.members:
                    return False
                self.members[key] = (
                    value in ("true", "True", "TRUE", "yes", "on") if key == "trust_remote_code" else value
                )
        return True


FORMATS: Final = (Format(name="yaml", matches=_matches, scan=_scan),)
