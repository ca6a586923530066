"""Image references as people type them, normalised the way Docker does.

Source: the grammar in distribution/reference (`regexp.go`) and its familiar-name rules: no registry means
`docker.io`, one path component there means `library/`, and neither tag nor digest means `latest`.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from dataclasses import dataclass, replace

from modelcar.errors import InvalidDigest, InvalidReference
from modelcar.oci.digest import Digest

__all__ = ["DEFAULT_REGISTRY", "DEFAULT_TAG", "Reference", "is_loopback", "is_repository", "is_tag"]

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_IPV6 = re.compile(r"[0-9a-fA-F:]+")  # no zone and no dotted quad, as in Docker's grammar
_PORT = re.compile(r"[0-9]{1,5}")
_CREDENTIALS = re.compile(r"(?:[A-Za-z0-9+.-]*://)?[^/]*@[^/]*/")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}")
_MAX_NAME = 255


def is_tag(text: str) -> bool:
    """Whether `text` is a tag by the distribution specification."""
    return _TAG.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """Whether `text` is a repository name by the distribution specification."""
    return len(text) <= _MAX_NAME and _REPOSITORY.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Whether `host` (no port, no brackets) is this machine by its name or address, without asking anybody."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`registry/repository[:tag][@digest]`; at least one of tag and digest is set.

    >>> str(Reference.parse("ubuntu"))
    'docker.io/library/ubuntu:latest'
    >>> Reference.parse("localhost:5000/org/model:v1").registry
    'localhost:5000'
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        _check_registry(self.registry)
        if not is_repository(self.repository):
            raise InvalidReference(
                f"{self.repository!r} is not a repository name",
                hint="lower-case letters, digits and . _ - between them, parts separated by /",
            )
        if len(self.registry) + 1 + len(self.repository) > _MAX_NAME:
            raise InvalidReference(f"registry and repository together exceed {_MAX_NAME} characters")
        if _split_registry(self.name) != (self.registry, self.repository):
            raise InvalidReference(f"{self.registry!r} cannot be told from a folder", hint="add a port: host:443")
        if self.registry == DEFAULT_REGISTRY and "/" not in self.repository:
            raise InvalidReference(f"{self.name} lacks a folder", hint=f"it is {self.registry}/library/...")
        if self.tag is not None and not is_tag(self.tag):
            raise InvalidReference(
                f"{self.tag!r} is not a tag",
                hint="up to 128 letters, digits and _ . -, not beginning with . or -",
            )
        if self.tag is None and self.digest is None:
            raise InvalidReference(f"{self.registry}/{self.repository} has neither tag nor digest")

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Parse what a person typed; the parts that are left out become Docker's defaults.

        Raises:
            InvalidReference: with the part that is wrong.
        """
        if _CREDENTIALS.match(text):  # never shown: it may be a password
            raise InvalidReference("an image reference takes no credentials", hint="log in with `docker login`")
        if "://" in text:
            raise InvalidReference(f"{text!r} is not an image reference", hint=_without_scheme(text))
        if text.startswith(("./", "../", "/", "~")) or text in (".", ".."):
            raise InvalidReference(
                f"{text!r} is a path, and an image is named registry/repo:tag",
                hint="`modelcar build` packages a folder, `modelcar pull REF -o` fills one; oci:DIR is a layout in one",
            )
        if _IDENTIFIER.fullmatch(text):
            raise InvalidReference(
                f"{text!r} is a bare digest, not an image reference", hint="name the repository: repo@sha256:..."
            )
        name, at, digest_text = text.partition("@")
        try:
            digest = Digest.parse(digest_text) if at else None
        except InvalidDigest as e:
            raise InvalidReference(f"{text!r}: {e}") from None
        registry, remainder = _split_registry(name)
        repository, colon, tag = remainder.partition(":")
        if registry == DEFAULT_REGISTRY and "/" not in repository:
            repository = f"library/{repository}"
        try:
            return cls(
                registry=registry,
                repository=repository,
                tag=tag if colon else (None if digest else DEFAULT_TAG),
                digest=digest,
            )
        except InvalidReference as e:
            raise InvalidReference(f"{text!r} is not an image reference: {e}", hint=e.hint) from None

    def with_tag(self, tag: str) -> Reference:
        """The same repository under `tag`, without a digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """The same reference pinned to `digest`; a tag is kept for people to read."""
        return replace(self, digest=digest)

    @property
    def name(self) -> str:
        """`registry/repository`."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What a registry is asked for: the digest where there is one, else the tag."""
        return str(self.digest) if self.digest is not None else str(self.tag)

    @property
    def host(self) -> str:
        """The registry's host without port and brackets."""
        if self.registry.startswith("["):
            return self.registry[1 : self.registry.index("]")]
        return self.registry.partition(":")[0]

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is this machine, where plain HTTP is the default."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"


def _without_scheme(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme in ("docker", "oci"):
        return f"leave out the scheme: {rest or 'registry/repo:tag'}"
    if scheme in ("hf", "s3", "gs", "az"):
        return f"`modelcar build {shlex.quote(text)} -t registry/repo:tag` makes an image of it"
    return "leave out the scheme: registry/repo:tag"


def _split_registry(name: str) -> tuple[str, str]:
    """Docker's rule: the first part is a registry if it has a dot or a colon, is `localhost`, or is not lower case."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or any(c in first for c in ".:[") or first != first.lower()):
        if first in ("index.docker.io", "registry-1.docker.io"):
            first = DEFAULT_REGISTRY
        return first, rest
    return DEFAULT_REGISTRY, name


def _check_registry(registry: str) -> None:
    if registry.startswith("["):
        host, bracket, after = registry[1:].partition("]")
        if not _is_ipv6(host):
            raise InvalidReference(f"{registry!r} is not an IPv6 address in brackets")
        if not bracket or (after and not after.startswith(":")):
            raise InvalidReference(f"{registry!r} is not [address]:port")
        colon, port = after[:1], after[1:]
    else:
        host, colon, port = registry.partition(":")
        if not _HOST.fullmatch(host):
            raise InvalidReference(f"{host!r} is not a host name")
    if colon and not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        raise InvalidReference(f"{port!r} is not a port")


def _is_ipv6(text: str) -> bool:
    try:
        return _IPV6.fullmatch(text) is not None and ipaddress.IPv6Address(text) is not None
    except ValueError:
        return False
