"""Whose signatures are taken: what an authority of a policy says, before keys are loaded or certificates looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from modelcar.errors import InvalidDocument, UsageError
from modelcar.signing.keys.pem import parse_public
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.policy.identities import Identity, parse_identities

__all__ = ["PUBLIC_FULCIO", "Clock", "KeyTrust", "KeylessTrust", "Trust", "parse_clock", "parse_key", "parse_keyless"]

PUBLIC_FULCIO: Final = "https://fulcio.sigstore.dev"
_HASHES: Final = ("sha224", "sha256", "sha384", "sha512")
_SERVICE: Final = re.compile(r"[a-z][a-z0-9+.-]*://.")
_KEY_FIELDS: Final = ("data", "kms", "secretRef", "hashAlgorithm")
_KEYLESS_FIELDS: Final = ("url", "identities", "ca-cert", "trustRootRef", "insecureIgnoreSCT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Proof of when a signature was made that is demanded beyond the signature.

    `log` and `timestamps` say whether a log entry, or an RFC 3161 timestamp, is; the others say by whom.
    """

    log: bool = False
    log_url: str | None = None
    log_trust_root: str | None = None
    timestamps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTrust:
    """Exactly one of `data` (PEM), `kms` (URL) and `secret` (`namespace/name`) is set."""

    data: str | None = None
    kms: str | None = None
    secret: str | None = None
    hash_algorithm: str = "sha256"
    clock: Clock = Clock()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeylessTrust:
    """Identities, and where certificates come from: the Fulcio at `url`, unless a CA or a trust root is given."""

    identities: tuple[Identity, ...]
    url: str | None = None
    ca_cert: KeyTrust | None = None
    trust_root: str | None = None
    clock: Clock = Clock()


Trust = KeyTrust | KeylessTrust


def parse_key(fields: ClosedFields, name: str, clock: Clock) -> KeyTrust:
    """Field `name`, a reference to a public key."""
    key = fields.object(name, _KEY_FIELDS)
    which = key.one_of("data", "kms", "secretRef")
    algorithm = (key.optional_text("hashAlgorithm") or "sha256").strip().lower()
    if algorithm not in _HASHES:
        raise key.fail("hashAlgorithm", f"is {algorithm[:80]!r}", hint=f"one of: {', '.join(_HASHES)}")
    if which == "secretRef":
        reference = key.object("secretRef", ("name", "namespace"))
        secret = f"{reference.optional_text('namespace') or 'cosign-system'}/{reference.text('name')}"
        return KeyTrust(secret=secret, hash_algorithm=algorithm, clock=clock)
    value = key.text(which)
    if which == "kms":
        if not _SERVICE.match(value):
            raise key.fail("kms", f"is {value[:80]!r}, not the URL of a key", hint="such as gcpkms://projects/…")
        return KeyTrust(kms=value, hash_algorithm=algorithm, clock=clock)
    if "PRIVATE KEY-----" in value:
        raise key.fail("data", "is a private key", hint="put the public key there, and replace the pair: it is out")
    try:
        parse_public(value.encode(), f"{key.path}.data")
    except InvalidDocument as e:
        raise UsageError(str(e), hint="paste what begins with -----BEGIN PUBLIC KEY-----") from None
    return KeyTrust(data=value, hash_algorithm=algorithm, clock=clock)


def parse_keyless(fields: ClosedFields, name: str, clock: Clock) -> KeylessTrust:
    """Field `name`, identities and their certificate authority."""
    keyless = fields.object(name, _KEYLESS_FIELDS)
    ca_cert = parse_key(keyless, "ca-cert", Clock()) if keyless.given("ca-cert") else None
    url = keyless.optional_text("url")
    if ca_cert and url:
        raise keyless.fail("url", f"excludes {keyless.path}.ca-cert")
    keyless.flag("insecureIgnoreSCT")  # read so that nonsense is an error; the log entry is checked all the same
    return KeylessTrust(
        identities=parse_identities(keyless),
        url=(url or PUBLIC_FULCIO).rstrip("/") if ca_cert is None else None,
        ca_cert=ca_cert,
        trust_root=keyless.optional_text("trustRootRef"),
        clock=clock,
    )


def parse_clock(fields: ClosedFields) -> Clock:
    """`ctlog` and `rfc3161timestamp` of an authority."""
    log = fields.optional_object("ctlog", ("url", "trustRootRef"))
    timestamps = fields.optional_object("rfc3161timestamp", ("trustRootRef",))
    if timestamps:
        timestamps.optional_text("trustRootRef")  # nobody is asked: a timestamp that is demanded is never satisfied
    return Clock(
        log=log is not None,
        log_url=log.optional_text("url") if log else None,
        log_trust_root=log.optional_text("trustRootRef") if log else None,
        timestamps=timestamps is not None,
    )
