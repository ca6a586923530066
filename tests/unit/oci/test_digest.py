from __future__ import annotations

import hashlib
import io

import pytest

from modelcar.errors import DigestMismatch, InvalidDigest, SizeMismatch
from modelcar.oci import Digest

HELLO = Digest.of(b"hello")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63 + "\n",
        "sha256:" + "٣" * 64,
        "sha512:" + "0" * 64,
        "md5:" + "0" * 32,
        "SHA256:" + "0" * 64,
        ":" + "0" * 64,
        " sha256:" + "0" * 64,
    ],
)
def test_malformed(text: str) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_of_bytes_and_of_streams(algorithm: str) -> None:
    content = b"x" * ((1 << 20) + 1)
    digest = Digest.of(content, algorithm)
    assert digest.hex == hashlib.new(algorithm, content).hexdigest()
    assert Digest.of_stream(io.BytesIO(content), algorithm) == digest
    assert Digest.parse(str(digest)) == digest
    digest.check(content, "it")
    with pytest.raises(DigestMismatch, match="it hashes to"):
        digest.check(b"", "it")


def test_verifying_reader_passes_what_is_promised() -> None:
    reader = HELLO.verifying(io.BytesIO(b"hello"), 5)
    assert reader.read(2) == b"he"
    assert reader.read(0) == b""
    assert reader.read(10) == b"llo"
    assert reader.read(10) == b""
    assert reader.read(10) == b""


@pytest.mark.parametrize(
    ("content", "size", "error"),
    [
        (b"hell", 5, SizeMismatch),
        (b"", 5, SizeMismatch),
        (b"hello!", 5, SizeMismatch),
        (b"hello", 6, SizeMismatch),
        (b"jello", 5, DigestMismatch),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 5, 100, -1])
def test_verifying_reader_raises_before_it_ends(content: bytes, size: int, error: type[Exception], step: int) -> None:
    reader = HELLO.verifying(io.BytesIO(content), size)
    passed: list[bytes] = []
    with pytest.raises(error):
        passed.extend(iter(lambda: reader.read(step), b""))
    assert len(b"".join(passed)) <= size


def test_one_read_of_everything_is_verified() -> None:
    with pytest.raises(DigestMismatch):
        HELLO.verifying(io.BytesIO(b"jello"), 5).read()
    assert HELLO.verifying(io.BytesIO(b"hello"), 5).read() == b"hello"


def test_an_endless_stream_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read(self, n: int = -1) -> bytes:
            assert n >= 0
            self.given += n
            return bytes(n)

    endless = Endless()
    with pytest.raises(SizeMismatch):
        HELLO.verifying(endless, 5).read()  # type: ignore[arg-type]  # a stream that only reads
    assert endless.given <= 6
