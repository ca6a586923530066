"""Images from nothing, with whatever names and numbers a test wants; and a strict reader of pages."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser

from modelcar.checkpoint.formats.header import Tensor
from modelcar.layers.index import IndexedFile, IndexedLayer, ModelIndex
from modelcar.oci import Descriptor, Digest, ImageConfig, Manifest
from modelcar.packaging.annotations import LAYER
from modelcar.packaging.inspect import Inspected, InspectedManifest

TAR = "application/vnd.oci.image.layer.v1.tar"
HOSTILE = (
    "<script>document.title='pwned'</script>",
    "</script><script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "\"' onmouseover='document.title=1'",
    "\u202etxt.exe\u202c \u2066 \u200b",
    "&lt;b&gt; {{ 7 * 7 }} {% raw %} <!-- --> ]]>",
    "\x1b[31m\x00\r\n\udc80",
    "x" * 10_000_000,
)
_VOID = {"meta", "link", "input", "br"}


def digest_of(name: object) -> Digest:
    return Digest("sha256", hashlib.sha256(str(name).encode("utf-8", "replace")).hexdigest())


def layer(name: object, size: int, kind: str | None = "weights") -> Descriptor:
    annotations = {} if kind is None else {LAYER: kind}
    return Descriptor(media_type=TAR, digest=digest_of(name), size=size, annotations=annotations)


def tensor(name: str, *, size: int = 16, dtype: str = "F32", offset: int = 0) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=(2, size // 8), offset=offset, size=size)


def indexed(of: Descriptor, *files: tuple[str, Iterable[Tensor]]) -> IndexedLayer:
    entries = tuple(IndexedFile(path=p, offset=0, size=1, role="weight", tensors=tuple(t)) for p, t in files)
    return IndexedLayer(digest=of.digest, size=of.size, media_type=of.media_type, chunks=(), files=entries)


def image(
    *layers: Descriptor,
    index: Iterable[IndexedLayer] = (),
    annotations: dict[str, str] | None = None,
    runtime: dict[str, object] | None = None,
) -> Inspected:
    root = Descriptor(media_type="application/vnd.oci.image.manifest.v1+json", digest=digest_of("root"), size=1)
    config = Descriptor(media_type="application/vnd.oci.image.config.v1+json", digest=digest_of("config"), size=1)
    found = InspectedManifest(
        descriptor=root,
        manifest=Manifest(config=config, layers=layers),
        config=ImageConfig(architecture="amd64", os="linux", diff_ids=(), runtime=runtime or {}),
        model=ModelIndex(root="/models", layers=tuple(index)),
    )
    return Inspected(root=root, annotations=annotations or {}, manifests=(found,))


@dataclass
class Read(HTMLParser):
    """A page; reading fails where an element is not closed, or closed that was never open."""

    page: bytes
    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._caption = ""
        self.feed(self.page.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        inside = self._open[-1] if self._open else ""
        if inside in ("h1", "h2", "h3") or "h1" in self._open:
            self.headings.append(data.strip())
        elif inside == "caption":
            self._caption = data
            self.columns[data] = []
        elif inside == "th" and "thead" in self._open:
            self.columns[self._caption].append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def policy(self) -> str:
        return next(value for name, value in self.attributes if name == "content" and "default-src" in value)

    def check_policy(self) -> None:
        """The one script and the one style sheet are those that the policy lets run, and it lets nothing else."""
        text = self.page.decode()
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert self.policy() == (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:;"
            " base-uri 'none'; form-action 'none'"
        )
        assert not [name for name, _ in self.attributes if name.startswith("on") or name in ("style", "src", "srcdoc")]
        assert {value for name, value in self.attributes if name == "href" and not value.startswith("#")} == {"data:,"}


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
