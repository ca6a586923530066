"""Keys, signed images in layouts, and evidence about them: what tests of signing start from."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelcar.oci import Descriptor, Digest
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.keys import encrypted
from modelcar.signing.keys.authority import KeyAuthority
from modelcar.signing.keys.generate import generate_key
from modelcar.signing.keys.key import PrivateKey
from modelcar.signing.places import LayoutPlace
from modelcar.signing.sign import sign_image
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.verified import Evidence
from modelcar.store import OciLayout
from tests.support.images import put_image, random_image

__all__ = [
    "KEY",
    "NOW",
    "OTHER_KEY",
    "REPOSITORY",
    "SignedImage",
    "authority",
    "cheap_passwords",
    "flip",
    "signed_image",
    "tamper",
]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REPOSITORY = "registry.example/acme/llm"
KEY, OTHER_KEY = generate_key(), generate_key()


@dataclass(frozen=True)
class SignedImage:
    """An image for two platforms, signed by `KEY`, in a layout of its own."""

    place: LayoutPlace
    root: Descriptor

    @property
    def digest(self) -> Digest:
        return self.root.digest

    @property
    def evidence(self) -> Evidence:
        return gather_evidence(self.place, self.digest)


def signed_image(folder: Path, seed: int = 1, key: PrivateKey = KEY) -> SignedImage:
    layout = OciLayout(folder)
    place, root = LayoutPlace(layout, REPOSITORY), put_image(layout, random_image(seed))
    sign_image(place, root, KeySignatory(key), created=NOW)
    return SignedImage(place, root)


def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys with a password, in cosign's form, for a sixty-fourth of the work that it takes to guess one."""
    cost = encrypted._COST >> 6
    monkeypatch.setattr(encrypted, "_COST", cost)
    monkeypatch.setattr(encrypted, "_ACCEPTED", encrypted._ACCEPTED | {(cost, encrypted._BLOCK, 1)})


def authority(*keys: PrivateKey) -> KeyAuthority:
    return KeyAuthority(key.public for key in keys or (KEY,))


def flip(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    return bytes(changed)


def tamper(document: bytes, change: Callable[[Any], None], *, at: str | None = None) -> bytes:
    """A JSON document after `change` was done to it; `at` names a member that holds base64 of JSON, changed instead."""
    data = json.loads(document)
    if at is None:
        change(data)
    else:
        inner = json.loads(base64.b64decode(data["dsseEnvelope"][at]))
        change(inner)
        data["dsseEnvelope"][at] = base64.b64encode(json.dumps(inner).encode()).decode()
    return json.dumps(data).encode()
