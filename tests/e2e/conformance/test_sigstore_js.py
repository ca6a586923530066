"""npm's `@sigstore/verify` shares no code with us or cosign: it accepts our bundles and refuses what we refuse."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import InvalidDocument, NotVerified
from modelcar.oci import Digest
from modelcar.signing.bundle import parse_bundle
from modelcar.signing.keys.authority import KeyAuthority
from modelcar.signing.keys.key import PublicKey
from modelcar.signing.signatory import KeySignatory
from modelcar.signing.statement import COSIGN_SIGN, Statement
from tests.support.nodejs import install_node_packages
from tests.support.signing import KEY, OTHER_KEY, flip

pytestmark = pytest.mark.conformance

DIGEST = Digest("sha256", "ab" * 32)
RAW = KeySignatory(KEY).sign_statement(Statement.about(DIGEST, COSIGN_SIGN)).raw
Change = Callable[[dict[str, Any]], None]
ENVELOPE, MATERIAL = "dsseEnvelope", "verificationMaterial"


def theirs(*cases: tuple[bytes, PublicKey]) -> list[str | None]:
    """Why they refuse each bundle, `None` where they accept it."""
    node, folder = install_node_packages(Path(__file__).parent / "node")
    question = json.dumps([{"bundle": raw.decode(), "key": key.pem.decode()} for raw, key in cases])
    done = subprocess.run([node, "verify.mjs"], cwd=folder, input=question, capture_output=True, text=True, check=True)
    answer: list[str | None] = json.loads(done.stdout)
    return answer


def edited(change: Change) -> bytes:
    data = json.loads(RAW)
    change(data)
    return json.dumps(data).encode()


def bit(member: str, number: int) -> Change:
    """One bit changed of a member of the envelope that is base64."""

    def change(data: dict[str, Any]) -> None:
        holder = data[ENVELOPE]["signatures"][0] if member == "sig" else data[ENVELOPE]
        holder[member] = base64.b64encode(flip(base64.b64decode(holder[member]), number)).decode()

    return change


def statement(**changes: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        inner = json.loads(base64.b64decode(data[ENVELOPE]["payload"]))
        inner.update(changes)
        data[ENVELOPE]["payload"] = base64.b64encode(json.dumps(inner, separators=(",", ":")).encode()).decode()

    return change


def members(path: tuple[str | int, ...], value: Any) -> Change:
    def change(data: Any) -> None:
        for name in path[:-1]:
            data = data[name]
        if value is ...:
            del data[path[-1]]
        else:
            data[path[-1]] = value

    return change


TAMPERED: dict[str, Change] = {
    "first bit of the payload": bit("payload", 0),
    "last bit of the payload": bit("payload", 8 * 224 - 1),
    "a bit of the digest": bit("payload", 8 * 100 + 3),
    "first bit of the signature": bit("sig", 0),
    "a bit of r": bit("sig", 8 * 10),
    "a bit of s": bit("sig", 8 * 50),
    "another subject": statement(subject=[{"digest": {"sha256": "cd" * 32}}]),
    "one more subject": statement(subject=[{"digest": {"sha256": d * 32}} for d in ("ab", "cd")]),
    "another predicate type": statement(predicateType="https://example.com/other"),
    "a predicate": statement(predicate={"a": 1}),
    "another statement type": statement(_type="https://in-toto.io/Statement/v0.1"),
    "a new member of the statement": statement(extra=1),
    "spaces in the statement": members((ENVELOPE, "payload"), base64.b64encode(b'{ "a": 1 }').decode()),
    "an empty payload": members((ENVELOPE, "payload"), ""),
    "another payload type": members((ENVELOPE, "payloadType"), "application/json"),
    "no payload type": members((ENVELOPE, "payloadType"), ...),
    "no signatures": members((ENVELOPE, "signatures"), []),
    "an empty signature": members((ENVELOPE, "signatures", 0, "sig"), ""),
    "a signature that is something else": members((ENVELOPE, "signatures", 0, "sig"), "AAAA"),
    "no envelope": members((ENVELOPE,), ...),
    "no verification material": members((MATERIAL,), ...),
    "neither key nor certificate": members((MATERIAL, "publicKey"), ...),
    "another media type": members(("mediaType",), "application/json"),
    "no media type": members(("mediaType",), ...),
}  # fmt: skip


def refused_by_us(raw: bytes) -> bool:
    try:
        KeyAuthority([KEY.public]).verify_bundle(parse_bundle(raw))
    except (InvalidDocument, NotVerified):
        return True
    return False


def test_they_accept_ours_and_not_by_another_key() -> None:
    accepted, refused = theirs((RAW, KEY.public), (RAW, OTHER_KEY.public))
    assert accepted is None
    assert refused is not None


def test_they_and_we_refuse_every_kind_of_tampering() -> None:
    assert len(TAMPERED) >= 20
    raws = {name: edited(change) for name, change in TAMPERED.items()}
    assert all(raw != RAW and json.loads(raw) != json.loads(RAW) for raw in raws.values())
    answers = theirs(*((raw, KEY.public) for raw in raws.values()))
    assert [name for name, answer in zip(raws, answers, strict=True) if answer is None] == []
    assert [name for name, raw in raws.items() if not refused_by_us(raw)] == []
    assert not refused_by_us(RAW)
