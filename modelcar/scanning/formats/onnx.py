"""ONNX: a graph of operators and their numbers; every field is known, every path stays in the folder."""

from __future__ import annotations

import re
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.formats.onnx_schema import ELEMENT_BITS, SCHEMA
from modelcar.scanning.limits import LimitExceeded
from modelcar.scanning.protobuf import RULES as WIRE_RULES
from modelcar.scanning.protobuf import Occurrence, Wire
from modelcar.scanning.secrets import report_secrets

__all__ = ["FORMATS", "RULES"]

ESCAPE: Final = Rule(
    id="onnx.path-escape",
    severity=Severity.MALICIOUS,
    title="ONNX data in a file outside the model's folder",
    why="Whoever loads the model reads that file into it, be it a password file (CVE-2022-25882, CVE-2024-27318).",
    fix="Do not load this model; report it to where it came from.",
)
EXTERNAL: Final = Rule(
    id="onnx.external-data",
    severity=Severity.UNVERIFIED,
    title="ONNX data in a file beside the model",
    why="That file may be missing or be another one where the model is loaded, and has no structure to check.",
    fix="Save the model with its data inside (up to 2 GiB), or convert it to safetensors.",
)
CUSTOM: Final = Rule(
    id="onnx.custom-operator",
    severity=Severity.UNVERIFIED,
    title="an operator that ONNX does not define",
    why="It is carried out by a native library that the model brings along or asks for.",
    fix="Find out which library implements it, and whether you trust it.",
)
PYTHON: Final = Rule(
    id="onnx.python-operator",
    severity=Severity.UNVERIFIED,
    title="an operator that calls Python",
    why="Runtimes that support it run a Python function by the name that stands in the model.",
    fix="Use a model made of ordinary operators.",
)
COMPILED: Final = Rule(
    id="onnx.compiled-part",
    severity=Severity.UNVERIFIED,
    title="a part that is compiled for one device",
    why="What is in it is known to the driver of that device alone, and may lie in another file.",
    fix="Use the model that it was compiled from.",
)
SIZE: Final = Rule(
    id="onnx.tensor-size",
    severity=Severity.UNVERIFIED,
    title="a tensor with more or fewer bytes than its shape takes",
    why="Bytes that belong to no element are seen by nobody; missing ones are read from elsewhere.",
    fix="Have the model saved anew.",
)
DATA: Final = Rule(
    id="onnx.external-data-file",
    severity=Severity.UNVERIFIED,
    title="numbers without anything that says so",
    why="The file has no structure of its own: only the model beside it tells numbers from anything else.",
    fix="Save the model with its data inside (up to 2 GiB), or convert it to safetensors.",
)
RULES: Final = (ESCAPE, EXTERNAL, CUSTOM, PYTHON, COMPILED, SIZE, DATA, *WIRE_RULES)

_DEEPEST: Final = 32  # graphs in graphs, types in types
_LONGEST_TEXT: Final = 1 << 20
_DOMAINS: Final = frozenset(
    {
        "", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training", "ai.onnx.training",
        "com.microsoft", "com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc",
    }
)  # fmt: skip
_PYTHON: Final = re.compile(r"(?i)pyop|pycustomop|py_?func|numpy_?func")
_PYTHON_DOMAINS: Final = ("pyop", "pyopmulti", "ai.onnx.contrib")
_COMPILED: Final = frozenset({"EPContext", "OpenVINO", "SNPE", "TRTKernel"})
_ABSOLUTE: Final = re.compile(r"[/\\~]|[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*://|\*/")
_DATA_NAME: Final = re.compile(r".*\.onnx[._-]?(?:data|weights?)(?:[._-].{0,40})?|.*\.onnx\.(?:bin|ext)")
_COMPLEX: Final = (14, 15)
_CONTINUED: Final = bytes(range(0x80, 0x100))


def _matches(probe: Probe) -> bool:
    return probe.name.endswith(".onnx") or _looks_like_model(probe.head)


def _looks_like_model(head: bytes) -> bool:
    """A version, then the name of a producer, then another of the fields that follow."""
    if len(head) < 5 or head[0] != 0x08 or not 0 < head[1] < 0x20 or head[2] != 0x12:
        return False
    producer = head[4 : 4 + head[3]]
    after = head[4 + head[3] : 5 + head[3]]
    return producer.isascii() and producer.decode().isprintable() and after in (b"\x1a", b'"', b"(", b"2", b":")


