"""Hypothesis strategies for OCI values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from modelcar.oci import Descriptor, Digest, ImageConfig, Index, Manifest, Platform, Reference, media_types

__all__ = ["configs", "descriptors", "digests", "indexes", "json_values", "manifests", "platforms", "references"]

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_WORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
_HEX = "0123456789abcdef"
# Names that no specification knows, now or soon.
_UNKNOWN = st.from_regex(r"x-[a-z<>&]{1,6}", fullmatch=True)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | _TEXT | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_rest = st.dictionaries(_UNKNOWN, json_values, max_size=2)
_annotations = st.dictionaries(_TEXT, _TEXT, max_size=4)


@st.composite
def digests(draw: st.DrawFn) -> Digest:
    algorithm, length = draw(st.sampled_from([("sha256", 64), ("sha512", 128)]))
    seed = draw(st.integers(0, 16**8 - 1))
    return Digest(algorithm, f"{seed:08x}" * (length // 8))


platforms = st.builds(
    Platform,
    os=st.sampled_from(["linux", "windows", "unknown"]),
    architecture=st.sampled_from(["amd64", "arm64", "unknown"]),
    variant=st.none() | _WORD,
    rest=_rest | st.just({"os.version": "10.0.1", "os.features": ["win32k"]}),
)


@st.composite
def descriptors(draw: st.DrawFn) -> Descriptor:
    content = draw(st.none() | st.binary(min_size=1, max_size=9))
    return Descriptor(
        media_type=draw(_WORD),
        digest=Digest.of(content) if content else draw(digests()),
        size=len(content) if content else draw(st.integers(0, (1 << 63) - 1)),
        annotations=draw(_annotations),
        platform=draw(st.none() | platforms),
        artifact_type=draw(st.none() | _WORD),
        urls=tuple(draw(st.lists(_TEXT, max_size=2))),
        data=content,
        rest=draw(_rest),
    )


_subjects = st.none() | descriptors()
manifests = st.builds(
    Manifest,
    config=descriptors(),
    layers=st.lists(descriptors(), max_size=3).map(tuple),
    media_type=st.sampled_from(sorted(media_types.MANIFESTS)),
    artifact_type=st.none() | _WORD,
    subject=_subjects,
    annotations=_annotations,
    rest=_rest,
)
indexes = st.builds(
    Index,
    manifests=st.lists(descriptors(), max_size=3).map(tuple),
    media_type=st.sampled_from(sorted(media_types.INDEXES)),
    artifact_type=st.none() | _WORD,
    subject=_subjects,
    annotations=_annotations,
    rest=_rest,
)
configs = st.builds(
    ImageConfig,
    architecture=_WORD,
    os=_WORD,
    diff_ids=st.lists(digests(), max_size=3).map(tuple),
    runtime=st.dictionaries(_TEXT, json_values, max_size=3),
    history=st.lists(st.dictionaries(_TEXT, json_values, max_size=2), max_size=3).map(tuple),
    variant=st.none() | _WORD,
    rest=_rest,
)

_component = st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}", fullmatch=True)
_registry = st.one_of(
    st.just("docker.io"),
    st.just("localhost"),
    st.from_regex(r"[a-zA-Z0-9]{1,5}(-[a-z0-9]{1,3})?\.[a-z]{2,5}", fullmatch=True),
    st.builds("{}:{}".format, st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True), st.integers(1, 65535)),
    st.builds("[{}]".format, st.ip_addresses(v=6).map(str)),
    st.builds("[{}]:{}".format, st.ip_addresses(v=6).map(lambda a: a.exploded), st.integers(1, 65535)),
).filter(lambda text: text not in ("index.docker.io", "registry-1.docker.io"))


@st.composite
def references(draw: st.DrawFn) -> Reference:
    registry = draw(_registry)
    parts = draw(st.lists(_component, min_size=2 if registry == "docker.io" else 1, max_size=3))
    tag = draw(st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,8}", fullmatch=True))
    digest = draw(digests() if tag is None else st.none() | digests())
    return Reference(registry=registry, repository="/".join(parts), tag=tag, digest=digest)
