"""cosign's encryption of keys: a file that cosign wrote, both ways, and files that mean harm."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from modelcar.errors import InvalidDocument, UsageError
from modelcar.signing.keys import encrypted
from modelcar.signing.keys.encrypted import decrypt, encrypt
from tests.support.signing import flip

pytestmark = pytest.mark.slow  # scrypt, at cosign's own cost

SECRET, PASSWORD = b"a key in PKCS#8", b"correct horse"


@pytest.fixture(scope="module")
def document() -> bytes:
    return encrypt(SECRET, PASSWORD)


def changed(document: bytes, *path: str, to: Any) -> bytes:
    data = json.loads(document)
    inner = data
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    return json.dumps(data).encode()


def test_round_trip(document: bytes) -> None:
    assert decrypt(document, PASSWORD) == SECRET


def test_the_form_is_cosigns(document: bytes) -> None:
    data = json.loads(document)
    assert list(data) == ["kdf", "cipher", "ciphertext"]
    assert data["kdf"] | {"salt": ""} == {"name": "scrypt", "params": {"N": 65536, "r": 8, "p": 1}, "salt": ""}
    assert len(base64.b64decode(data["kdf"]["salt"])) == 32
    assert data["cipher"]["name"] == "nacl/secretbox"
    assert len(base64.b64decode(data["cipher"]["nonce"])) == 24
    assert len(base64.b64decode(data["ciphertext"])) == len(SECRET) + 16


def test_two_encryptions_share_nothing(document: bytes) -> None:
    one, two = json.loads(document), json.loads(encrypt(SECRET, PASSWORD))
    assert one["kdf"]["salt"] != two["kdf"]["salt"]
    assert one["cipher"]["nonce"] != two["cipher"]["nonce"]


@pytest.mark.parametrize("password", [b"", b"correct horsf", PASSWORD + b" "])
def test_another_password(document: bytes, password: bytes) -> None:
    with pytest.raises(UsageError, match="the password is wrong"):
        decrypt(document, password)


@pytest.mark.parametrize("path", [("kdf", "salt"), ("cipher", "nonce"), ("ciphertext",)])
def test_one_bit_changed(document: bytes, path: tuple[str, ...]) -> None:
    inner = json.loads(document)
    for name in path:
        inner = inner[name]
    damaged = base64.b64encode(flip(base64.b64decode(inner), 77)).decode()
    with pytest.raises(UsageError, match="damaged"):
        decrypt(changed(document, *path, to=damaged), PASSWORD)


@pytest.mark.parametrize(
    "params",
    [
        {"N": 1 << 30, "r": 8, "p": 1},
        {"N": 65536, "r": 1 << 20, "p": 1},
        {"N": 65536, "r": 8, "p": 1 << 20},
        {"N": 2, "r": 8, "p": 1},
        {"N": -1, "r": 8, "p": 1},
        {"N": "65536", "r": 8, "p": 1},
        {"N": True, "r": 8, "p": 1},
        {},
    ],
)
def test_a_file_does_not_choose_how_much_memory_it_takes(
    document: bytes, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encrypted, "Scrypt", lambda **_: pytest.fail("derived a key"))
    with pytest.raises(InvalidDocument, match=r"scrypt|params"):
        decrypt(changed(document, "kdf", "params", to=params), PASSWORD)


@pytest.mark.parametrize(
    ("path", "to", "says"),
    [
        (("kdf", "name"), "argon2", "uses argon2 and nacl/secretbox"),
        (("cipher", "name"), "aes", "uses scrypt and aes"),
        (("cipher", "nonce"), base64.b64encode(b"short").decode(), "nonce has 5 bytes where 24 belong"),
        (("cipher",), None, "cipher is missing"),
        (("kdf", "salt"), "%%", "salt is not base64"),
        (("ciphertext",), 7, "ciphertext is missing or not a string"),
    ],
)
def test_other_damage_is_named(document: bytes, path: tuple[str, ...], to: Any, says: str) -> None:
    with pytest.raises(InvalidDocument, match=says):
        decrypt(changed(document, *path, to=to), PASSWORD)


def test_what_is_far_too_large_is_not_parsed() -> None:
    with pytest.raises(InvalidDocument, match="more than the 65536"):
        decrypt(b"{" + b" " * (64 << 10) + b"}", PASSWORD)
