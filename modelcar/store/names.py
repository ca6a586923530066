"""Names of images in an OCI layout: the entries of `index.json` that carry `org.opencontainers.image.ref.name`."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from modelcar.errors import InvalidDocument, NotFound, StorageError
from modelcar.oci import Descriptor, Index
from modelcar.store.base import Layout

__all__ = ["REF_NAME", "SUBJECT", "Edit", "Names", "is_attachment"]

REF_NAME: Final = "org.opencontainers.image.ref.name"
SUBJECT: Final = "dev.modelcar.subject"  # on an entry that belongs to an image: the image's digest
_ATTACHMENT_TAG: Final = re.compile(r"(sha256|sha512)-[0-9a-f]{64}(\.(sig|att|sbom))?")

Edit = Callable[[tuple[Descriptor, ...]], tuple[Descriptor, ...]]


def is_attachment(entry: Descriptor) -> bool:
    """Whether an entry belongs to an image and is none itself: see `attachments`."""
    name = entry.annotations.get(REF_NAME)
    if name is None:
        return SUBJECT in entry.annotations or entry.artifact_type is not None
    return _ATTACHMENT_TAG.fullmatch(name) is not None


_SOME_NAMES: Final = 3


class Names:
    """Reads and edits a layout's `index.json`; edits hold a lock and are atomic, so processes do not lose each other's.

    In the user's own store a name is a full reference (`localhost:5000/org/model:v1`), elsewhere whatever the layout
    uses, usually a tag.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def entries(self) -> tuple[Descriptor, ...]:
        """Every entry, named or not, as it stands in the file."""
        return self._read().manifests

    def _read(self) -> Index:
        try:
            return Index.parse(self._layout.read_index())
        except InvalidDocument as e:
            raise StorageError(f"{self._layout.root / 'index.json'} is damaged: {e}") from None

    def images(self) -> tuple[Descriptor, ...]:
        """Every entry that is an image and not attached to one."""
        return tuple(e for e in self.entries() if not is_attachment(e))

    def list(self) -> dict[str, Descriptor]:
        """Name to descriptor of the images, in the order of the file."""
        return {e.annotations[REF_NAME]: e.plain() for e in self.images() if REF_NAME in e.annotations}

    def get(self, name: str) -> Descriptor:
        """What `name` stands for. Raises `NotFound`."""
        names = self.list()
        if name not in names:
            some = ", ".join(sorted(names)[:_SOME_NAMES])
            raise NotFound(f"no image {name} in {self._layout.root}", hint=f"there is {some}" if some else None)
        return names[name]

    def only(self) -> Descriptor:
        """The only image of a layout that is used without a name.

        Raises:
            NotFound: there is none, or more than one, which the message lists.
        """
        entries = self.images()
        if not entries:
            raise NotFound(f"{self._layout.root} holds no image")
        if len({e.digest for e in entries}) != 1:
            names = ", ".join(e.annotations.get(REF_NAME, str(e.digest)) for e in entries)
            raise NotFound(
                f"{self._layout.root} holds {len(entries)} images ({names})",
                hint=f"name one: {self._layout.location}:NAME",
            )
        return entries[0].plain()

    def name_of(self, image: Descriptor) -> str | None:
        """The first name that stands for `image`, if any does."""
        return next((name for name, listed in self.list().items() if listed.digest == image.digest), None)

    def put(self, name: str | None, descriptor: Descriptor) -> None:
        """Let `name` stand for `descriptor`, which must be complete in the layout; without a name just list it."""
        plain = descriptor.plain()
        entry = plain.annotated({REF_NAME: name}) if name else plain

        def edit(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
            if entry in entries or (name is None and any(e.digest == entry.digest for e in entries)):
                return entries
            kept = [e for e in entries if not _replaced_by(entry, e)]
            return (*kept, entry)

        self.edit(edit)

    def remove(self, name: str) -> Descriptor:
        """Forget `name`; the content stays until a collection. Raises `NotFound`."""
        descriptor = self.get(name)
        self.edit(lambda entries: tuple(e for e in entries if e.annotations.get(REF_NAME) != name))
        return descriptor

    def locked(self) -> AbstractContextManager[None]:
        """Keep other edits out."""
        return self._layout.locked()

    def edit(self, change: Edit) -> None:
        """Replace the entries by what `change` makes of them; what it raises leaves them as they are."""
        with self.locked():
            self.edit_locked(change)

    def edit_locked(self, change: Edit) -> None:
        """`edit` for whoever holds `locked()` already."""
        index = self._read()
        changed = change(index.manifests)
        if changed != index.manifests:
            self._layout.write_index(index.edited(manifests=changed).content)


def _replaced_by(new: Descriptor, old: Descriptor) -> bool:
    name = new.annotations.get(REF_NAME)
    if name is None:
        return old.digest == new.digest and REF_NAME not in old.annotations
    return old.annotations.get(REF_NAME) == name