class _Model:
    def __init__(self, scan: FileScan) -> None:
        self._scan = scan
        self._wire = Wire(scan, SCHEMA)
        self._used: dict[tuple[str, str], int] = {}
        self._own: set[tuple[str, str]] = set()
        self._graphs = 0

    def read(self) -> None:
        self._message("Model", 0, self._scan.size, 0)
        if not self._graphs:
            raise Malformed("it is no ONNX model: it has no graph")
        for (domain, operator), offset in self._used.items():
            self._operator(domain, operator, offset)

    def _message(self, message: str, start: int, stop: int, depth: int) -> None:
        """Look at a message and everything in it."""
        if depth > _DEEPEST:
            raise LimitExceeded(f"ONNX messages nested more than {_DEEPEST} deep")
        self._graphs += message == "Graph"
        fields = []
        for field in self._wire.fields(message, start, stop):
            if field.field.kind in SCHEMA:
                self._message(field.field.kind, field.start, field.stop, depth + 1)
            elif field.field.name == "doc_string" or message == "Entry":
                self._look_for_secrets(field)
            fields.append(field) if message in ("Node", "Tensor", "Function") else None
        if message == "Node":
            self._node(fields, start)
        elif message == "Function":
            name, domain = self._texts(fields, "name"), self._texts(fields, "domain")
            self._own.update((d, n) for d in domain or [""] for n in name)
        elif message == "Tensor":
            self._tensor(fields, start)

    def _node(self, fields: list[Occurrence], offset: int) -> None:
        domains, operators = self._texts(fields, "domain") or [""], self._texts(fields, "op_type")
        for domain in domains:
            for operator in operators:
                self._used.setdefault((domain, operator), offset)

    def _operator(self, domain: str, operator: str, offset: int) -> None:
        what = shown(f"{domain}:{operator}" if domain else operator)
        if _PYTHON.search(operator) or domain.startswith(_PYTHON_DOMAINS):
            self._scan.found(PYTHON, what, offset=offset)
        elif operator in _COMPILED:
            self._scan.found(COMPILED, what, offset=offset)
        elif domain not in _DOMAINS and (domain, operator) not in self._own:
            self._scan.found(CUSTOM, what, offset=offset)

    def _tensor(self, fields: list[Occurrence], offset: int) -> None:
        kinds = self._numbers(fields, "data_type")
        bits = ELEMENT_BITS.get(kinds[-1]) if kinds else None
        elements = 1
        for dimension in self._numbers(fields, "dims"):
            elements = min(elements * dimension, 1 << 64)
        halves = 2 if bits in (64, 128) and kinds[-1] in _COMPLEX else 1  # two numbers an element
        expected = {
            "raw_data": -(-elements * bits // 8) if bits else 0,
            "float_data": elements * halves * 4,
            "double_data": elements * halves * 8,
        }
        for name, size in expected.items():
            self._check_size(fields, name, sum(f.size for f in fields if f.field.name == name), size)
        per_number = 8 // bits if bits in (2, 4) else 1
        for name in ("int32_data", "int64_data", "uint64_data"):
            self._check_size(fields, name, self._count_numbers(fields, name), -(-elements // per_number), "numbers")
        if self._external(fields) and any(f.field.name == "raw_data" and f.size for f in fields):
            self._scan.found(SIZE, "data inside and outside of the file", offset=offset)

    def _check_size(self, fields: list[Occurrence], name: str, size: int, expected: int, unit: str = "bytes") -> None:
        start = next((field.start for field in fields if field.field.name == name), None)
        if start is not None and size != expected:
            self._scan.found(SIZE, f"{size} {unit} instead of {expected}", offset=start)

    def _numbers(self, fields: list[Occurrence], name: str) -> list[int]:
        return [number for field in fields if field.field.name == name for number in self._wire.numbers(field)]

    def _count_numbers(self, fields: list[Occurrence], name: str) -> int:
        """Each ends with the only byte below 128 in it."""
        ranges = [(field.start, field.size) for field in fields if field.field.name == name]
        pieces = (piece for start, size in ranges for piece in self._scan.content.pieces(start, size))
        return sum(len(piece.translate(None, _CONTINUED)) for piece in pieces)

    def _external(self, fields: list[Occurrence]) -> bool:
        """Look at where a tensor's data lie; whether it says anything about that."""
        entries = [f for f in fields if f.field.name == "external_data"]
        for entry in entries:
            parts = list(self._wire.fields("Entry", entry.start, entry.stop))
            keys, values = self._texts(parts, "key"), self._texts(parts, "value")
            if "location" in keys:
                for location in values or [""]:
                    self._location(location, entry.start)
            elif any(not re.fullmatch("[0-9]{1,19}", value) for value in values) and {"offset", "length"} & {*keys}:
                raise Malformed("external data with an offset or a length that is no number", entry.start)
        return bool(entries)

    def _location(self, location: str, offset: int) -> None:
        if _ABSOLUTE.match(location) or ".." in re.split(r"[/\\]", location) or "\0" in location:
            self._scan.found(ESCAPE, shown(location), offset=offset)
        elif not location:
            raise Malformed("external data without a location", offset)
        else:
            self._scan.found(EXTERNAL, shown(location))

    def _texts(self, fields: list[Occurrence], name: str) -> list[str]:
        return [self._wire.text(field, 4096) for field in fields if field.field.name == name]

    def _look_for_secrets(self, field: Occurrence) -> None:
        if 8 < field.size <= _LONGEST_TEXT:
            report_secrets(self._scan, self._scan.read(field.start, field.size), field.start)


def _scan(scan: FileScan) -> None:
    _Model(scan).read()
    scan.account_for_all()  # every known field has been looked at, and every unknown one reported


def _matches_data(probe: Probe) -> bool:
    return _DATA_NAME.fullmatch(probe.name) is not None


def _scan_data(scan: FileScan) -> None:
    scan.found(DATA)
    scan.account_for_all()


FORMATS: Final = (
    Format(name="onnx", matches=_matches, scan=_scan),
    Format(name="onnx-data", matches=_matches_data, scan=_scan_data),
)
