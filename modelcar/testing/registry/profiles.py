"""The dialects of registries: what each takes, what it refuses, and where it leaves the specification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

__all__ = ["PROFILES", "Profile", "Sharing"]

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


class Sharing(StrEnum):
    """What the replicas behind one address know of each other's upload sessions. Any of them gets the next request."""

    ALL = "all"
    FIRST_PIECE = "first-piece"
    """What the first PATCH brought is stored for all, later ones only go on where the first was."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One dialect, to be changed by `dataclasses.replace`. Sizes are bytes, times seconds; `None` is no limit.

    Attributes:
        put_limit: what a single PUT may carry; more is answered with one of `put_refusals`, in turn.
        post_whole: `POST ?digest=` takes the whole blob.
        patches: how many PATCH requests a session takes; 0 is none.
        patch_limit: what one PATCH may carry; more is answered with 416.
        patch_status: what a PATCH is answered with; after 201 the session takes no other one.
        min_chunk: what every PATCH but the last carries at least; said in `OCI-Chunk-Min-Length`.
        put_status: what a commit is answered with.
        commit_seconds: how long a commit takes for each GiB.
        resumes: `GET` of a session says how far it is.
        keeps_cut: what came before a connection broke stays in the session.
        loses_cut: a connection that breaks takes its session with it.
        counts_one_more: `GET` of a session says one byte more than it has.
        mounts: across repositories.
        layer_limit: larger layers are refused with 413.
        upload_seconds: between POST and commit; then the session is gone.
        request_seconds: for one request; then it is answered with 504, and its bytes are lost.
        relative_location: `Location` has no host.
        signed_location: `Location` has a query that must come back as it is.
        sharing: with anything but `ALL` there are two replicas.
        heads: HEAD of a blob is answered; else with 405.
        ranges: GET of a blob heeds `Range`.
        redirects: GET of a blob leads to another host, which wants the signed query and no `Authorization`.
        token_seconds: everything needs a token that lives so long.
    """

    name: str
    put_limit: int | None = None
    put_refusals: tuple[int, ...] = (413,)
    post_whole: bool = False
    patches: int | None = None
    patch_limit: int | None = None
    patch_status: int = 202
    min_chunk: int = 0
    put_status: int = 201
    commit_seconds: float = 0.0
    resumes: bool = True
    keeps_cut: bool = True
    loses_cut: bool = False
    counts_one_more: bool = False
    mounts: bool = True
    layer_limit: int | None = None
    upload_seconds: float | None = None
    request_seconds: float | None = None
    relative_location: bool = False
    signed_location: bool = False
    sharing: Sharing = Sharing.ALL
    heads: bool = True
    ranges: bool = True
    redirects: bool = False
    token_seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        values["put_refusals"] = tuple(values.get("put_refusals", (413,)))
        values["sharing"] = Sharing(values.get("sharing", Sharing.ALL))
        return cls(**values)


_ALL: Final = (
    Profile(name="distribution", post_whole=True),
    Profile(
        name="ecr", patch_status=201, layer_limit=52_000 * _MIB, redirects=True, token_seconds=43_200, mounts=False
    ),
    Profile(name="ecr-public", layer_limit=10_000 * _MIB, redirects=True, token_seconds=43_200, mounts=False),
    Profile(
        name="ghcr", patch_limit=4 * _MIB, layer_limit=10 * 10**9, upload_seconds=600, redirects=True, token_seconds=300
    ),
    Profile(name="acr", layer_limit=200 * _GIB, redirects=True, relative_location=True, token_seconds=300),
    Profile(name="gar", patches=1, redirects=True, signed_location=True, resumes=False),
    Profile(name="quay", put_limit=20 * 10**9, commit_seconds=30, redirects=True, token_seconds=3600),
    Profile(name="harbor", request_seconds=600, keeps_cut=False, token_seconds=1800),
    Profile(
        name="docker-hub",
        put_limit=64 * _MIB,
        put_refusals=(504, 400),
        redirects=True,
        signed_location=True,
        token_seconds=300,
    ),
    Profile(name="artifactory", sharing=Sharing.FIRST_PIECE, patch_status=200, put_status=204, relative_location=True),
    Profile(name="r2", layer_limit=5 * _GIB, min_chunk=5 * _MIB, keeps_cut=False, mounts=False, redirects=True),
    Profile(name="non-sticky", sharing=Sharing.NOTHING, post_whole=True),
    Profile(name="no-resume", resumes=False, keeps_cut=False, signed_location=True),
    Profile(name="put-only", patches=0, resumes=False, keeps_cut=False),
    Profile(name="no-ranges", ranges=False),
    Profile(name="no-head", heads=False),
)
PROFILES: Final[Mapping[str, Profile]] = {profile.name: profile for profile in _ALL}
