"""Credentials in files that people publish by mistake. None is real: each is put together when it is needed."""

from __future__ import annotations

import base64
import hashlib
import json
import string
from typing import Final

from tests.corpus.malicious.common import one_file
from tests.corpus.specimen import NEVER_CLEAN, Specimen

ALPHANUMERIC: Final = string.ascii_letters + string.digits


def specimens() -> list[Specimen]:
    return [
        _secret("aws", "An AWS access key and its secret", "config.json", json.dumps({"model_type": "tiny", **_aws()})),
        _secret("github", "A GitHub token in a notebook's output", "train.ipynb", _notebook(_token("ghp", "_", 36))),
        _secret(
            "github-fine",
            "A fine-grained GitHub token in a card",
            "README.md",
            f"# Tiny\n\n`git clone https://x:{_token('github', '_pat_', 82)}@github.com/a/b`\n",
        ),
        _secret(
            "hugging-face",
            "A Hugging Face token in a card",
            "README.md",
            f"# Tiny\n\n```sh\nhuggingface-cli login --token {_token('hf', '_', 34)}\n```\n",
        ),
        _secret(
            "openai", "An OpenAI key in an environment file", ".env", f"OPENAI_API_KEY={_token('sk', '-proj-', 48)}\n"
        ),
        _secret("slack", "A Slack webhook in a configuration", "trainer_state.json", json.dumps({"notify": _slack()})),
        _secret("private-key", "A private key", "id_ed25519", _private_key("OPENSSH")),
        _secret("private-key-json", "A private key as a text in JSON", "service-account.json", _service_account()),
        _secret(
            "private-key-rsa",
            "A private key at the end of a licence",
            "LICENSE",
            f"MIT License\n\n{_private_key('RSA')}",
        ),
        _secret(
            "netrc",
            "A password for machines",
            ".netrc",
            f"machine huggingface.co login acme password {_token('hf', '_', 34)}\n",
        ),
        _secret(
            "git-credentials",
            "A password in an address",
            ".git-credentials",
            f"https://acme:{_letters('git', 40)}@github.com\n",
        ),
        _secret(
            "docker",
            "A registry's password",
            ".docker/config.json",
            json.dumps({"auths": {"registry.example.com": {"auth": _basic()}}}),
        ),
        _secret(
            "google",
            "A Google API key in a tokenizer's configuration",
            "tokenizer_config.json",
            json.dumps({"key": _token("AI", "za", 35)}),
        ),
        _secret(
            "jwt",
            "A signed token of a service",
            "generation_config.json",
            json.dumps({"authorization": f"Bearer {_jwt()}"}),
        ),
    ]


def _secret(name: str, description: str, path: str, content: str) -> Specimen:
    return one_file(f"secret-{name}", "secret", "credential", description, path, content.encode(), expected=NEVER_CLEAN)


def _letters(seed: str, length: int, alphabet: str = ALPHANUMERIC) -> str:
    """Letters that look drawn at random and are not."""
    return "".join(alphabet[byte % len(alphabet)] for byte in hashlib.shake_128(seed.encode()).digest(length))


def _token(prefix: str, joint: str, length: int) -> str:
    return prefix + joint + _letters(prefix + joint, length)


def _aws() -> dict[str, str]:
    key = "AK" + "IA" + _letters("aws", 16, string.ascii_uppercase + "234567")
    return {"aws_access_key_id": key, "aws_secret_access_key": _letters("aws secret", 40, ALPHANUMERIC + "/+")}


def _slack() -> str:
    return (
        f"https://hooks.slack.com/services/T{_letters('t', 8).upper()}/B{_letters('b', 8).upper()}/{_letters('s', 24)}"
    )


def _private_key(kind: str) -> str:
    body = base64.encodebytes(hashlib.shake_128(kind.encode()).digest(600)).decode()
    line = f"{kind} PRIVATE" + " KEY-----"
    return f"-----BEGIN {line}\n{body}-----END {line}\n"


def _service_account() -> str:
    account = {"type": "service_account", "project_id": "acme", "private_key": _private_key("RSA").replace("RSA ", "")}
    return json.dumps(account | {"client_email": "model@acme.iam.gserviceaccount.com"}, indent=2)


def _basic() -> str:
    return base64.b64encode(f"acme:{_letters('docker', 24)}".encode()).decode()


def _jwt() -> str:
    parts = (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"acme","iat":1700000000}', hashlib.sha256(b"jwt").digest())
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _notebook(token: str) -> str:
    output = {"output_type": "stream", "name": "stdout", "text": [f"Logged in with {token}\n"]}
    cell = {"cell_type": "code", "metadata": {}, "execution_count": 1, "outputs": [output], "source": ["login()"]}
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
