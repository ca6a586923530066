"""Streams that lie about their ends: several in one file, payloads before a break, frames, sizes that are not true."""

from __future__ import annotations

import struct
from typing import Final

from tests.corpus.formats.pickles import (
    DUP,
    EMPTY_DICT,
    EMPTY_TUPLE,
    MARK,
    NONE,
    POP,
    POP_MARK,
    SETITEM,
    STOP,
    TUPLE2,
    binary,
    call,
    dictionary,
    frame,
    integer,
    list_of,
    proto,
    stack_glob,
    stream,
    text,
)
from tests.corpus.malicious.common import ATTACK, HARMLESS, pickled
from tests.corpus.payloads import SHELL
from tests.corpus.specimen import NEVER_CLEAN, Specimen

ATTACK4: Final = call(stack_glob("os", "system"), text(SHELL))


def specimens() -> list[Specimen]:
    return [*_several(), *_broken(), *_frames(), *_lies(), *_exhausting()]


def _several() -> list[Specimen]:
    harmless, attack = stream(2, HARMLESS), stream(2, ATTACK)
    weights = dictionary({"weights": binary(bytes(range(200)))})
    return [
        pickled(
            "pickle-second-stream",
            "concatenated",
            "A harmless pickle, then one that attacks",
            harmless + attack,
            loader="pickles",
        ),
        pickled(
            "pickle-hundredth-stream",
            "concatenated",
            "The attack is the hundredth pickle",
            harmless * 99 + attack,
            loader="pickles",
        ),
        pickled(
            "pickle-after-stop-and-zeros",
            "payload after STOP",
            "Zeros to the next block after STOP, then the attack, for a program that seeks there",
            harmless + bytes(512 - len(harmless)) + attack,
            loader="pickle-at-512",
        ),
        pickled(
            "pickle-inside-bytes",
            "nested pickle",
            "A whole attacking pickle as a value: whoever unpickles it too is hit",
            stream(4, dictionary({"weights": text("w"), "tokenizer": binary(attack)})),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-nops-before",
            "padding",
            "Fifty thousand times MARK and POP_MARK before the attack",
            stream(2, (MARK + POP_MARK) * 50_000, ATTACK),
        ),
        pickled(
            "pickle-attack-thrown-away",
            "discarded result",
            "What the attack returned is popped: the result is a plain dictionary of weights",
            stream(2, ATTACK, POP, weights),
        ),
        pickled(
            "pickle-attack-as-key",
            "discarded result",
            "The attack is a key deep inside the dictionary",
            stream(2, weights, EMPTY_DICT, list_of(EMPTY_DICT + ATTACK + NONE + SETITEM), POP, POP),
        ),
    ]


def _broken() -> list[Specimen]:
    return [
        pickled(
            "pickle-broken-after-payload",
            "nullifAI",
            "An opcode that does not exist comes after the payload",
            proto(2) + ATTACK + b"\xff" * 40,
        ),
        pickled(
            "pickle-truncated-after-payload",
            "nullifAI",
            "The file ends after the payload, without STOP",
            proto(2) + ATTACK,
        ),
        pickled(
            "pickle-truncated-in-argument",
            "nullifAI",
            "The file ends inside an argument that follows the payload",
            proto(4) + ATTACK4 + b"X" + struct.pack("<I", 1 << 20) + b"weights",
        ),
        pickled(
            "pickle-stack-underflow-after-payload",
            "nullifAI",
            "The payload, then more POPs than there are objects",
            proto(2) + ATTACK + POP * 5 + STOP,
        ),
        pickled(
            "pickle-bad-memo-after-payload",
            "nullifAI",
            "The payload, then a memo entry that was never made",
            proto(2) + ATTACK + b"h\x63" + STOP,
        ),
        pickled(
            "pickle-bad-text-after-payload",
            "nullifAI",
            "The payload, then text that is not UTF-8",
            proto(2) + ATTACK + b"\x8c\x04\xff\xfe\xfd\xfc" + STOP,
        ),
    ]


def _frames() -> list[Specimen]:
    pieces = [text("os"), text("system"), b"\x93", text(SHELL), b"\x85", b"R"]
    return [
        pickled(
            "pickle-frame-too-short",
            "FRAME",
            "A frame of one byte around a longer opcode",
            stream(4, frame(ATTACK4, 1)),
        ),
        pickled(
            "pickle-frame-empty",
            "FRAME",
            "An empty frame before every opcode",
            stream(4, *(frame(b"") + p for p in pieces)),
        ),
        pickled("pickle-frame-nested", "FRAME", "Frames inside a frame", stream(4, frame(frame(frame(ATTACK4))))),
        pickled(
            "pickle-frame-too-long-after-payload",
            "FRAME",
            "After the payload a frame that claims a terabyte",
            proto(4) + ATTACK4 + frame(NONE + STOP, 1 << 40),
        ),
        pickled("pickle-frame-in-protocol-2", "FRAME", "A frame in a protocol that has none", stream(2, frame(ATTACK))),
    ]


def _lies() -> list[Specimen]:
    """Nothing runs, and nobody can say what the files are: each must be unverified at least."""
    broken = {
        "pickle-claims-exabyte": (
            "BINBYTES8",
            "Bytes that claim more than any file holds",
            b"\x8e" + struct.pack("<Q", 1 << 60),
        ),
        "pickle-claims-negative": ("LONG4", "A number of a negative length", b"\x8b" + struct.pack("<i", -1)),
        "pickle-protocol-255": ("PROTO", "A protocol that does not exist", proto(255) + NONE),
        "pickle-no-stop": ("truncated", "A dictionary without STOP", dictionary({"a": integer(1)})),
        "pickle-empty-stack": ("underflow", "STOP with nothing on the stack", b""),
        "pickle-next-buffer": ("NEXT_BUFFER", "Needs a buffer from outside the stream", b"\x97"),
    }
    found = []
    for name, (reference, description, body) in broken.items():
        content = proto(4) + body + (b"" if name == "pickle-no-stop" else STOP)
        found.append(pickled(name, reference, description, content, expected=NEVER_CLEAN, loader=None))
    return found


def _exhausting() -> list[Specimen]:
    doubled = EMPTY_TUPLE + (DUP + TUPLE2) * 60
    return [
        pickled(
            "pickle-hash-bomb",
            "resource exhaustion",
            "A tuple of 2^60 leaves that share, as a key: hashing it never ends",
            stream(4, EMPTY_DICT, doubled, NONE, SETITEM),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-memo-bomb",
            "resource exhaustion",
            "A memo index that makes the loader allocate 32 GiB",
            stream(2, NONE, b"r" + struct.pack("<I", 0xFFFFFFFE)),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-long-bomb",
            "resource exhaustion",
            "A number of a million decimal digits, which takes quadratic time to read",
            stream(None, b"L" + b"9" * 1_000_000 + b"L\n"),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        pickled(
            "pickle-deep-nesting",
            "resource exhaustion",
            "Lists a hundred thousand deep: freeing them has crashed interpreters",
            stream(2, b"]" * 100_000, b"a" * 99_999),
            expected=NEVER_CLEAN,
            loader=None,
        ),
    ]
