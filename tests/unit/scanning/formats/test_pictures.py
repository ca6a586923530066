"""Pictures of a card are clean; what is appended to one, or runs in one, is not."""

from __future__ import annotations

import struct
import zlib

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.scanning import findings_in, outcome, rules_found


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND")


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(*extra: bytes, scans: int = 1) -> bytes:
    compressed = segment(0xDA, b"\x01\x01\0\0\x3f\0") + b"\x12\xff\0\x34\xff\xd0\x56"
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\0")
        + b"".join(extra)
        + segment(0xC2, bytes(9))
        + compressed * scans
        + b"\xff\xd9"
    )


def gif(*extra: bytes) -> bytes:
    screen = struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    image = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0x81) + bytes(12) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + screen + b"!\xf9\x04\0\0\0\0\0" + b"".join(extra) + image + b";"


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP"
    for kind, data in chunks or ((b"VP8 ", b"abc"), (b"EXIF", b"")):
        body += kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


SVG = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
     xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape" width="10">
  <defs><linearGradient id="g"><stop offset="0" stop-color="red"/></linearGradient></defs>
  <style>.a { fill: url(#g) } /* url('#g') */</style>
  <a href="https://example.org"><rect class="a" style="fill:url(#g)" inkscape:label="x" width="5"/></a>
  <use xlink:href="#g"/><image href="data:image/png;base64,AAAA"/>
  <filter id="f"><feGaussianBlur stdDeviation="2"/></filter>
  <text onset="">Hello <tspan>there</tspan></text>MORE
</svg>""".replace(' onset=""', "")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", png()),
        ("a.png", png(chunk(b"tEXt", b"Title\0x"), chunk(b"iDOT", bytes(28)))),
        ("a.jpg", jpeg()),
        ("a.jpeg", jpeg(segment(0xFE, b"comment"), scans=3)),
        ("a.jpg", jpeg() + jpeg()),
        ("a.gif", gif()),
        ("a.gif", gif(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")),
        ("a.webp", webp()),
        ("a.svg", SVG.encode()),
        ("a.jpg", png()),
        ("without-a-name", png()),
    ],
)
def test_pictures_are_clean(name: str, data: bytes) -> None:
    assert findings_in(name, data) == ()


@pytest.mark.parametrize(("name", "data"), [("a.png", png()), ("a.jpg", jpeg()), ("a.gif", gif()), ("a.webp", webp())])
def test_what_follows_a_picture_is_not(name: str, data: bytes) -> None:
    for payload in (b"payload", b"\x80\x04.", b"\0" * 9, b"PK\x05\x06" + bytes(18)):
        assert "file.unaccounted-bytes" in rules_found(name, data + payload)
    assert outcome(name, data[:-1]) is Outcome.UNVERIFIED
    assert outcome(name, b"x" + data) is Outcome.UNVERIFIED


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (png(chunk(b"evIl", b"payload")), "file.unaccounted-bytes"),
        (png().replace(b"IDAT", b"IDAU"), "file.malformed"),
        (png(chunk(b"IHDR", bytes(13))), "file.malformed"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND"), "file.malformed"),
        (png()[:-12] + chunk(b"IEND", b"data"), "file.malformed"),
        (png()[:33] + struct.pack(">I", 2**31) + b"IDAT", "file.malformed"),
        (jpeg(segment(0xF5, b"")), "file.malformed"),
        (jpeg(b"payload"), "file.malformed"),
        (b"\xff\xd8\xff\xd9", "file.malformed"),
        (jpeg()[:-2] + b"\xff\xe0\xff\xff", "file.malformed"),
        (gif(b"!\x77\x01a\0"), "file.malformed"),
        (gif(b"payload"), "file.malformed"),
        (gif(b"!\xfe\xffa"), "file.malformed"),
        (webp((b"VP8 ", b"ab"), (b"EVIL", b"payload!")), "file.unaccounted-bytes"),
        (webp((b"VP8 ", b"abc")).replace(b"abc\0", b"abcd"), "file.malformed"),
        (b"RIFF\xff\0\0\0WEBPVP8 ", "file.malformed"),
        (b"RIFF\0\0\0\0WEBP" + bytes(20), "file.malformed"),
        (b"not a picture", "file.malformed"),
        (b"", "file.malformed"),
    ],
)
def test_parts_that_the_format_does_not_have(data: bytes, rule: str) -> None:
    assert rules_found("a.png", data) == {rule}


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        "<script xmlns='' href='x'/>",
        "<rect onload='alert(1)'/>",
        "<rect ONCLICK='alert(1)'/>",
        "<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>x</p></foreignObject>",
        "<image href='http://example.org/x.png'/>",
        "<image href='//example.org/x.png'/>",
        "<image href='data:image/svg+xml;base64,AAAA'/>",
        "<use href='other.svg#a'/>",
        "<a href='javascript:alert(1)'/>",
        "<a href='&#106;avascript:alert(1)'/>",
        "<a href=' JaVaScRiPt:alert(1)'/>",
        "<set attributeName='href' to='javascript:alert(1)'/>",
        "<animate attributeName='xlink:href' values='x'/>",
        "<set attributeName='onclick' to='x'/>",
        "<rect style='fill:url(http://example.org)'/>",
        "<rect style='fill:u\\72l(http://example.org)'/>",
        "<rect fill='url(http://example.org#a)'/>",
        "<style>@import 'http://example.org'</style>",
        "<style>@imp<!-- -->ort 'http://example.org'</style>",
        '<style>a { background: url( "//example.org" ) }</style>',
        "<style>a { background: image-set('//example.org' 1x) }</style>",
        "<x:object xmlns:x='http://example.org/unheard-of'/>",
        "<?xml-stylesheet href='http://example.org'?>",
    ],
)
def test_drawings_that_do_more_than_draw(inside: str) -> None:
    data = SVG.replace("MORE", inside).encode()
    assert rules_found("a.svg", data) == {"picture.active-content"}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "file.malformed"),
        ("<svg>", "file.malformed"),
        ("<html></html>", "file.malformed"),
        ("<svg/>x", "file.malformed"),
        ("<!DOCTYPE svg [<!ENTITY a 'x'>]><svg>&a;</svg>", "picture.active-content"),
        ("<!DOCTYPE svg SYSTEM 'http://example.org/x.dtd'><svg/>", "picture.active-content"),
        ("<svg><text>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</text></svg>", "secret.found"),
    ],
)
def test_other_drawings(text: str, rule: str) -> None:
    assert rule in rules_found("a.svg", text.encode())


def test_entities_that_multiply_are_no_danger() -> None:
    entities = "".join(f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 12))
    bomb = f"<!DOCTYPE svg [<!ENTITY a0 'xxxxxxxxxx'>{entities}]><svg><text>&a11;</text></svg>"
    assert outcome("a.svg", bomb.encode()) is Outcome.UNVERIFIED


def test_scripts_that_are_pictures_as_well() -> None:
    assert "file.several-formats" in rules_found("a.js", b"GIF89a/*" + bytes(20))
