"""Files of secrets, a `name:secret` a line: tokens here, and what reads them for hashed passwords as well.

Whatever could be meant in two ways is refused: a token without a name, one that two names have, a line with blanks in
it, a file that is longer than what is read of it. Secrets never get into messages.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError, UsageError

__all__ = ["Tokens", "read_secrets", "read_tokens"]

_SHORTEST: Final = 16  # characters of a token
_LARGEST: Final = 4 << 20  # bytes of a file
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # what may stand behind `Bearer` (RFC 6750)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Names by token. A name may have several tokens: an old one and its successor."""

    names: Mapping[bytes, str] = field(repr=False)

    def whose(self, token: str) -> str | None:
        """Whose token it is. All of them are compared, each in constant time, so that the time tells nothing."""
        found = None
        for known, name in self.names.items():
            if hmac.compare_digest(known, token.encode(errors="surrogateescape")):
                found = name
        return found


def read_tokens(path: Path) -> Tokens:
    """The tokens of a file; one without any lets nobody in.

    Raises:
        StorageError: it cannot be read.
        UsageError: it can be read by everyone, or a line of it is not a name, a colon and a token of somebody's own.
    """
    names: dict[bytes, str] = {}
    for where, name, token in read_secrets(path):
        if len(token) < _SHORTEST:
            raise UsageError(
                f"{where}: the token of {name} has less than {_SHORTEST} characters", hint="openssl rand -hex 32"
            )
        if not _TOKEN.fullmatch(token):
            raise UsageError(
                f"{where}: the token of {name} has characters that no token has",
                hint="letters, digits and -._~+/, and = at the end; openssl rand -hex 32",
            )
        if token in names:
            raise UsageError(f"{where}: {name} has the token of {names[token]}", hint="give each a token of its own")
        names[token] = name
    return Tokens(names)


def read_secrets(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """The lines of a file: where each stands, its name, and what proves it. Blank lines are left out, and those that
    begin with `#`. Raises what `read_tokens` does."""
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        where = f"{path}:{number}"
        name, colon, secret = line.rstrip().partition(b":")
        if not colon or not _is_name(name):
            raise UsageError(f"{where} is not a name, a colon and what proves it", hint="as in ci-pipeline:0f3c…")
        yield where, name.decode(), secret


def _is_name(raw: bytes) -> bool:
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return False
    return name.isprintable() and not name.startswith(" ") and 0 < len(name) <= 255


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            raw = file.read(_LARGEST + 1)
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None
    if mode & 0o007:
        raise UsageError(f"{path} can be read by everyone", hint=f"chmod o= {path}")
    if len(raw) > _LARGEST:
        raise UsageError(f"{path} has more than {_LARGEST >> 20} MiB; that is no such file")
    return raw
