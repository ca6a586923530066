"""The kernel's protocol to the byte: against the C header's own numbers, and against whatever else comes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.errors import InvalidDocument
from modelcar.mounts.fuse import wire
from modelcar.mounts.fuse.wire import Attributes, Init, Opcode, Read, Request

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
requests = st.builds(Request, opcode=U32, unique=U64, node=U64, pid=U32, body=st.binary(max_size=300))
attributes = st.builds(Attributes, node=U64, mode=U32, size=st.integers(0, 2**63 - 1), links=U32, uid=U32, gid=U32)


@given(requests, st.binary(max_size=50))
def test_a_request_is_read_as_it_was_written_whatever_lies_behind_it(request: Request, behind: bytes) -> None:
    assert Request.parse(request.to_bytes() + behind) == request


@given(requests, st.data())
def test_a_truncated_request_is_refused(request: Request, data: st.DataObject) -> None:
    raw = request.to_bytes()
    with pytest.raises(InvalidDocument):
        Request.parse(raw[: data.draw(st.integers(0, len(raw) - 1))])


@given(st.binary(max_size=200))
def test_noise_is_a_request_or_refused(raw: bytes) -> None:
    try:
        request = Request.parse(raw)
    except InvalidDocument:
        return
    assert len(request.body) <= len(raw) - 40


@given(st.binary(max_size=64))
def test_bodies_are_refused_when_they_are_short(body: bytes) -> None:
    for parse, least in ((Read.parse, 40), (Init.parse, 16), (wire.interrupted, 8)):
        if len(body) >= least:
            parse(body)
        else:
            with pytest.raises(InvalidDocument, match="FUSE request"):
                parse(body)


@given(U64, U32)
def test_a_read_is_read_as_it_was_written(offset: int, size: int) -> None:
    assert Read.parse(Read(offset=offset, size=size).to_bytes()) == Read(offset=offset, size=size)


def test_sizes_are_those_of_the_header_files() -> None:
    node = Attributes(node=7, mode=0o100644, size=1025)
    assert len(node.to_bytes()) == 88
    assert len(wire.entry_reply(node)) == 128
    assert len(wire.attributes_reply(node)) == 104
    assert len(wire.file_system_reply(size=1, files=1)) == 80
    assert len(wire.reply(1)) == wire.REPLY_HEADER == 16
    offered = Init(major=7, minor=45, max_readahead=131072, features=0xFFFFFFFF)
    assert len(wire.init_reply(offered, request_bytes=1 << 20)) == 64
    assert len(wire.drop_pages(7)) == 16 + 24


@given(attributes)
def test_attributes_lie_where_the_kernel_looks(node: Attributes) -> None:
    raw = node.to_bytes()
    assert struct.unpack_from("=QQQ", raw) == (node.node, node.size, -(-node.size // 512))
    assert struct.unpack_from("=IIII", raw, 60) == (node.mode, node.links, node.uid, node.gid)
    assert wire.entry_reply(node)[40:] == wire.attributes_reply(node)[16:] == raw


@given(U64, st.binary(max_size=100))
def test_replies_say_how_long_they_are(unique: int, body: bytes) -> None:
    raw = wire.reply(unique, body)
    assert struct.unpack_from("=IiQ", raw) == (len(raw), 0, unique)
    assert raw[16:] == body
    assert raw[:16] == wire.reply_header(unique, len(body))


def test_an_error_has_no_body() -> None:
    assert struct.unpack("=IiQ", wire.reply(9, b"ignored", error=5)) == (16, -5, 9)


@pytest.mark.parametrize("error", [512, 10_000, -5])
def test_an_error_that_the_kernel_would_refuse_is_eio(error: int) -> None:
    assert struct.unpack("=IiQ", wire.reply(9, error=error)) == (16, -5, 9)


def test_init_takes_no_feature_that_the_kernel_does_not_offer() -> None:
    few = Init(major=7, minor=31, max_readahead=131072, features=int(wire.Feature.ASYNC_READ | 1 << 20))
    major, minor, ahead, features, background, threshold, write, grain, pages = struct.unpack_from(
        "=IIIIHHIIH", wire.init_reply(few, request_bytes=1 << 20)
    )
    assert (major, minor, ahead, features) == (7, 31, 131072, wire.Feature.ASYNC_READ)
    assert (background, threshold) == (65535, 65535)
    assert (write, grain, pages) == (4096, 1, 256)


@pytest.mark.parametrize("version", [(7, 30), (6, 99)])
def test_init_refuses_a_kernel_that_is_too_old(version: tuple[int, int]) -> None:
    offered = Init(major=version[0], minor=version[1], max_readahead=131072, features=0xFFFFFFFF)
    with pytest.raises(InvalidDocument, match=f"FUSE {version[0]}.{version[1]}, and 7.31 is needed"):
        wire.init_reply(offered, request_bytes=1 << 20)


@given(st.binary(min_size=1, max_size=255), attributes, st.booleans())
def test_entries_of_folders_are_aligned_and_carry_the_whole_name(name: bytes, node: Attributes, plus: bool) -> None:
    entry = wire.directory_entry(name, node, 3, plus=plus)
    assert len(entry) % 8 == 0
    at = 128 if plus else 0
    number, after, length, kind = struct.unpack_from("=QQII", entry, at)
    assert (number, after, length, kind) == (node.node, 3, len(name), node.mode >> 12)
    assert entry[at + 24 : at + 24 + length] == name


def test_a_folder_itself_is_not_looked_up_by_listing_it() -> None:
    node = Attributes(node=1, mode=0o040755)
    for name in (b".", b".."):
        assert wire.directory_entry(name, node, 1, plus=True)[:128] == bytes(128)


def test_a_missing_name_may_be_remembered() -> None:
    node, _, valid = struct.unpack_from("=QQQ", wire.entry_reply(None))
    assert node == 0
    assert valid > 3600


def test_names_end() -> None:
    assert wire.name_of("é b\n".encode() + b"\0rest") == "é b\n".encode()
    with pytest.raises(InvalidDocument, match="without its end"):
        wire.name_of(b"name")


def test_opcodes_are_those_of_the_header_files() -> None:
    assert (Opcode.LOOKUP, Opcode.READ, Opcode.INIT, Opcode.INTERRUPT, Opcode.READDIRPLUS) == (1, 15, 26, 36, 44)
