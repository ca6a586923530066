"""What registries are known to take, by their host: a table, and nothing else. Those whose names say nothing may be
recognised by their answers (`recognition`).

An entry is a starting point. What a registry turns out to do is remembered in `habits` and counts for more; what nobody
could verify says so in `note`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from modelcar.errors import UsageError

__all__ = [
    "DIALECTS",
    "GENERAL_MANIFEST",
    "UNKNOWN",
    "AfterCut",
    "Dialect",
    "Way",
    "canonical",
    "dialect_named",
    "dialect_of",
]

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
GENERAL_MANIFEST: Final = 4 * _MIB  # bytes that every registry takes of a manifest, by the specification


class Way(StrEnum):
    """How the bytes of a blob go."""

    WHOLE = "whole"  # POST, then all of it in the closing PUT
    STREAM = "stream"  # POST, all of it in one PATCH, then an empty PUT, as Docker does
    PIECES = "pieces"  # POST, a PATCH for each piece, then an empty PUT
    ONCE = "once"  # all of it in a POST that closes at once: needs no session


class AfterCut(StrEnum):
    """What an upload session is after a request to it that broke off."""

    KEPT = "kept"  # it has what came
    DROPPED = "dropped"  # it is as before the request: what was acknowledged is there
    LOST = "lost"  # gone, or of no more use


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one family of registries takes. Sizes are bytes, times are seconds, `None` is "not known".

    Attributes:
        hosts: patterns of the registries' names (`*` is anything).
        way: what to begin with.
        refuses: ways that are not worth a try.
        largest_piece: the most that one PATCH may have.
        largest_put: the most that a PUT may have.
        largest_layer: what it never takes more of, whatever the way.
        fragile_layer: what is known to fail often where it is run with its defaults, and is no rule.
        largest_manifest: of any manifest or index; what the specification asks of all, unless more is known.
        longest_upload: how long one upload may take.
        after_cut: what is known of PATCH requests that break off; where nothing is, it is tried (`upload.trial`).
        counts_one_more: a session that is asked says one byte more than it has.
        note: what a person should know.
    """

    family: str
    hosts: tuple[str, ...] = ()
    way: Way = Way.WHOLE
    refuses: frozenset[Way] = frozenset()
    largest_piece: int | None = None
    largest_put: int | None = None
    largest_layer: int | None = None
    fragile_layer: int | None = None
    largest_manifest: int = GENERAL_MANIFEST
    longest_upload: float | None = None
    after_cut: AfterCut | None = None
    counts_one_more: bool = False
    note: str = ""

    def takes(self, way: Way) -> bool:
        return way not in self.refuses

    @property
    def streams(self) -> bool:
        """Whether a single PATCH may have any size."""
        return self.takes(Way.STREAM) and self.largest_piece is None


UNKNOWN: Final = Dialect(family="unknown", note="nothing is known of its limits")

DIALECTS: Final = (
    Dialect(
        family="Amazon ECR",
        hosts=("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn", "*.dkr.ecr-fips.*.amazonaws.com"),
        refuses=frozenset({Way.STREAM, Way.PIECES}),
        largest_layer=52_000 * _MIB,
    ),
    Dialect(
        family="Amazon ECR Public",
        hosts=("public.ecr.aws",),
        largest_layer=10_000 * _MIB,
        after_cut=AfterCut.LOST,  # a session cannot be asked, and does not count on after its first piece
    ),
    Dialect(
        family="GHCR",
        hosts=("ghcr.io",),
        largest_piece=4 * _MIB,
        largest_layer=10 * 10**9,
        longest_upload=600,
    ),
    Dialect(
        family="Azure Container Registry",
        hosts=("*.azurecr.io", "*.azurecr.cn", "*.azurecr.us"),
        largest_layer=200 * _GIB,
        after_cut=AfterCut.LOST,
    ),
    Dialect(
        family="Google Artifact Registry",
        hosts=("*.pkg.dev", "gcr.io", "*.gcr.io"),
        refuses=frozenset({Way.STREAM, Way.PIECES}),
        note="no limit of its layers is published",
    ),
    Dialect(
        family="Quay",
        hosts=("quay.io",),
        largest_put=20 * 10**9,
        after_cut=AfterCut.DROPPED,
        counts_one_more=True,
        note="it takes minutes to commit a large layer",
    ),
    Dialect(
        family="Docker Hub",
        hosts=("docker.io",),
        way=Way.STREAM,
        note="its limits are not verified",
    ),
    Dialect(
        family="Artifactory",
        hosts=("*.jfrog.io",),
        way=Way.STREAM,
        refuses=frozenset({Way.PIECES}),
        note="its replicas do not share upload sessions",
    ),
    Dialect(
        family="Harbor",
        hosts=("harbor.*", "*.harbor.*"),
        fragile_layer=10 * 10**9,
        note="more than 10 GB fails behind a default nginx: raise its timeouts and body size",
    ),
    Dialect(
        family="Cloudflare R2",
        hosts=("registry.cloudflare.com", "*.workers.dev"),
        largest_layer=5 * _GIB,
        note="its limits are not verified",
    ),
    Dialect(family="GitLab", hosts=("registry.gitlab.com",), note="its limits are not verified"),
)


def canonical(registry: str) -> str:
    """One name for one registry, however it is typed: what is remembered of it is kept under this."""
    name = registry.lower().removesuffix(":443").rstrip(".")
    return "docker.io" if name in ("index.docker.io", "registry-1.docker.io") else name


def dialect_of(registry: str) -> Dialect:
    """The entry for a registry's name (`host[:port]`), or `UNKNOWN`."""
    host = registry.lower().partition(":")[0]
    for dialect in DIALECTS:
        if any(fnmatchcase(host, pattern) for pattern in dialect.hosts):
            return dialect
    return UNKNOWN


def dialect_named(family: str) -> Dialect:
    """The entry of this name, in any case. Raises `UsageError` if there is none."""
    for dialect in DIALECTS:
        if dialect.family.lower() == family.lower():
            return dialect
    known = ", ".join(dialect.family for dialect in DIALECTS)
    raise UsageError(f"no registry is of the kind {family!r}", hint=f"known are {known}")
