"""As much of protocol buffers as a few small messages need: fields by their numbers, without generated code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from modelcar.errors import InvalidDocument

__all__ = ["decode", "embedded", "encode", "entries", "numbered", "text"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
Field = tuple[int, int | bytes]


def encode(*fields: tuple[int, int | bytes | str | None]) -> bytes:
    """A message. `None`, 0 and what is empty are left out, as the third version of the language does."""
    message = bytearray()
    for number, value in fields:
        if isinstance(value, str):
            value = value.encode()
        if not value:
            continue
        if isinstance(value, int):
            message += _varint(number << 3 | _VARINT) + _varint(value)
        else:
            message += embedded(number, value)
    return bytes(message)


def embedded(number: int, content: bytes) -> bytes:
    """A message within one, which may be empty and is there all the same."""
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def entries(number: int, values: Mapping[str, str]) -> bytes:
    """A map from text to text as field `number`."""
    return b"".join(embedded(number, encode((1, key), (2, value))) for key, value in sorted(values.items()))


def decode(message: bytes) -> Iterator[Field]:
    """The fields of a message in their order; numbers of a fixed width come as their bytes.

    Raises:
        InvalidDocument: it is cut off, or of a kind that nobody uses any more.
    """
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _read_varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise InvalidDocument(f"a message has a field of kind {kind}")
        if at + size > len(message):
            raise InvalidDocument("a message is cut off")
        yield key >> 3, message[at : at + size]
        at += size


def numbered(message: bytes) -> dict[int, int | bytes]:
    """The last value of each field, which is the one that counts where a field is not repeated. Raises as `decode`."""
    return dict(decode(message))


def text(value: int | bytes | None) -> str:
    """A field as text, empty if it is not there. Raises `InvalidDocument` if it is none."""
    if value is None:
        return ""
    if isinstance(value, int):
        raise InvalidDocument("a message has a number where text belongs")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidDocument("a message has text that is not UTF-8") from None


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise InvalidDocument("a message is cut off")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
