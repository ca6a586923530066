"""Secrets are found, placeholders are not, and no finding shows one."""

from __future__ import annotations

import base64
import json
import random
import string

import pytest

from modelcar.scanning.secrets import find_secrets
from tests.support.scanning import findings_in

DRAW = random.Random(20)
LETTERS = string.ascii_letters + string.digits


def drawn(length: int, alphabet: str = LETTERS) -> str:
    """Characters drawn by lot, no six of them alike or counting up."""
    return "".join(DRAW.choices(alphabet, k=length))


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


# the one that jwt.io shows to everybody
EXAMPLE_TOKEN = (
    f"{part({'alg': 'HS256', 'typ': 'JWT'})}."
    f"{part({'sub': '1234567890', 'name': 'John Doe', 'iat': 1516239022})}.{drawn(43)}"
)
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{drawn(64)}\n{drawn(64)}\n-----END RSA PRIVATE KEY-----"
HEX = "0123456789abcdef"
SECRETS = {
    "Hugging Face": f"token = hf_{drawn(34)}",
    "OpenAI": f"sk-proj-{drawn(100)}",
    "OpenAI, old": f"OPENAI_API_KEY=sk-{drawn(48)}",
    "Anthropic": f"sk-ant-api03-{drawn(93)}AA",
    "AWS": f"AKIA{drawn(16, 'QWERTYUIOP234567')}\naws_secret = {drawn(39)}A",
    "AWS secret alone": f'"aws_secret_access_key": "{drawn(39)}z"',
    "AWS environment": f"export AWS_SECRET_ACCESS_KEY={drawn(39)}z",
    "Google service account": json.dumps({"type": "service_account", "private_key": KEY}),
    "Google": f"AIza{drawn(35)}",
    "Azure": f"DefaultEndpointsProtocol=https;AccountKey={drawn(86)}==;",
    "GitHub": f"https://x:ghp_{drawn(36)}@github.com",
    "GitHub, fine-grained": f"github_pat_{drawn(82)}",
    "GitLab": f"glpat-{drawn(20)}",
    "Slack": "xoxb-" + "-".join([drawn(12, string.digits), drawn(12, string.digits), drawn(24)]),
    "npm": f"//registry.npmjs.org/:_authToken=npm_{drawn(36)}",
    "PyPI": f"pypi-AgEIcHlwaS5vcmc{drawn(100)}",
    "registry": json.dumps({"auths": {"ghcr.io": {"auth": base64.b64encode(f"me:{drawn(20)}".encode()).decode()}}}),
    "private key": KEY,
    "SSH key": KEY.replace("RSA", "OPENSSH"),
    "cosign key": KEY.replace("RSA", "ENCRYPTED SIGSTORE"),
    "JSON web token": f"{part({'alg': 'HS256'})}.{part({'sub': '77', 'name': 'Jane'})}.{drawn(43)}",
    "URL": f"postgres://svc:{drawn(12)}@db.internal:5432/x",
    ".netrc": f"machine api.wandb.ai login user password {drawn(40, HEX)}",
    "Weights & Biases": f"WANDB_API_KEY={drawn(40, HEX)}",
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_found_once_and_not_shown(name: str) -> None:
    text = SECRETS[name]
    found = list(find_secrets(text.encode()))
    assert [secret.kind.certain for secret in found].count(True) == 1
    assert all(text.encode()[s.offset :].startswith(s.value) for s in found)
    findings = findings_in("README.md", f"Some text before.\n{text}\n".encode())
    assert {finding.rule.id for finding in findings} >= {"secret.found"}
    for finding in findings:
        shown = finding.detail.rpartition(", ")[2]
        assert not any(secret.value.decode()[:5] in finding.message for secret in found), shown


@pytest.mark.parametrize(
    "text",
    [
        "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "hf_abcdefghijklmnopqrstuvwxyzabcdefgh",
        "hf_your_token_here",
        "<your hf_token>",
        "sk-...",
        "sk-proj-" + "x" * 60,
        "AKIAIOSFODNN7EXAMPLE",
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "https://user:password@host.com/repo.git",
        "https://user:${TOKEN}@host.com/repo.git",
        "https://user:<token>@host.com/repo.git",
        "https://huggingface.co/a/b@main: c",
        "amqp://guest:guest@rabbitmq/",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\n" + drawn(64),
        '"auth": "none"',
        EXAMPLE_TOKEN,
        "machine NAME login USER password PASSWORD",
        "task_type hf_transfer sha256:" + drawn(64, HEX),
        'api_key = os.environ["OPENAI_API_KEY"]',
        "risk-" + drawn(48),
    ],
)
def test_placeholders_are_no_secrets(text: str) -> None:
    assert [secret.kind.title for secret in find_secrets(text.encode())] == []


def test_what_only_looks_like_one_is_a_note() -> None:
    (secret,) = find_secrets(f'api_key = "{drawn(30)}7x"'.encode())
    assert not secret.kind.certain
    (key_id,) = find_secrets(b"AKIA" + drawn(16, "QWERTYUIOP234567").encode() + b" ")
    assert not key_id.kind.certain


@pytest.mark.slow
def test_hostile_repetitions_take_no_more_than_a_look_each() -> None:
    """Each would take an hour if a pattern went over the same bytes again and again."""
    for unit in (
        b"eyJ",
        b"://",
        b"a://a:",
        b"hf_",
        b"AKIA",
        b"secret",
        b"PRIVATE KEY",
        b'"auth":',
        b"machine \n",
        b"a" * 999,
    ):
        assert list(find_secrets(unit * (100_000 // len(unit)))) == []
