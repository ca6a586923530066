"""Archives that write outside the folder they are unpacked in, or hide what they hold."""

from __future__ import annotations

import bz2
import lzma
from typing import Final

from tests.corpus.formats.compressed import zstd
from tests.corpus.formats.pickles import stream
from tests.corpus.formats.tars import device, fifo, file, gzipped, hardlink, link, tar_of
from tests.corpus.formats.zips import LINK, Member, zip_of, zipped
from tests.corpus.malicious.common import ATTACK, one_file
from tests.corpus.specimen import NEVER_CLEAN, Specimen
from tests.support.weights import simple_safetensors

PICKLE: Final = stream(4, ATTACK)
WEIGHTS: Final = simple_safetensors("a")


def specimens() -> list[Specimen]:
    return [*_tar_paths(), *_zip_paths(), *_same_names(), *_nested()]


def _archive(name: str, reference: str, description: str, path: str, content: bytes) -> Specimen:
    return one_file(f"archive-{name}", "archive", reference, description, path, content, expected=NEVER_CLEAN)


def _tar_paths() -> list[Specimen]:
    good = file("model.safetensors", WEIGHTS)
    escaping = tar_of(good, file("weights/../../.bashrc", b"true\n"))
    renamed = file("config.json", b"{}")
    renamed[0].pax_headers = {"path": "../../.bashrc"}
    sized = file("config.json", b"{}" + bytes(510))
    sized[0].pax_headers = {"size": "1099511627776"}
    tars = {
        "parent": ("traversal", "A member in a parent folder", escaping),
        "absolute": ("traversal", "A member with an absolute path", tar_of(good, file("/etc/cron.d/model", b"\n"))),
        "pax-path": ("traversal", "A harmless name that an extended header replaces", tar_of(good, renamed)),
        "pax-size": ("lying header", "An extended header with a size of a terabyte", tar_of(sized)),
        "gnu-long-name": (
            "traversal",
            "The same by GNU's long names",
            tar_of(good, file("a/" * 60 + "../" * 61 + "x", b"\n"), pax=False),
        ),
        "link-out": (
            "link",
            "A symbolic link that leaves the folder",
            tar_of(link("model.safetensors", "../../../etc/passwd")),
        ),
        "link-then-through": (
            "link",
            "A link to a folder outside, then a member that is written through it",
            tar_of(link("weights", "/opt"), file("weights/model.bin", b"\n")),
        ),
        "link-chain": (
            "link",
            "Links each of which stays, and which leave together",
            tar_of(link("a", "b/c"), link("b", "."), link("c", ".."), file("a/c/x", b"\n")),
        ),
        "hardlink-out": (
            "link",
            "A hard link to a file outside",
            tar_of(hardlink("model.safetensors", "../../etc/shadow")),
        ),
        "device": ("device", "The first disk as a device", tar_of(good, device("weights.bin"))),
        "fifo": ("device", "A pipe, on which a reader waits for ever", tar_of(good, fifo("weights.bin"))),
        "damaged-checksum": (
            "malformed",
            "A header whose checksum is wrong: some readers stop there, some skip it",
            _damaged(),
        ),
        "after-end": (
            "trailing bytes",
            "Another tar behind the end of the first",
            tar_of(good) + tar_of(file("model.pkl", PICKLE)),
        ),
    }
    return [
        _archive(f"tar-{name}", reference, f"tar: {description}", "model.tar", content)
        for name, (reference, description, content) in tars.items()
    ]


def _damaged() -> bytes:
    whole = bytearray(tar_of(file("config.json", b"{}"), file("model.pkl", PICKLE)))
    whole[1024 + 148 : 1024 + 154] = b"000001"
    return bytes(whole)


