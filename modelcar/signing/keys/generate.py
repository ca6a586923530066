"""New key pairs, and writing them so that no other user ever sees the private one and no key is ever lost."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from modelcar.errors import StorageError, UsageError
from modelcar.signing.keys.key import PrivateKey

__all__ = ["check_absent", "generate_key", "write_new"]


def generate_key() -> PrivateKey:
    """An ECDSA P-256 key: what every verifier of sigstore bundles accepts without options."""
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()))


def check_absent(*paths: Path) -> None:
    """Raise `UsageError` if anything lies at one of `paths`."""
    for path in paths:
        if os.path.lexists(path):
            raise UsageError(f"{path} exists, and keys are never overwritten", hint="choose another name with -o")


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Write a new file, complete or not at all; `mode` from its first moment, whatever the umask allows.

    Raises:
        UsageError: something lies there already.
        StorageError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            with open(fd, "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(fd)
            os.link(temporary, path)  # unlike a rename, fails if somebody else was faster
        finally:
            with suppress(OSError):
                temporary.unlink()
    except FileExistsError:
        check_absent(path)
        raise StorageError(f"cannot write {path}: {temporary} is in the way") from None
    except OSError as e:
        raise StorageError(f"cannot write {path}: {e.strerror}") from None
