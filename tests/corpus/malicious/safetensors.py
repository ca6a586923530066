"""safetensors that are no safetensors, or more than that; every rule of the format broken once."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from tests.corpus.formats.pickles import POP, line_call, stream
from tests.corpus.formats.zips import zipped
from tests.corpus.malicious.common import ATTACK, one_file
from tests.corpus.payloads import SHELL
from tests.corpus.specimen import MALICIOUS, NEVER_CLEAN, Specimen, Verdict
from tests.support.weights import raw_safetensors, simple_safetensors

PICKLE: Final = stream(4, ATTACK)


def specimens() -> list[Specimen]:
    return [*_disguises(), *_polyglots(), *_headers(), *_offsets()]


def _file(
    name: str,
    reference: str,
    description: str,
    content: bytes,
    *,
    expected: frozenset[Verdict] = NEVER_CLEAN,
    loader: str | None = None,
) -> Specimen:
    full = f"safetensors-{name}"
    return one_file(
        full, "safetensors", reference, description, "model.safetensors", content, expected=expected, loader=loader
    )


def _disguises() -> list[Specimen]:
    lines = stream(None, line_call("os", "system", SHELL))
    return [
        _file(
            "is-pickle",
            "extension",
            "A pickle by the name of a safetensors file",
            PICKLE,
            expected=MALICIOUS,
            loader="pickle",
        ),
        _file(
            "is-text-pickle", "extension", "A pickle in text by that name", lines, expected=MALICIOUS, loader="pickle"
        ),
        _file("empty", "truncated", "No byte at all", b""),
        _file("is-html", "extension", "The error page of a download", b"<!DOCTYPE html><html><body>401</body></html>"),
    ]


def _polyglots() -> list[Specimen]:
    honest, archive = simple_safetensors("a", "b"), zipped({"archive/data.pkl": stream(2, ATTACK)})
    return [
        _file(
            "trailing-zip",
            "polyglot",
            "A zip with the attack behind the tensors",
            honest + archive,
            loader="zip-member:archive/data.pkl",
        ),
        _file("trailing-pickle", "trailing bytes", "A pickle with the attack behind the tensors", honest + PICKLE),
        _file("trailing-zeros", "trailing bytes", "A page of zeros behind the tensors", honest + bytes(4096)),
        _file(
            "tensor-is-zip",
            "polyglot",
            "Every rule is kept, and the bytes of a tensor make the file a zip",
            _tensors({"a": ("U8", [len(archive)], archive)}),
            loader="zip-member:archive/data.pkl",
        ),
        _file(
            "is-pickle-too",
            "polyglot",
            "Every rule is kept, and read as a pickle the file attacks: its length and header are one long text",
            _pickle_polyglot(),
            loader="pickle",
        ),
    ]


def _tensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return raw_safetensors(json.dumps(header).encode(), data)


def _pickle_polyglot() -> bytes:
    """The low byte of the header's length is the opcode V, a text up to the next newline.

    That newline stands before the header's last brace. As an opcode the brace is an empty dictionary, and what comes
    next is the data of the only tensor: the rest of the pickle.
    """
    data = POP + ATTACK + b"."
    header = json.dumps({"a": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    room = (ord("V") - len(header) - 1) % 256
    whole = header[:-1] + b" " * room + b"\n}"
    return struct.pack("<Q", len(whole)) + whole + data


def _headers() -> list[Specimen]:
    one = '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
    texts = {
        "duplicate-tensor": (
            "duplicate key",
            "A tensor's name twice, with other bytes",
            f"{{{one},{one.replace('0,4', '4,8')}}}",
            8,
        ),
        "duplicate-tensor-same-bytes": (
            "duplicate key",
            "A tensor's name twice, of the same bytes and another type",
            f"{{{one},{one.replace('U8', 'F32').replace('[4]', '[1]')}}}",
            4,
        ),
        "duplicate-field": (
            "duplicate key",
            "A field twice, with other values",
            '{"a":{"dtype":"U8","dtype":"F32","shape":[4],"data_offsets":[0,4]}}',
            4,
        ),
        "duplicate-metadata": (
            "duplicate key",
            "The metadata twice",
            f'{{"__metadata__":{{"a":"b"}},"__metadata__":{{"a":"c"}},{one}}}',
            4,
        ),
        "leading-spaces": ("header", "Spaces before the header", f"    {{{one}}}", 4),
        "extra-field": (
            "header",
            "A tensor with a field that the format does not have",
            f'{{{one[:-1]},"hook":"os.system"}}}}',
            4,
        ),
        "metadata-object": (
            "header",
            "Metadata that are no texts",
            f'{{"__metadata__":{{"format":{{"exec":"os.system"}}}},{one}}}',
            4,
        ),
        "metadata-number": ("header", "Metadata that are a number", f'{{"__metadata__":1,{one}}}', 4),
        "not-utf8": ("header", "A name that is not UTF-8", f"{{{one.replace('a', chr(0xFF), 1)}}}", 4),
        "lone-surrogate": (
            "header",
            "A name with half a character",
            f"{{{one.replace('a', chr(92) + 'ud800', 1)}}}",
            4,
        ),
        "trailing-json": ("header", "A second object behind the first", f"{{{one}}}{{}}", 4),
        "not-an-object": ("header", "A list for a header", "[]", 0),
        "deep": (
            "resource exhaustion",
            "Nested a hundred thousand deep",
            '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
            0,
        ),
        "unknown-dtype": ("header", "A type that does not exist", f"{{{one.replace('U8', 'PY')}}}", 4),
        "negative-shape": ("shape", "A negative dimension, twice", f"{{{one.replace('[4]', '[-2,-2]')}}}", 4),
        "float-shape": ("shape", "A dimension of 4.0", f"{{{one.replace('[4]', '[4.0]')}}}", 4),
        "overflowing-shape": (
            "shape",
            "Dimensions whose product is 4 in 64 bits",
            f"{{{one.replace('[4]', '[4,4294967296,4294967296,2]')}}}",
            4,
        ),
        "shape-and-size": (
            "shape",
            "A shape of more bytes than the offsets give",
            f"{{{one.replace('[4]', '[400]')}}}",
            4,
        ),
    }
    return [
        _file(name, reference, description, raw_safetensors(header.encode("latin-1"), bytes(size)))
        for name, (reference, description, header, size) in texts.items()
    ]


def _offsets() -> list[Specimen]:
    def pair(first: str, second: str) -> bytes:
        entry = '"{}":{{"dtype":"U8","shape":[{}],"data_offsets":[{}]}}'
        sizes = [end - start for start, end in (map(int, text.split(",")) for text in (first, second))]
        return f"{{{entry.format('a', sizes[0], first)},{entry.format('b', sizes[1], second)}}}".encode()

    honest = simple_safetensors("a")
    return [
        _file("overlap", "offsets", "Two tensors share bytes", raw_safetensors(pair("0,8", "4,12"), bytes(12))),
        _file(
            "gap",
            "offsets",
            "A pickle between two tensors",
            raw_safetensors(pair("0,4", f"{4 + len(PICKLE)},{8 + len(PICKLE)}"), bytes(4) + PICKLE + bytes(4)),
        ),
        _file(
            "begins-late",
            "offsets",
            "The first tensor does not begin at 0",
            raw_safetensors(pair("8,12", "12,16"), bytes(16)),
        ),
        _file(
            "beyond-end",
            "offsets",
            "A tensor ends behind the file",
            raw_safetensors(pair("0,8", "8,1048576"), bytes(16)),
        ),
        _file("misaligned", "offsets", "A tensor of float64 at an odd offset", _misaligned()),
        _file(
            "header-too-long",
            "length",
            "A header longer than the format allows",
            raw_safetensors(b"{}", length=100_000_001),
        ),
        _file("header-exabyte", "length", "A header of an exabyte", raw_safetensors(b"{}", length=1 << 60)),
        _file("header-of-zero", "length", "A header of no bytes", raw_safetensors(b"", bytes(8))),
        _file("truncated", "truncated", "The last tensor is cut short", honest[:-3]),
    ]


def _misaligned() -> bytes:
    header = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F64", "shape": [1], "data_offsets": [3, 11]},
    }
    return raw_safetensors(json.dumps(header).encode(), bytes(11))
