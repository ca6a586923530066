"""Image manifests, indexes and configs: immutable values. Edits return new ones; parsed ones keep their raw bytes.

Source: OCI image specification 1.1 (manifest.md, image-index.md, config.md); Docker's schema 2 reads the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from modelcar.errors import InvalidDigest, InvalidDocument
from modelcar.oci import media_types
from modelcar.oci.descriptor import Descriptor, Platform
from modelcar.oci.digest import Digest
from modelcar.oci.document import Fields, compact_json, parse_object

__all__ = ["ImageConfig", "Index", "Manifest", "parse_manifest"]


class _Document:
    """Bytes, digest and descriptor of a document; `raw` is what was parsed, unless it was edited since."""

    raw: bytes | None
    media_type: str

    def to_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    @cached_property
    def content(self) -> bytes:
        """The document's bytes: exactly those that were parsed, or compact JSON in the specification's key order."""
        return self.raw if self.raw is not None else compact_json(self.to_dict())

    @cached_property
    def digest(self) -> Digest:
        return Digest.of(self.content)

    @property
    def descriptor(self) -> Descriptor:
        """Media type, digest and size of this document."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=len(self.content))

    def edited(self, **changes: Any) -> Self:
        return replace(self, raw=None, **changes)  # type: ignore[type-var]  # every subclass is a dataclass


@dataclass(frozen=True, kw_only=True)
class _Listing(_Document):
    """What manifests and indexes have in common."""

    media_type: str
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes | None = field(default=None, repr=False, compare=False)

    _COMMON = frozenset({"schemaVersion", "mediaType", "artifactType", "subject", "annotations"})

    @classmethod
    def _common(cls, fields: Fields, media_type: str | None, default: str, own: frozenset[str]) -> dict[str, Any]:
        """The members in common, as arguments; `own` are the names of the others."""
        subject = fields.optional_object("subject")
        return {
            "media_type": _check_media_type(fields, media_type, default),
            "artifact_type": fields.optional_text("artifactType"),
            "subject": Descriptor.from_fields(subject) if subject else None,
            "annotations": fields.text_map("annotations"),
            "rest": fields.rest(cls._COMMON | own),
        }

    def _own(self) -> dict[str, Any]:
        """The other members, which stand in the middle."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type is not None:
            result["artifactType"] = self.artifact_type
        result |= self._own()
        if self.subject is not None:
            result["subject"] = self.subject.to_dict()
        if self.annotations:
            result["annotations"] = dict(sorted(self.annotations.items()))
        result.update(self.rest)
        return result


@dataclass(frozen=True, kw_only=True)
class Manifest(_Listing):
    """An image manifest, or an artifact in the shape of one (`artifact_type`, `subject`)."""

    config: Descriptor
    layers: tuple[Descriptor, ...] = ()
    media_type: str = media_types.MANIFEST

    @classmethod
    def parse(cls, raw: bytes, media_type: str | None = None) -> Manifest:
        """Parse a manifest's bytes; `media_type` is what the registry or descriptor called it.

        Raises:
            InvalidDocument: with the path to the offending field.
        """
        fields = Fields(parse_object(raw, "manifest"), "manifest")
        _check_schema_version(fields)
        _refuse_both_kinds(fields, "manifests")
        config = fields.optional_object("config")
        if config is None:
            raise InvalidDocument("manifest.config is missing")
        return cls(
            config=Descriptor.from_fields(config),
            layers=tuple(Descriptor.from_fields(f) for f in fields.objects("layers")),
            raw=raw,
            **cls._common(fields, media_type, media_types.MANIFEST, frozenset({"config", "layers"})),
        )

    def _own(self) -> dict[str, Any]:
        return {"config": self.config.to_dict(), "layers": [layer.to_dict() for layer in self.layers]}

    @property
    def is_image(self) -> bool:
        """Whether its config is one that engines know, and not some artifact's."""
        return self.config.media_type in media_types.IMAGE_CONFIGS

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers: everything a registry must have before it takes the manifest."""
        return (self.config, *self.layers)

    def append(self, *layers: Descriptor) -> Manifest:
        return self.edited(layers=self.layers + layers)


@dataclass(frozen=True, kw_only=True)
class Index(_Listing):
    """An image index: manifests for several platforms, or of several kinds, under one digest."""

    manifests: tuple[Descriptor, ...] = ()
    media_type: str = media_types.INDEX

    @classmethod
    def parse(cls, raw: bytes, media_type: str | None = None) -> Index:
        """Parse an index's bytes.

        Raises:
            InvalidDocument: with the path to the offending field.
        """
        fields = Fields(parse_object(raw, "index"), "index")
        _check_schema_version(fields)
        _refuse_both_kinds(fields, "config", "layers", "fsLayers")
        return cls(
            manifests=tuple(Descriptor.from_fields(f) for f in fields.objects("manifests")),
            raw=raw,
            **cls._common(fields, media_type, media_types.INDEX, frozenset({"manifests"})),
        )

    def _own(self) -> dict[str, Any]:
        return {"manifests": [m.to_dict() for m in self.manifests]}

    def append(self, *manifests: Descriptor) -> Index:
        return self.edited(manifests=self.manifests + manifests)

    def select(self, platform: Platform) -> Descriptor | None:
        """The first entry for `platform`; a variant that is not asked for matches any."""
        for entry in self.manifests:
            p = entry.platform
            if p is None or (p.os, p.architecture) != (platform.os, platform.architecture):
                continue
            if platform.variant is None or p.variant in (None, platform.variant):
                return entry
        return None


@dataclass(frozen=True, kw_only=True)
class ImageConfig(_Document):
    """An image's configuration. `runtime` is its `config` object (Entrypoint, Env, User, …) as it is."""

    architecture: str
    os: str
    diff_ids: tuple[Digest, ...]
    runtime: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    variant: str | None = None
    media_type: str = media_types.CONFIG
    rest: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes | None = field(default=None, repr=False, compare=False)

    _KNOWN = frozenset({"architecture", "os", "variant", "config", "rootfs", "history"})

    @classmethod
    def parse(cls, raw: bytes, media_type: str = media_types.CONFIG) -> ImageConfig:
        """Parse an image config's bytes.

        Raises:
            InvalidDocument: with the path to the offending field.
        """
        fields = Fields(data := parse_object(raw, "image config"), "config")
        rootfs = fields.optional_object("rootfs")
        if rootfs is None:
            raise InvalidDocument("config.rootfs is missing")
        rootfs.rest(frozenset({"type", "diff_ids"}))
        try:
            diff_ids = tuple(Digest.parse(text) for text in rootfs.texts("diff_ids"))
        except InvalidDigest as e:
            raise InvalidDocument(f"config.rootfs.diff_ids: {e}") from None
        runtime = data.get("config") or {}
        history = data.get("history") or []
        if not isinstance(runtime, dict):
            raise InvalidDocument("config.config is not an object")
        if not isinstance(history, list) or not all(isinstance(h, dict) for h in history):
            raise InvalidDocument("config.history is not an array of objects")
        return cls(
            architecture=fields.text("architecture"),
            os=fields.text("os"),
            variant=fields.optional_text("variant"),
            diff_ids=diff_ids,
            runtime=runtime,
            history=tuple(history),
            media_type=media_type,
            rest=fields.rest(cls._KNOWN),
            raw=raw,
        )

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.variant is not None:
            result["variant"] = self.variant
        if self.runtime:
            result["config"] = dict(self.runtime)
        result["rootfs"] = {"type": "layers", "diff_ids": [str(d) for d in self.diff_ids]}
        if self.history:
            result["history"] = [dict(h) for h in self.history]
        result.update(self.rest)
        return result

    @property
    def platform(self) -> Platform:
        return Platform(os=self.os, architecture=self.architecture, variant=self.variant)

    def prepend_layers(self, diff_ids: Sequence[Digest], history: Sequence[Mapping[str, Any]]) -> ImageConfig:
        """The same config with layers put underneath its own."""
        return self.edited(diff_ids=(*diff_ids, *self.diff_ids), history=(*history, *self.history))


