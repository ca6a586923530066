"""Keys and a root of trust that travel in an archive beside the image that they were made for.

Whoever can exchange the image in a file can exchange these, too. So nothing here is trusted for being there: a key
counts only for a user who names its fingerprint.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from modelcar.errors import InvalidContent, NotVerified, UsageError
from modelcar.signing.keys.key import PublicKey
from modelcar.signing.keys.pem import parse_public
from modelcar.store import ArchiveStore

__all__ = ["CarriedTrust", "read_carried_trust"]

_FOLDER: Final = ".modelcar/trust"
_KEYS: Final = f"{_FOLDER}/keys"
_ROOT: Final = f"{_FOLDER}/trusted_root.json"
_MAX_KEY: Final = 64 << 10  # bytes
_MAX_ROOT: Final = 4 << 20
_MAX_KEYS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedTrust:
    """Public keys, and a Sigstore TrustedRoot as its bytes."""

    keys: tuple[PublicKey, ...] = ()
    root: bytes | None = None

    def files(self) -> dict[str, bytes]:
        """What goes into an archive, by path."""
        files = {f"{_KEYS}/{_hex(key)}.pub": key.pem for key in self.keys}
        return files if self.root is None else {**files, _ROOT: self.root}

    @property
    def root_digest(self) -> str | None:
        """`sha256:<hex>` of the root's bytes, as `sha256sum` shows it."""
        return None if self.root is None else f"sha256:{hashlib.sha256(self.root).hexdigest()}"

    def key(self, fingerprint: str) -> PublicKey:
        """The key with this fingerprint. Raises `NotVerified` if it is not here."""
        for key in self.keys:
            if key.fingerprint == fingerprint:
                return key
        raise NotVerified(
            f"the archive carries no key {fingerprint}", hint="`modelcar inspect` shows those that it does carry"
        )

    def to_dict(self) -> dict[str, Any]:
        keys = [{"fingerprint": key.fingerprint, "kind": key.kind} for key in self.keys]
        return {"keys": keys, "trustedRoot": self.root_digest}


def read_carried_trust(archive: ArchiveStore) -> CarriedTrust:
    """What `archive` carries. Raises `InvalidContent` if that is not what it should be."""
    paths = archive.members(_KEYS)
    if len(paths) > _MAX_KEYS:
        raise InvalidContent(f"{archive.root} carries {len(paths)} keys, more than the {_MAX_KEYS} that are read")
    root = archive.member(_ROOT, _MAX_ROOT) if _ROOT in archive.members(_FOLDER) else None
    return CarriedTrust(keys=tuple(_read_key(archive, path) for path in paths), root=root)


def _read_key(archive: ArchiveStore, path: str) -> PublicKey:
    what = f"{path} in {archive.root}"
    try:
        key = parse_public(archive.member(path, _MAX_KEY), what)
    except UsageError as e:
        raise InvalidContent(str(e)) from None
    if path != f"{_KEYS}/{_hex(key)}.pub":
        raise InvalidContent(f"{what} is another key than it says: {key.fingerprint}")
    return key


def _hex(key: PublicKey) -> str:
    return key.fingerprint.removeprefix("sha256:")
