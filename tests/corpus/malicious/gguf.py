"""GGUF: templates that attack, counts and offsets that lie, payloads where no tensor is."""

from __future__ import annotations

import struct
from typing import Any, Final

from tests.corpus.formats.pickles import stream
from tests.corpus.formats.zips import zipped
from tests.corpus.malicious.common import ATTACK, one_file
from tests.corpus.malicious.templates import LOOP, attack
from tests.corpus.specimen import MALICIOUS, NEVER_CLEAN, Specimen, Verdict
from tests.support.weights import gguf_bytes, gguf_string, gguf_value

PICKLE: Final = stream(4, ATTACK)
F32: Final = 0
Pairs = dict[str, tuple[str, Any]]
NAMED: Final[Pairs] = {"general.architecture": ("string", "llama"), "general.name": ("string", "tiny")}


def specimens() -> list[Specimen]:
    return [*_templates(), *_disguises(), *_counts(), *_tensors(), *_pairs()]


def _file(
    name: str,
    reference: str,
    description: str,
    content: bytes,
    *,
    expected: frozenset[Verdict] = NEVER_CLEAN,
    loader: str | None = None,
) -> Specimen:
    return one_file(
        f"gguf-{name}", "gguf", reference, description, "model.gguf", content, expected=expected, loader=loader
    )


def gguf(pairs: Pairs | None = None) -> bytes:
    """A file with one small tensor."""
    return gguf_bytes({**NAMED, **(pairs or {})}, {"output.weight": (F32, (8,), 32)})


def _templates() -> list[Specimen]:
    key = "tokenizer.chat_template"
    return [
        _file(
            "CVE-2024-34359",
            "CVE-2024-34359",
            "The chat template runs a command",
            gguf({key: ("string", LOOP + attack())}),
            expected=MALICIOUS,
        ),
        _file(
            "CVE-2026-5760",
            "CVE-2026-5760",
            "The chat template of a reranker runs a command",
            gguf({key: ("string", _reranker())}),
            expected=MALICIOUS,
        ),
        _file(
            "template-named",
            "CVE-2024-34359",
            "The default template is honest, the one for tools is not",
            gguf(
                {
                    key: ("string", LOOP),
                    f"{key}s": ("[string]", ["tool_use"]),
                    f"{key}.tool_use": ("string", attack("lipsum")),
                }
            ),
            expected=MALICIOUS,
        ),
        _file(
            "template-key-twice",
            "duplicate key",
            "Two templates by one key, of which the first is honest",
            _raw([(key, ("string", LOOP)), (key, ("string", attack()))]),
            expected=MALICIOUS,
        ),
    ]


def _reranker() -> str:
    judge = "Judge whether the Document meets the requirements based on the Query and the Instruct provided."
    return f"{judge} The answer can only be yes or no.\n{attack('lipsum')}"


def _disguises() -> list[Specimen]:
    return [
        _file("is-pickle", "extension", "A pickle by the name of a GGUF", PICKLE, expected=MALICIOUS, loader="pickle"),
        _file(
            "trailing-zip",
            "polyglot",
            "A zip with a pickle behind the tensors",
            gguf() + zipped({"archive/data.pkl": PICKLE}),
            loader="zip-member:archive/data.pkl",
        ),
        _file("trailing-pickle", "trailing bytes", "A pickle behind the tensors", gguf() + PICKLE),
        _file("padding-is-pickle", "gap", "A pickle in the padding before the tensors", _pickle_in_padding()),
    ]


def _raw(
    pairs: list[tuple[str, tuple[str, Any]]],
    *,
    tensors: list[tuple[str, tuple[int, ...], int, int]] | None = None,
    version: int = 3,
    tensor_count: int | None = None,
    pair_count: int | None = None,
    data: bytes = bytes(32),
    order: str = "<",
) -> bytes:
    """Any counts, any order, keys as often as wanted; a tensor is name, dimensions, type, offset."""
    tensors = [("output.weight", (8,), F32, 0)] if tensors is None else tensors
    counts = (len(tensors) if tensor_count is None else tensor_count, len(pairs) if pair_count is None else pair_count)
    out = b"GGUF" + struct.pack(f"{order}IQQ", version, *counts)
    out += b"".join(gguf_string(key) + gguf_value(kind, value) for key, (kind, value) in pairs)
    for name, dims, kind, offset in tensors:
        out += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
    return out + bytes(-len(out) % 32) + data