def parse_manifest(raw: bytes, media_type: str | None = None) -> Manifest | Index:
    """Parse what a registry returned for a reference; the bytes decide where `media_type` is vague.

    Raises:
        InvalidDocument: neither a manifest nor an index, or both at once.
    """
    data = parse_object(raw, "manifest")
    known = media_type in media_types.INDEXES | media_types.MANIFESTS
    declared = media_type if known else Fields(data, "manifest").optional_text("mediaType")
    if declared in media_types.INDEXES or (declared is None and "manifests" in data):
        return Index.parse(raw, media_type if media_type in media_types.INDEXES else None)
    return Manifest.parse(raw, media_type if media_type in media_types.MANIFESTS else None)


def _refuse_both_kinds(fields: Fields, *foreign: str) -> None:
    """What one client reads as an index another would read as an image: CVE-2021-41190."""
    for name in foreign:
        if fields.has(name):
            raise InvalidDocument(
                f"{fields.path}.{name}: it is both a manifest and an index, so clients disagree on what it is"
            )


def _check_schema_version(fields: Fields) -> None:
    if fields.size("schemaVersion") != 2:
        raise InvalidDocument(f"{fields.path}.schemaVersion is not 2", hint="Docker schema 1 images are not supported")


def _check_media_type(fields: Fields, expected: str | None, default: str) -> str:
    declared = fields.optional_text("mediaType")
    if declared and expected and declared != expected:
        raise InvalidDocument(f"{fields.path}.mediaType is {declared} where {expected} was expected")
    return declared or expected or default
