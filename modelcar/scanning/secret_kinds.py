"""What secrets look like: for each kind a fixed text in it, a pattern around that, and a check of its plausibility.

The fixed text is what is searched for, so looking for all of them costs little more than reading. Patterns are bounded
repetitions without overlap: matching one takes time linear in its bounded length.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["KINDS", "REACH", "SecretKind"]

REACH: Final = 8192  # bytes around an anchor in which a secret must lie

_PLACEHOLDER: Final = re.compile(
    rb"(?i)x{4}|\*{3}|\.{3}|\$\{|<[a-z]|your|example|placeholder|redacted|changeme|dummy|sample|12345678|abcdefgh|insert"
)
_COMMON: Final = frozenset(
    b"password passwd pass pwd secret token key apikey api_key test admin root user username foo bar x".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKind:
    """A kind of secret.

    Attributes:
        title: for people, with its article.
        anchor: bytes that every such secret holds; lower case where `ignore_case` is set.
        pattern: what it looks like as a whole; its group 1 is the secret itself.
        lookback: bytes before the anchor at which a match may begin.
        plausible: whether what group 1 holds is a secret and no placeholder.
        certain: whether it is one beyond reasonable doubt.
    """

    title: str
    anchor: bytes
    pattern: re.Pattern[bytes]
    lookback: int = 0
    plausible: Callable[[bytes], bool]
    certain: bool = True
    ignore_case: bool = False


def _random(secret: bytes) -> bool:
    """Whether it looks drawn by lot: many different characters, no runs, no words of placeholders."""
    distinct = len(set(secret))
    return distinct >= min(10, len(secret) // 2) and not _PLACEHOLDER.search(secret) and not _has_run(secret)


def _has_run(secret: bytes, length: int = 6) -> bool:
    """Whether `length` characters on end are all the same or count up: `aaaaaa`, `345678`."""
    same = up = 1
    for a, b in pairwise(secret):
        same, up = same + 1 if b == a else 1, up + 1 if b == a + 1 else 1
        if max(same, up) >= length:
            return True
    return False


def _password(secret: bytes) -> bool:
    return (
        len(secret) >= 4
        and secret.lower().strip(b"_-123!") not in _COMMON
        and not _PLACEHOLDER.search(secret)
        and not secret.startswith((b"<", b"$", b"{", b"[", b"%", b"("))
        and len(set(secret)) > 2
    )


def _url_password(secret: bytes) -> bool:
    """Words in small letters are what manuals put there."""
    return _password(secret) and not (secret.isalpha() and secret.islower())


def _mixed(secret: bytes) -> bool:
    """For secrets that are known by the name of a variable only."""
    digits = sum(c in b"0123456789" for c in secret)
    return _random(secret) and 0 < digits < len(secret)


def _aws(secret: bytes) -> bool:
    return _mixed(secret) and secret != secret.lower() and secret != secret.upper()


def _key_material(secret: bytes) -> bool:
    body = re.sub(rb"\\[nr]|[\s\"',+]", b"", secret)
    return len(body) >= 40 and len(set(body)) >= 16


def _json_web_token(secret: bytes) -> bool:
    header, body, _ = secret.split(b".")
    known = _decoded(header), _decoded(body)
    return all(isinstance(each, dict) for each in known) and "alg" in known[0] and known[1].get("name") != "John Doe"


def _decoded(part: bytes) -> dict[str, object]:
    try:
        document = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _basic_auth(secret: bytes) -> bool:
    try:
        user, colon, password = base64.b64decode(secret, validate=True).partition(b":")
    except binascii.Error:
        return False
    return bool(user and colon) and user.isascii() and _password(password)


def _kind(
    title: str,
    anchor: bytes,
    pattern: bytes,
    plausible: Callable[[bytes], bool] = _random,
    *,
    lookback: int = 0,
    certain: bool = True,
    ignore_case: bool = False,
    within_words: bool = False,
) -> SecretKind:
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    return SecretKind(
        title=title,
        anchor=anchor,
        pattern=re.compile(pattern if within_words or lookback else rb"(?<![A-Za-z0-9])" + pattern, flags),
        lookback=lookback,
        plausible=plausible,
        certain=certain,
        ignore_case=ignore_case,
    )


_END: Final = rb"(?![A-Za-z0-9])"
_ASSIGNED: Final = rb"[\\\"' ]{0,4}[=:][>\\\"' ]{0,6}"

KINDS: Final[tuple[SecretKind, ...]] = (
    _kind("a Hugging Face token", b"hf_", rb"(hf_[A-Za-z0-9]{34})" + _END),
    _kind("a Hugging Face organisation token", b"api_org_", rb"(api_org_[A-Za-z0-9]{34})" + _END),
    _kind("an OpenAI key", b"sk-proj-", rb"(sk-proj-[A-Za-z0-9_-]{40,200})"),
    _kind("an OpenAI key", b"sk-svcacct-", rb"(sk-svcacct-[A-Za-z0-9_-]{40,200})"),
    _kind("an OpenAI key", b"sk-admin-", rb"(sk-admin-[A-Za-z0-9_-]{40,200})"),
    _kind("an OpenAI key", b"sk-", rb"(sk-[A-Za-z0-9]{48})" + _END),
    _kind("an Anthropic key", b"sk-ant-", rb"(sk-ant-[a-z]{3,8}[0-9]{2}-[A-Za-z0-9_-]{40,200})"),
    _kind("an OpenRouter key", b"sk-or-v1-", rb"(sk-or-v1-[0-9a-f]{64})" + _END),
    _kind("a GitHub token", b"ghp_", rb"(ghp_[A-Za-z0-9]{36})" + _END),
    _kind("a GitHub token", b"gho_", rb"(gho_[A-Za-z0-9]{36})" + _END),
    _kind("a GitHub token", b"ghs_", rb"(ghs_[A-Za-z0-9]{36})" + _END),
    _kind("a GitHub token", b"ghu_", rb"(ghu_[A-Za-z0-9]{36})" + _END),
    _kind("a GitHub token", b"ghr_", rb"(ghr_[A-Za-z0-9]{36,76})" + _END),
    _kind("a GitHub token", b"github_pat_", rb"(github_pat_[A-Za-z0-9_]{80,90})" + _END),
    _kind("a GitLab token", b"glpat-", rb"(glpat-[A-Za-z0-9_-]{20,64})"),
    _kind("a Slack token", b"xox", rb"(xox[abeoprs]-(?:[A-Za-z0-9]{1,40}-){1,4}[A-Za-z0-9]{10,72})"),
    _kind("a Slack token", b"xapp-", rb"(xapp-[0-9]-[A-Z0-9]{6,16}-[0-9]{8,16}-[0-9a-f]{32,80})"),
    _kind(
        "a Slack webhook",
        b"hooks.slack.com/services/",
        rb"(hooks\.slack\.com/services/T[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{20,30})",
    ),
    _kind("an npm token", b"npm_", rb"(npm_[A-Za-z0-9]{36})" + _END),
    _kind("a PyPI token", b"pypi-AgE", rb"(pypi-AgE[A-Za-z0-9_-]{50,400})"),
    _kind("a Google API key", b"AIza", rb"(AIza[A-Za-z0-9_-]{35})(?![A-Za-z0-9_-])"),
    _kind("a Google OAuth secret", b"GOCSPX-", rb"(GOCSPX-[A-Za-z0-9_-]{28})"),
    _kind("a Groq key", b"gsk_", rb"(gsk_[A-Za-z0-9]{52})" + _END),
    _kind("a Replicate token", b"r8_", rb"(r8_[A-Za-z0-9]{37})" + _END),
    _kind("an NVIDIA key", b"nvapi-", rb"(nvapi-[A-Za-z0-9_-]{60,80})"),
    _kind("an xAI key", b"xai-", rb"(xai-[A-Za-z0-9]{80})" + _END),
    _kind("a Stripe key", b"k_live_", rb"([sr]k_live_[A-Za-z0-9]{24,110})" + _END, lookback=1),
    _kind("a SendGrid key", b"SG.", rb"(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"),
    _kind("a DigitalOcean token", b"dop_v1_", rb"(dop_v1_[0-9a-f]{64})" + _END),
    _kind("a Databricks token", b"dapi", rb"(dapi[0-9a-f]{32})" + _END),
    _kind("an age key", b"AGE-SECRET-KEY-1", rb"(AGE-SECRET-KEY-1[A-Z0-9]{58})"),
    _kind(
        "an AWS secret key",
        b"secret",
        rb"(?:aws_?secret_?access_?key|secret_?access_?key|secret_?key)" + _ASSIGNED
        + rb"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        _aws,
        lookback=4,
        ignore_case=True,
    ),
    _kind(
        "an AWS access key with its secret",
        b"AKIA",
        rb"AKIA[A-Z2-7]{16}(?![A-Za-z0-9])[^A-Za-z0-9/+][\s\S]{0,120}?(?<![A-Za-z0-9/+=])([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        _aws,
    ),
    _kind("an AWS access key's id", b"AKIA", rb"(AKIA[A-Z2-7]{16})" + _END, certain=False),
    _kind("an AWS access key's id", b"ASIA", rb"(ASIA[A-Z2-7]{16})" + _END, certain=False),
    _kind("an Azure storage key", b"AccountKey=", rb"AccountKey=([A-Za-z0-9+/]{86}==)"),
    _kind("an Azure application's secret", b"8Q~", rb"([A-Za-z0-9_~.]{3}8Q~[A-Za-z0-9_~.-]{31,34})", lookback=3),
    _kind("an Azure shared access signature", b"sig=", rb"[?&]sig=([A-Za-z0-9%]{43,63}%3[Dd])", lookback=1),
    _kind(
        "a private key",
        b"PRIVATE KEY",
        rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?=([\sA-Za-z0-9+/=\\\",:'().-]{40,400}))",
        _key_material,
        lookback=52,
    ),
    _kind(
        "a JSON web token",
        b"eyJ",
        rb"(eyJ[A-Za-z0-9_-]{8,600}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{20,1400})",
        _json_web_token,
    ),
    _kind("a registry's password", b'"auth"', rb'"auth"\s{0,20}:\s{0,20}"([A-Za-z0-9+/]{8,600}={0,2})"', _basic_auth),
    _kind("a registry's token", b"_authToken", rb"_authToken[ ]{0,3}=[ ]{0,3}([A-Za-z0-9_-]{16,200})"),
    _kind(
        "a password in a URL",
        b"://",
        rb"(?<=[A-Za-z0-9])://[^\s:/@\"'<>`\\?#,()\[\]{}]{0,64}:([^\s:/@\"'<>`\\?#,()\[\]{}]{4,128})"
        rb"@(?!localhost|127\.|host[:/]|hostname|example|[^\s/\"']{0,60}example\.)[A-Za-z0-9]",
        _url_password,
        within_words=True,
    ),
    _kind(
        "a password in .netrc's form",
        b"machine",
        rb"machine\s{1,8}\S{1,128}\s{1,8}login\s{1,8}\S{1,128}\s{1,8}password\s{1,8}(\S{4,256})",
        _password,
    ),
    _kind(
        "a Weights & Biases key",
        b"wandb",
        rb"wandb(?:_api)?_key" + _ASSIGNED + rb"([0-9a-f]{40})" + _END,
        ignore_case=True,
    ),
    _kind(
        "what may be a secret",
        b"api_key",
        rb"api_key" + _ASSIGNED + rb"([A-Za-z0-9_-]{24,128})(?![A-Za-z0-9_.(-])",
        _mixed,
        certain=False,
        ignore_case=True,
    ),
    _kind(
        "what may be a secret",
        b"token",
        rb"(?:access|auth|api|secret)_?token" + _ASSIGNED + rb"([A-Za-z0-9_-]{24,128})(?![A-Za-z0-9_.(-])",
        _mixed,
        lookback=7,
        certain=False,
        ignore_case=True,
    ),
)  # fmt: skip