def _pickle_in_padding() -> bytes:
    """The alignment is 4096, and what pads up to it is a pickle."""
    pairs = [*NAMED.items(), ("general.alignment", ("uint32", 4096))]
    head = _raw(pairs, data=b"").rstrip(b"\0")
    head += bytes(-len(head) % 32)
    return head + PICKLE.ljust(4096 - len(head), b"\0") + bytes(32)


def _counts() -> list[Specimen]:
    named = list(NAMED.items())
    huge = 1 << 62
    files = {
        "tensor-count": ("More tensors than fit in any file", _raw(named, tensor_count=huge)),
        "pair-count": ("More keys than fit in any file", _raw(named, pair_count=huge)),
        "tensor-count-too-small": ("A tensor fewer than there are", _raw(named, tensor_count=0)),
        "string-length": ("A text longer than the file", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, huge) + b"key"),
        "array-length": ("An array longer than the file", _key(struct.pack("<IIQ", 9, 4, huge))),
        "array-of-empty-texts": ("An array of 10^9 empty texts in few bytes", _key(struct.pack("<IIQ", 9, 8, 10**9))),
        "arrays-deep": (
            "Arrays nested ten thousand deep",
            _key(struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 10_000),
        ),
        "unknown-value": ("A value of a type that does not exist", _key(struct.pack("<I", 77))),
        "version": ("A version that does not exist", _raw(named, version=99)),
        "big-endian": ("Another byte order under the same magic", _raw(named, version=3, order=">")),
        "truncated": ("The last tensor is cut short", _raw(named, data=bytes(7))),
    }
    return [_file(name, "lying counts", description, content) for name, (description, content) in files.items()]


def _key(value: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_string("general.tags") + value


def _tensors() -> list[Specimen]:
    named = list(NAMED.items())

    def two(first: int, second: int, data: bytes) -> bytes:
        return _raw(named, tensors=[("a", (8,), F32, first), ("b", (8,), F32, second)], data=data)

    files = {
        "overlap": ("Two tensors share bytes", two(0, 0, bytes(64))),
        "gap": ("A pickle lies between two tensors", two(0, 4096, bytes(32) + PICKLE.ljust(4064, b"\0") + bytes(32))),
        "offset-beyond": ("A tensor behind the file", two(0, 1 << 40, bytes(64))),
        "offset-overflow": ("An offset that overflows with the size", two(0, (1 << 64) - 32, bytes(64))),
        "offset-misaligned": ("A tensor that is not aligned", two(0, 33, bytes(72))),
        "dimensions-overflow": (
            "Dimensions whose product overflows",
            _raw(named, tensors=[("a", (1 << 33, 1 << 33, 2, 2), F32, 0)]),
        ),
        "dimensions-hundred": ("A tensor of a hundred dimensions", _raw(named, tensors=[("a", (1,) * 100, F32, 0)])),
        "unknown-type": ("A tensor of a type that does not exist", _raw(named, tensors=[("a", (8,), 4242, 0)])),
        "tensor-twice": (
            "A tensor's name twice",
            _raw(named, tensors=[("a", (8,), F32, 0), ("a", (8,), F32, 32)], data=bytes(64)),
        ),
    }
    return [_file(name, "offsets", description, content) for name, (description, content) in files.items()]


def _pairs() -> list[Specimen]:
    aligned = {"zero": 0, "odd": 3, "huge": 0x80000000}
    found = [
        _file(
            f"alignment-{name}",
            "alignment",
            f"An alignment of {value}",
            _raw([("general.alignment", ("uint32", value))]),
        )
        for name, value in aligned.items()
    ]
    twice = [("general.alignment", ("uint32", 32)), ("general.alignment", ("uint32", 64))]
    text = [("general.alignment", ("string", "32"))]
    return [
        *found,
        _file("key-twice", "duplicate key", "Two alignments", _raw([*NAMED.items(), *twice])),
        _file("alignment-text", "alignment", "An alignment that is a text", _raw(text)),
    ]
