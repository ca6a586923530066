"""Content descriptors (OCI image specification 1.1, descriptor.md)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelcar.errors import InvalidDigest, InvalidDocument, SizeMismatch, UsageError
from modelcar.oci.digest import Digest
from modelcar.oci.document import Fields

__all__ = ["Descriptor", "Platform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """`os/architecture[/variant]`; `rest` keeps `os.version`, `os.features` and what we do not know."""

    os: str
    architecture: str
    variant: str | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)

    _KNOWN = frozenset({"os", "architecture", "variant"})

    @classmethod
    def parse(cls, text: str) -> Platform:
        """`linux/arm64/v8` as people type it. Raises `UsageError`."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise UsageError(f"{text!r} is not a platform", hint="it looks like linux/amd64")
        return cls(os=parts[0], architecture=parts[1], variant=parts[2] if len(parts) == 3 else None)

    @classmethod
    def from_fields(cls, fields: Fields) -> Platform:
        return cls(
            os=fields.optional_text("os") or "",
            architecture=fields.optional_text("architecture") or "",
            variant=fields.optional_text("variant"),
            rest=fields.rest(cls._KNOWN),
        )

    def to_dict(self) -> dict[str, Any]:
        known: dict[str, Any] = {"architecture": self.architecture, "os": self.os, **self.rest}
        if self.variant is not None:
            known["variant"] = self.variant
        return known

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Media type, digest and size (bytes) of a blob or manifest. Unknown members survive a round trip in `rest`."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str | None = None
    urls: tuple[str, ...] = ()
    data: bytes | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)

    _KNOWN = frozenset({"mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"})

    @classmethod
    def from_dict(cls, data: Any, path: str = "descriptor") -> Descriptor:
        return cls.from_fields(Fields(data, path))

    @classmethod
    def from_fields(cls, fields: Fields) -> Descriptor:
        try:
            digest = Digest.parse(fields.text("digest"))
        except InvalidDigest as e:
            raise InvalidDocument(f"{fields.path}.digest: {e}") from None
        platform = fields.optional_object("platform")
        descriptor = cls(
            media_type=fields.text("mediaType"),
            digest=digest,
            size=fields.size("size"),
            annotations=fields.text_map("annotations"),
            platform=Platform.from_fields(platform) if platform else None,
            artifact_type=fields.optional_text("artifactType"),
            urls=fields.texts("urls"),
            data=_decode(fields.optional_text("data"), fields.path),
            rest=fields.rest(cls._KNOWN),
        )
        if descriptor.data is not None:
            descriptor.check(descriptor.data)
        return descriptor

    @classmethod
    def of(cls, media_type: str, content: bytes, **rest: Any) -> Descriptor:
        """The descriptor of `content`."""
        return cls(media_type=media_type, digest=Digest.of(content), size=len(content), **rest)

    def to_dict(self) -> dict[str, Any]:
        """In the key order of image-spec's Go type, annotations sorted as Go sorts maps."""
        result: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            result["urls"] = list(self.urls)
        if self.annotations:
            result["annotations"] = dict(sorted(self.annotations.items()))
        if self.data:
            result["data"] = base64.b64encode(self.data).decode()
        if self.platform is not None:
            result["platform"] = self.platform.to_dict()
        if self.artifact_type is not None:
            result["artifactType"] = self.artifact_type
        result.update(self.rest)
        return result

    def annotated(self, annotations: Mapping[str, str]) -> Descriptor:
        """The same descriptor with `annotations` added."""
        return replace(self, annotations={**self.annotations, **annotations})

    def plain(self) -> Descriptor:
        """Only media type, digest and size: what a `subject` carries."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)

    def check(self, content: bytes) -> None:
        """Raise `SizeMismatch` or `DigestMismatch` unless `content` is what this describes."""
        if len(content) != self.size:
            raise SizeMismatch(f"{self.digest} has {len(content)} bytes where {self.size} were promised")
        self.digest.check(content, self.media_type)


def _decode(text: str | None, path: str) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, and a plain one for what is not ASCII
        raise InvalidDocument(f"{path}.data is not base64") from None
