"""Hypothesis strategies of plans that EROFS can show."""

from __future__ import annotations

from hypothesis import strategies as st

from modelcar.mounts.plan import MountPlan
from tests.support.plans import plan_of

__all__ = ["BLOB_SIZE", "erofs_plans"]

BLOB_SIZE = 1 << 20  # bytes
_BLOBS = 3
_parts = st.one_of(
    st.sampled_from(["a", "b", "c"]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=80)
    .filter(lambda part: part not in (".", ".."))
    .map(lambda part: part.encode()[:255].decode(errors="ignore") or "x"),
    st.just("n" * 255),
    st.just("new\nline"),
)
_paths = st.lists(_parts, min_size=1, max_size=5).map("/".join)
_targets = st.one_of(
    st.just("a"), st.text("tüx/.", min_size=1, max_size=40), st.integers(400, 4000).map(lambda n: "t" * n)
)


@st.composite
def erofs_plans(draw: st.DrawFn) -> MountPlan:
    """Three blobs; files at multiples of 512 or of 4096 in them, empty ones and links, up to some dozens."""
    step = draw(st.sampled_from([512, 4096]))
    taken: set[str] = set()
    files, links = {}, {}
    for path in draw(st.lists(_paths, unique=True, max_size=60)):
        parents = {path[:i] for i, letter in enumerate(path) if letter == "/"}
        if taken & parents or any(other.startswith(f"{path}/") for other in taken) or path in taken:
            continue
        taken.add(path)
        if draw(st.integers(0, 5)) == 0:
            links[path] = draw(_targets)
            continue
        offset = draw(st.integers(0, BLOB_SIZE // step)) * step
        files[path] = (draw(st.integers(0, _BLOBS - 1)), offset, draw(st.integers(0, BLOB_SIZE - offset)))
    return plan_of([BLOB_SIZE] * _BLOBS, files, links)
