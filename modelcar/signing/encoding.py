"""Base64 as protobuf's JSON mapping reads it."""

from __future__ import annotations

import base64

from modelcar.errors import InvalidDocument

__all__ = ["decode_base64", "encode_base64"]


def decode_base64(text: str, where: str) -> bytes:
    """Either alphabet, padding optional, nothing else; `where` names the field.

    Raises:
        InvalidDocument: it is neither.
    """
    standard = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError:
        raise InvalidDocument(f"{where} is not base64") from None


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
