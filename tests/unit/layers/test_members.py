"""Members of somebody's tar: every dialect is read, everything that programs disagree about is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest

from modelcar.errors import InvalidContent
from modelcar.layers.bytemap import Literal
from modelcar.layers.members import locate_members, read_members
from modelcar.layers.tar import Entry, Payload, build_tar
from tests.support.tars import FORMATS, header, make_tar, reseal

END = bytes(1024)
HELLO = header("hello", size=5) + b"hello" + bytes(507)
BIG = 9 << 30


def located(tar: bytes) -> dict[str, bytes]:
    members = locate_members(reader(tar), len(tar))
    assert all(path == payload.path for path, payload in members.items())
    return {path: tar[p.offset : p.offset + p.size] for path, p in members.items()}


def reader(tar: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, n: tar[offset : offset + n]


def pax(*records: bytes) -> bytes:
    content = b"".join(records)
    return header("x", b"x", len(content)) + content + bytes(-len(content) % 512)


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length += 1
    return b"%d" % length + body


def long_name(name: bytes) -> bytes:
    return header("././@LongLink", b"L", len(name) + 1) + name + bytes(512 - len(name) % 512)


@pytest.mark.parametrize("dialect", FORMATS)
def test_every_dialect(dialect: str) -> None:
    files = {
        "folder/": b"",
        "folder/empty": b"",
        "folder/" + "n" * 90: b"x" * 511,
        "é/模型": b"y" * 512,
        "d" * 80 + "/" + "f" * 90: b"in two fields, or in one more entry",
        "last": b"z" * 513,
    }
    if dialect == "ustar":
        del files["é/模型"]
    else:
        files["p" * 300] = b"a name too long for ustar"
    assert located(make_tar(files, dialect=dialect)) == {k: v for k, v in files.items() if not k.endswith("/")}


def test_our_own() -> None:
    entries = [Entry(path=f"a/{'n' * n}", content=Literal(bytes([n]) * n * 1000)) for n in (1, 70, 100, 101, 200)]
    layer = build_tar(entries)
    with layer.content.open() as opened:
        tar = opened.read()
    assert locate_members(reader(tar), len(tar)) == {p.path: p for p in layer.payloads}


def test_the_folder_itself_and_names_below_it() -> None:
    tar = header("./", b"5") + header("./blobs/", b"5") + header("./index.json") + header("blobs/", b"5") + END
    assert located(tar) == {"index.json": b""}


def test_old_headers() -> None:
    block = header("old", b"\0")
    old = reseal(block[:257] + bytes(255))
    assert located(old + END) == {"old": b""}


@pytest.mark.parametrize("field", [b"     000005\0", b"5\0" + bytes(10), b"00000000005 ", b"\x80" + bytes(10) + b"\5"])
def test_sizes_in_every_form(field: bytes) -> None:
    block = reseal(HELLO[:124] + field + HELLO[136:512])
    assert located(block + HELLO[512:] + END) == {"hello": b"hello"}


@pytest.mark.parametrize("form", ["base-256", "PAX"])
def test_beyond_8_gib(form: str) -> None:
    head = pax(record(b"size", b"%d" % BIG)) + header("big") if form == "PAX" else header("big", size=BIG)
    parts = {0: head, len(head) + BIG: HELLO + END}
    size = len(head) + BIG + len(HELLO + END)

    def read_at(offset: int, n: int) -> bytes:
        start = max(at for at in parts if at <= offset)
        return parts[start][offset - start : offset - start + n]

    assert locate_members(read_at, size) == {
        "big": Payload(path="big", offset=len(head), size=BIG),
        "hello": Payload(path="hello", offset=len(head) + BIG + 512, size=5),
    }


def test_pax_says_what_the_header_does_not() -> None:
    tar = pax(record(b"mtime", b"1.5"), record(b"path", b"named"), record(b"size", b"5")) + header("wrong")
    assert located(tar + HELLO[512:] + HELLO + END) == {"named": b"hello", "hello": b"hello"}


@pytest.mark.parametrize("fill", [0, 512, 9 * 512, (1 << 20) - 1024])
def test_filled_up_to_a_record(fill: int) -> None:
    assert located(HELLO + END + bytes(fill)) == {"hello": b"hello"}


REFUSED = {
    "nothing": (b"", "cut off"),
    "text": (b"no tar at all" * 100, "it is no tar"),
    "one block of zeros": (HELLO + bytes(512), "cut off"),
    "no end": (HELLO, "cut off"),
    "half an end": (HELLO + bytes(513), "cut off"),
    "half a header": (HELLO[:300], "cut off"),
    "half a payload": (HELLO[:-100] + END[:50], "ends within 'hello'"),
    "no padding": (header("hello", size=5) + b"hello", "ends within 'hello'"),
    "a tar behind the tar": (HELLO + END + HELLO + END, "something follows its end"),
    "a byte behind the tar": (HELLO + END + b"\1", "something follows its end"),
    "too much behind the tar": (HELLO + END + bytes(1 << 20), "something follows its end"),
    "a checksum": (HELLO[:10] + b"x" + HELLO[11:] + END, "it is no tar"),
    "a checksum later": (HELLO + HELLO[:10] + b"x" + HELLO[11:] + END, "the header at byte 1024 is damaged"),
    "magic": (reseal(HELLO[:257] + b"rustic" + HELLO[263:512]) + HELLO[512:] + END, "of an unknown kind"),
    "twice": (HELLO + HELLO + END, "'hello' is in it twice"),
    "twice but for ./": (HELLO + header("./hello") + END, "'hello' is in it twice"),
    "file and folder": (HELLO + header("hello/", b"5") + END, "'hello' is in it twice"),
    "folder and file": (header("hello/", b"5") + HELLO + END, "'hello' is in it twice"),
    "a file in a file": (HELLO + header("hello/a/b") + END, "'hello/a/b' lies within 'hello', which is a file"),
    "a file under a later one": (header("hello/a/b") + HELLO + END, "'hello/a/b' lies within 'hello'"),
    "a folder in a file": (HELLO + header("hello/a/", b"5") + END, "'hello/a' lies within 'hello'"),
    "a long path": (long_name(b"n" * 4097) + HELLO + END, "is too long"),
    "a deep path": (long_name(b"n/" * 130 + b"n") + HELLO + END, "is too long"),
    "a folder with content": (header("hello/", b"5", 5) + HELLO[512:] + END, "a folder of 5 bytes"),
    "a hard link": (header("hello", b"1") + END, "'hello' in it is a hard link"),
    "a link": (header("hello", b"2") + END, "'hello' in it is a symbolic link"),
    "a device": (header("hello", b"3") + END, "'hello' in it is a device"),
    "a pipe": (header("hello", b"6") + END, "'hello' in it is a pipe"),
    "contiguous": (header("hello", b"7") + END, "'hello' in it is of an unknown type b'7'"),
    "a sparse file": (header("hello", b"S", 5) + HELLO[512:] + END, "'hello' in it is a sparse file"),
    "a long link": (header("hello", b"K", 5) + HELLO[512:] + HELLO + END, "'hello' in it is a link"),
    "global": (header("hello", b"g", 5) + HELLO[512:] + HELLO + END, "is a header for all that follow"),
    "PAX sparse": (pax(record(b"GNU.sparse.major", b"1")) + HELLO + END, "a sparse file is in it"),
    "PAX twice": (pax(record(b"path", b"a")) + pax(record(b"size", b"5")) + HELLO + END, "two PAX headers"),
    "a key twice": (pax(record(b"path", b"a"), record(b"path", b"b")) + HELLO + END, "is damaged"),
    "names twice": (long_name(b"a") + long_name(b"b") + HELLO + END, "two names for one member"),
    "names of two kinds": (long_name(b"a") + pax(record(b"path", b"a")) + HELLO + END, "two names for one member"),
    "a name for nothing": (long_name(b"a") + END, "belongs to no member"),
    "PAX for nothing": (pax(record(b"comment", b"a")) + END, "belongs to no member"),
    "a huge name": (header("L", b"L", 2 << 20) + bytes(2 << 20) + HELLO + END, "announces 2097152 bytes"),
    "a name that goes on": (header("L", b"L", 5) + b"hello!" + bytes(506) + HELLO + END, "the long name at byte 512"),
    "half a name": (header("L", b"L", 2000) + b"x" * 1000, "cut off"),
    "PAX length": (pax(b"9 path=ab\n") + HELLO + END, "is damaged"),
    "PAX length beyond": (pax(b"99 path=a\n") + HELLO + END, "is damaged"),
    "PAX length zero": (pax(b"0 path=a\n") + HELLO + END, "is damaged"),
    "PAX without length": (pax(b"path=a\n") + HELLO + END, "is damaged"),
    "PAX without =": (pax(b"7 path\n") + HELLO + END, "is damaged"),
    "PAX size": (pax(record(b"size", b"-5")) + HELLO + END, "is damaged"),
    "PAX size of digits that are none": (pax(record(b"size", b"\xef\xbc\x95")) + HELLO + END, "is damaged"),
    "PAX size endless": (pax(record(b"size", b"9" * 40)) + HELLO + END, "is damaged"),
    "two sizes": (pax(record(b"size", b"0")) + HELLO + END, "two sizes for 'hello'"),
    "PAX size too large": (pax(record(b"size", b"9" * 20)) + HELLO + END, "ends within 'hello'"),
    "a prefix that GNU headers have not": (reseal(HELLO[:345] + b"a" + HELLO[346:512]) + END, "of an unknown kind"),
    "a time": (reseal(HELLO[:136] + b"today       " + HELLO[148:512]) + END, "a number in the header"),
    "size negative": (
        reseal(HELLO[:124] + b"\xff" * 12 + HELLO[136:512]) + HELLO[512:] + END,
        "a number in the header",
    ),
    "size huge": (reseal(HELLO[:124] + b"\x80" + b"\xff" * 11 + HELLO[136:512]) + END, "ends within 'hello'"),
    "size not octal": (reseal(HELLO[:124] + b"00000000009\0" + HELLO[136:512]) + END, "a number in the header"),
    "size and more": (reseal(HELLO[:124] + b"5\0001\0       \0" + HELLO[136:512]) + END, "a number in the header"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    tar, message = REFUSED[case]
    with pytest.raises(InvalidContent, match=message):
        located(tar)


@pytest.mark.parametrize("name", ["/etc/passwd", "..", "../x", "a/../b", "a//b", "a/./b", "", ".", "././x", "a/", "./"])
def test_names_that_are_no_paths(name: str) -> None:
    block = reseal(name.encode().ljust(100, b"\0") + HELLO[100:512])
    with pytest.raises(InvalidContent, match="is no relative path"):
        located(block + HELLO[512:] + END)


@pytest.mark.parametrize("announce", [long_name, lambda name: pax(record(b"path", name))])
@pytest.mark.parametrize(
    ("name", "message"), [(b"a\0b", "no relative path"), (b"\xff", "not UTF-8"), (b"/a", "no rel")]
)
def test_long_names_that_are_no_paths(announce: Callable[[bytes], bytes], name: bytes, message: str) -> None:
    with pytest.raises(InvalidContent, match=message):
        located(announce(name) + HELLO + END)


def test_folders_and_what_is_more_than_content() -> None:
    def with_mode(block: bytes, mode: bytes) -> bytes:
        return reseal(block[:100] + mode + block[108:])

    tar = (
        with_mode(header("folder/", b"5"), b"0002755\0")
        + with_mode(header("folder/program"), b"0004755\0")
        + pax(record(b"mtime", b"1"), record(b"SCHILY.xattr.user.a", b"b"))
        + header("tagged")
        + with_mode(header("plain"), b"0000777\0")
    )
    members = read_members(reader(tar + END), len(tar + END))
    assert members.folders == {"folder"}
    assert members.files.keys() == {"folder/program", "tagged", "plain"}
    assert members.privileged == {"folder/program": "mode 4755", "tagged": "SCHILY.xattr.user.a"}


@pytest.mark.slow
def test_no_more_headers_than_any_archive_needs() -> None:
    """An endless file that seems to go on for ever is given up."""
    block = header("folder/", b"5")
    with pytest.raises(InvalidContent, match="more than 65536 headers"):
        locate_members(lambda _, n: block[:n], 1 << 60)


def test_payloads_are_not_read() -> None:
    tar = make_tar({"a": bytes(1 << 20), "b": bytes(1 << 20)})
    read = 0

    def read_at(offset: int, n: int) -> bytes:
        nonlocal read
        read += n
        return tar[offset : offset + n]

    assert len(locate_members(read_at, len(tar))) == 2
    assert read < 30_000


def test_python_reads_what_the_cases_start_from() -> None:
    """The blocks that are spoiled above are right before they are."""
    with tarfile.open(fileobj=io.BytesIO(long_name(b"n" * 200) + HELLO + END)) as tar:
        assert tar.getnames() == ["n" * 200]
    with tarfile.open(fileobj=io.BytesIO(pax(record(b"path", b"n" * 200)) + HELLO + END)) as tar:
        assert tar.getnames() == ["n" * 200]
