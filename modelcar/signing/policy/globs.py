"""Image globs, which match what sigstore's policy-controller matches with them.

`**` stands for any characters, `*` for any but `/`, everything else for itself, and the whole name must match. Names
are complete: Docker Hub is `index.docker.io`, `library/` included, and a tag or digest is always there.

Source: policy-controller `pkg/apis/glob`. What differs is written in `docs/formats/policies.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from modelcar.errors import UsageError
from modelcar.oci import Digest, Reference

__all__ = ["Glob", "ImageGlob", "image_names"]

_VALID: Final = re.compile(r"[a-zA-Z0-9_:/*.@-]+")
_TOKENS: Final = re.compile(r"\*\*|\*|[^*]+")
_MAX_LENGTH: Final = 1024
_HUB: Final = "index.docker.io"
_SHORT: Final = {"*": f"{_HUB}/library/*", "*/*": f"{_HUB}/*/*"}


@dataclass(frozen=True)
class Glob:
    """A pattern for names whose parts are separated by `/`.

    Raises:
        UsageError: it has characters that no image name and no glob has.
    """

    text: str

    def __post_init__(self) -> None:
        if not _VALID.fullmatch(self.text) or len(self.text) > _MAX_LENGTH:
            raise UsageError(
                f"{self.text[:80]!r} is not a glob", hint="letters, digits and . _ - : / @, with * and ** as wildcards"
            )

    def matches(self, names: tuple[str, ...]) -> bool:
        """Whether one of `names` matches as a whole."""
        return any(self._pattern.fullmatch(name) for name in names)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(_expression(_TOKENS.findall(self._complete)))

    @property
    def _complete(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text


class ImageGlob(Glob):
    """A pattern for complete image names, which `image_names` makes. `*` and `*/*` alone stand for Docker Hub."""

    @property
    def _complete(self) -> str:
        return _SHORT.get(self.text, self.text)


def _expression(parts: list[str]) -> str:
    """A regular expression in which no wildcard is tried again once what follows it was found.

    With the nearest occurrence of what follows, the rest has most room left, so trying others is needless; naive
    expressions try them all, which takes time exponential in the number of wildcards. Only what stands after the last
    wildcard must be found at the end instead.
    """
    blocks: list[list[str]] = [[]]  # what stands between two `**`
    for part in parts:
        if part == "**":
            blocks.append([])
        else:
            blocks[-1].append(part)
    first, *others = blocks
    if not others:
        return _block(first, last=True)
    *middle, last = others
    between = "".join(f"(?>.*?{_block(block, last=False)})" for block in middle if block)
    return f"{_block(first, last=False)}{between}.*{_block(last, last=True)}"


def _block(parts: list[str], *, last: bool) -> str:
    """Literals and `*`. A `*` at the end of a block that `**` follows may be empty; in the last one it runs on."""
    result = ""
    for i, part in enumerate(parts):
        if part != "*":
            result += re.escape(part) if i == 0 else ""
            continue
        following = re.escape(parts[i + 1]) if i + 1 < len(parts) and parts[i + 1] != "*" else ""
        if i + 2 >= len(parts):
            result += f"[^/]*{following}" if last else (f"(?>[^/]*?{following})" if following else "")
        else:
            result += f"(?>[^/]*?{following})"
    return result


def image_names(reference: Reference, digest: Digest) -> tuple[str, ...]:
    """The names under which globs find the image at `reference`, which was resolved to `digest`.

    A tag counts only if it was what the digest was resolved from: beside a digest, anything can be written as a tag.
    """
    suffixes = [f"@{digest}"]
    if reference.digest is None and reference.tag is not None:
        suffixes.append(f":{reference.tag}")
        if reference.tag == "latest":
            suffixes.append("")
    return tuple(f"{name}{suffix}" for name in _repository_names(reference) for suffix in suffixes)


def _repository_names(reference: Reference) -> list[str]:
    if reference.registry != "docker.io":
        return [reference.name]
    # The complete name is what policy-controller compares; with the others it falls back to what was typed.
    repository = reference.repository
    names = [f"{_HUB}/{repository}", f"docker.io/{repository}"]
    folder, _, rest = repository.partition("/")
    if folder == "library":
        names += [f"{_HUB}/{rest}", f"docker.io/{rest}", rest] if "/" not in rest else []
    elif "." in folder or folder == "localhost":  # as typed it would be on that registry: docker.io/ghcr.io/org/model
        return names
    return [*names, repository]