def _zip_paths() -> list[Specimen]:
    good = Member(name="model.safetensors", data=WEIGHTS)
    zips = {
        "parent": ("traversal", "A member in a parent folder", Member(name="../../.bashrc", data=b"true\n")),
        "absolute": ("traversal", "A member with an absolute path", Member(name="/etc/cron.d/model", data=b"\n")),
        "backslashes": ("traversal", "A parent in Windows' spelling", Member(name="..\\..\\startup.bat", data=b"\r\n")),
        "drive": ("traversal", "A member on a drive", Member(name="C:\\Windows\\model.dll", data=b"\r\n")),
        "link-out": (
            "link",
            "A symbolic link that leaves the folder",
            Member(name="weights", data=b"../../etc", mode=LINK),
        ),
        "nul": ("name", "A name that goes on after a NUL", Member(name="model.pkl\0.txt", data=PICKLE)),
        "empty-name": ("name", "A member without a name", Member(name="", data=PICKLE)),
        "latin1": ("name", "A name that is neither UTF-8 nor ASCII", Member(name=b"mod\xe9le.pkl", data=PICKLE)),
        "encrypted": (
            "encrypted",
            "A member that only a password opens",
            Member(name="model.bin", data=bytes(40), flags=1),
        ),
    }
    return [
        _archive(f"zip-{name}", reference, f"zip: {description}", "model.zip", zip_of(good, member))
        for name, (reference, description, member) in zips.items()
    ]


def _same_names() -> list[Specimen]:
    """Names that are one on the file systems of others."""
    twice = {
        "exact": ("model.safetensors", "model.safetensors"),
        "case": ("model.safetensors", "Model.safetensors"),
        "unicode": ("mod\N{LATIN SMALL LETTER E WITH ACUTE}le.bin", "mode\N{COMBINING ACUTE ACCENT}le.bin"),
        "sharp-s": ("stra\N{LATIN SMALL LETTER SHARP S}e.bin", "STRASSE.bin"),
        "dots": ("weights/model.bin", "weights/./model.bin"),
    }
    found = []
    for name, (first, second) in twice.items():
        tar = tar_of(file(first, WEIGHTS), file(second, PICKLE))
        zip_ = zip_of(Member(name=first, data=WEIGHTS), Member(name=second, data=PICKLE))
        description = f"Two members of one name, the second of which attacks ({name})"
        found.append(_archive(f"tar-twice-{name}", "duplicate member", f"tar: {description}", "model.tar", tar))
        found.append(_archive(f"zip-twice-{name}", "duplicate member", f"zip: {description}", "model.zip", zip_))
    return found


def _nested() -> list[Specimen]:
    inner = tar_of(file("deep/model.pkl", PICKLE))
    deep = PICKLE
    for i in range(40):
        deep = zipped({f"level{i}.zip": deep})
    single = {
        "gz": gzipped(PICKLE),
        "bz2": bz2.compress(PICKLE),
        "xz": lzma.compress(PICKLE),
        "zst": zstd(PICKLE),
    }
    packed = [
        _archive(f"packed-{name}", "nested archive", f"A pickle packed as .{name}", f"model.pkl.{name}", content)
        for name, content in single.items()
    ]
    return [
        *packed,
        _archive(
            "tar-in-zip-in-gzip",
            "nested archive",
            "A pickle in a tar in a zip in a gzip",
            "weights.bin",
            gzipped(zipped({"weights.dat": inner})),
        ),
        _archive(
            "gzip-second-member",
            "nested archive",
            "A gzip of two members; the pickle is the second",
            "weights.bin.gz",
            gzipped(b"") + gzipped(PICKLE),
        ),
        _archive(
            "gzip-trailing",
            "trailing bytes",
            "A pickle behind a gzip, not packed",
            "vocab.txt.gz",
            gzipped(b"vocabulary\n") + PICKLE,
        ),
        _archive("forty-deep", "nested archive", "A pickle forty zips deep", "weights.zip", deep),
        _archive(
            "tar-of-torch",
            "nested archive",
            "A pickle by the name of a picture in a gzipped tar",
            "assets.tgz",
            gzipped(tar_of(file("logo.png", PICKLE))),
        ),
    ]
