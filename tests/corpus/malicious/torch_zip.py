"""PyTorch's zip files, and the liberties that zip takes: what the scanner reads must be what torch reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.corpus.formats.pickles import line_call, stream, text
from tests.corpus.formats.torch_files import members, weights, zip_file
from tests.corpus.formats.zips import DEFLATED, Member, zip_of, zipped
from tests.corpus.malicious.common import ATTACK, one_file
from tests.corpus.payloads import SHELL
from tests.corpus.specimen import MALICIOUS, NEVER_CLEAN, Specimen, Verdict

DATA: Final = stream(2, weights({"step": ATTACK}))
HONEST: Final = stream(2, weights())
LINES: Final = stream(None, line_call("os", "system", SHELL))


def specimens() -> list[Specimen]:
    return [*_plain(), *_members(), *_headers(), *_directories()]


def _torch(
    name: str,
    reference: str,
    description: str,
    content: bytes,
    *,
    expected: frozenset[Verdict] = MALICIOUS,
    loader: str | None = "torch",
    path: str = "pytorch_model.bin",
) -> Specimen:
    return one_file(name, "torch zip", reference, description, path, content, expected=expected, loader=loader)


def _plain() -> list[Specimen]:
    return [
        _torch("torch-zip", "REDUCE", "The attack among the weights of data.pkl", zip_file(DATA)),
        _torch(
            "torch-zip-other-top",
            "name",
            "The archive's folder has a name of its own, and dots",
            zip_file(DATA, top="model.v1.2"),
        ),
        _torch(
            "torch-zip-deflated",
            "compression",
            "data.pkl is deflated, which torch.save never does",
            _with_data(method=DEFLATED),
        ),
        _torch(
            "torch-zip-named-json",
            "CVE-2025-1889",
            "The same file by the name of a configuration",
            zip_file(DATA),
            path="preprocessor_config.json",
        ),
        _torch(
            "torch-zip-named-safetensors",
            "CVE-2025-1889",
            "The same file by the name of a safetensors file",
            zip_file(DATA),
            path="model.safetensors",
        ),
    ]


def _members() -> list[Specimen]:
    return [
        _torch(
            "torch-zip-unnamed-pickle",
            "CVE-2025-1889",
            "A second pickle, in text from end to end, under a name that no list of extensions has",
            zip_file(HONEST, Member(name="archive/config.p", data=LINES)),
            loader="zip-member:archive/config.p",
        ),
        _torch(
            "torch-zip-pickle-without-extension",
            "CVE-2025-1889",
            "The same without any extension",
            zip_file(HONEST, Member(name="archive/LICENSE", data=LINES)),
            loader="zip-member:archive/LICENSE",
        ),
        _torch(
            "torch-zip-pickle-among-storages",
            "CVE-2025-1889",
            "The same where storages lie, though no tensor refers to it",
            zip_file(HONEST, Member(name="archive/data/2", data=stream(2, ATTACK))),
            loader="zip-member:archive/data/2",
        ),
        _torch(
            "torch-zip-nested-zip",
            "nested archive",
            "A zip within the zip, with the attack within that",
            zip_file(HONEST, Member(name="archive/extra/cache.dat", data=zipped({"inner.dat": stream(2, ATTACK)}))),
            loader=None,
        ),
        _torch(
            "torch-zip-duplicate-member",
            "duplicate member",
            "Two members data.pkl, the first of which attacks",
            zip_of(Member(name="archive/data.pkl", data=DATA), *members(HONEST)),
            loader=None,
        ),
        _torch(
            "torch-zip-duplicate-member-last",
            "duplicate member",
            "Two members data.pkl, the last of which attacks",
            zip_of(*members(HONEST), Member(name="archive/data.pkl", data=DATA)),
            loader="torch-zip-member:archive/data.pkl",
        ),
        _torch(
            "torch-zip-second-data-pkl",
            "duplicate member",
            "A data.pkl in another folder, and of another case",
            zip_file(HONEST, Member(name="Archive/DATA.PKL", data=DATA)),
            loader="torch-zip-member:Archive/DATA.PKL",
        ),
    ]


def _with_data(**changes: object) -> bytes:
    first, *rest = members(DATA)
    return zip_of(replace(first, **changes), *rest)  # type: ignore[arg-type]  # names and types are Member's


def _headers() -> list[Specimen]:
    return [
        _torch(
            "torch-zip-CVE-2025-1944",
            "CVE-2025-1944",
            "data.pkl has another name in its local header than in the central directory",
            _with_data(local_name="archive/data.txt"),
        ),
        _torch(
            "torch-zip-CVE-2025-1944-reverse",
            "CVE-2025-1944",
            "The central directory calls it a text, the local header data.pkl",
            zip_of(Member(name="archive/notes.txt", data=DATA, local_name="archive/data.pkl"), *members(HONEST)[1:]),
            loader=None,
        ),
        *(
            _torch(
                f"torch-zip-CVE-2025-1945-{name}",
                "CVE-2025-1945",
                f"The flag bit {bit:#x} is set for data.pkl: {meaning}. torch does not look at it",
                _with_data(local_flags=bit) if where == "local" else _with_data(flags=bit),
                loader="torch" if where == "local" else None,
            )
            for name, bit, meaning, where in (
                ("encrypted", 0x1, "encrypted", "local"),
                ("encrypted-central", 0x1, "encrypted, in the central directory too", "central"),
                ("patched", 0x20, "patched data", "local"),
                ("strong-encryption", 0x40, "strong encryption", "local"),
            )
        ),
        _torch(
            "torch-zip-CVE-2025-10156",
            "CVE-2025-10156",
            "The checksum of data.pkl is wrong, which torch does not check",
            _with_data(crc=0),
        ),
        _torch(
            "torch-zip-CVE-2025-10156-storage",
            "CVE-2025-10156",
            "The checksum of a storage is wrong: a scanner that gives up there has not seen what follows",
            zip_of(replace(members(DATA)[2], crc=7), *members(DATA)[:2], *members(DATA)[3:]),
        ),
        _torch(
            "torch-zip-unknown-method",
            "compression",
            "data.pkl claims a compression that nobody has",
            _with_data(method=77, local_method=77),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        _torch(
            "torch-zip-method-differs",
            "contradicting headers",
            "Stored says the directory, deflated the local header",
            _with_data(local_method=DEFLATED),
            expected=NEVER_CLEAN,
            loader=None,
        ),
    ]


def _directories() -> list[Specimen]:
    second = zip_file(DATA)
    return [
        _torch(
            "torch-zip-hidden-member",
            "hidden member",
            "A member that the central directory leaves out, for readers that go by local headers",
            zip_of(Member(name="archive/data.pkl", data=DATA, hidden=True), *members(HONEST)),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        _torch(
            "torch-zip-two-directories",
            "two archives",
            "One zip after another: readers differ in which one they see",
            zip_file(HONEST) + second,
            expected=NEVER_CLEAN,
            loader="torch-zip-member:archive/data.pkl",
        ),
        _torch(
            "torch-zip-in-comment",
            "two archives",
            "A second zip within the comment of the first",
            zip_of(*members(HONEST), comment=second[:0xFFFF]),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        _torch(
            "torch-zip-after-prefix",
            "prefix",
            "A script stands before the zip, as in self-extracting archives",
            zip_of(*members(DATA), prefix=b"#!/bin/sh\nexit 0\n" + bytes(47)),
            loader="torch-zip-member:archive/data.pkl",
        ),
        _torch(
            "torch-zip-after-pickle",
            "polyglot",
            "A pickle that attacks, and behind it an honest zip: torch goes by the first bytes",
            zip_of(*members(HONEST), prefix=stream(2, ATTACK)),
            loader="pickle",
        ),
        _torch(
            "torch-zip-truncated",
            "truncated",
            "The directory is cut off: the members are all there",
            zip_file(DATA)[:-60],
            loader=None,
            expected=NEVER_CLEAN,
        ),
        _torch(
            "torch-zip-nul-in-name",
            "name",
            "A member's name goes on after a NUL",
            zip_file(HONEST, Member(name="archive/extra.pkl\0.txt", data=stream(2, text("x") + ATTACK))),
            loader=None,
        ),
    ]
