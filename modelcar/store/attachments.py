"""What belongs to the images of a layout without being part of them: signatures, attestations, SBOMs.

They are entries of `index.json` beside the images, where other tools look for them: referrers have no name, and older
signatures have the tag that a registry would give them (`sha256-<hex>.sig`). Ours carry the annotation
`dev.modelcar.subject`, which saves reading each; layouts that others wrote are read as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from modelcar.errors import InvalidContent, InvalidDigest, ModelcarError, NotFound
from modelcar.oci import Descriptor, Digest, Index, media_types
from modelcar.store.base import Layout
from modelcar.store.names import REF_NAME, SUBJECT, Names
from modelcar.store.tree import is_document, load, walk

__all__ = ["Attachments"]


class Attachments:
    """Finds, adds and collects attachments. Edits are atomic and keep each other's, as those of `Names` do."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._names = Names(layout)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Manifests whose subject this claims to be; whoever reads one checks what it says itself."""
        found = [e for e in self._candidates(subject) if self._is_about(e, subject)]
        return tuple({e.digest: e for e in found}.values())

    def tagged(self, tag: str) -> Descriptor | None:
        """What lies under a tag such as `sha256-<hex>.sig`."""
        return next((e.plain() for e in self._names.entries() if e.annotations.get(REF_NAME) == tag), None)

    def add(self, subject: Digest, referrer: Descriptor) -> None:
        """List a manifest, complete in the layout, as one that refers to `subject`."""
        entry = referrer.annotated({SUBJECT: str(subject)})

        def edit(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
            known = any(e.digest == entry.digest and _claims(e, subject) for e in entries)
            return entries if known else (*entries, entry)

        self._names.edit(edit)

    def put(self, tag: str, subject: Digest, image: Descriptor, *, replaces: Digest | None) -> bool:
        """Let `tag` stand for `image` if it still stands for `replaces` (`None`: for nothing); whether it did."""
        entry = image.plain().annotated({REF_NAME: tag, SUBJECT: str(subject)})
        done = False

        def edit(entries: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
            nonlocal done
            before = [e for e in entries if e.annotations.get(REF_NAME) == tag]
            if (before[0].digest if before else None) != replaces:
                return entries
            done = True
            return (*(e for e in entries if e.annotations.get(REF_NAME) != tag), entry)

        self._names.edit(edit)
        return done

    def collect(self, reachable: Iterable[Digest], *, dry_run: bool = False) -> set[Digest]:
        """Forget attachments of what is not `reachable`, and damaged ones; return what the others reach.

        For the user's own store, whose attachments all say what they belong to. The caller holds `Names.locked()`.
        """
        kept, waiting, gone = set(reachable), [e for e in self._names.entries() if SUBJECT in e.annotations], set()
        while belonging := [e for e in waiting if _subject(e) in kept]:  # attachments may have attachments
            waiting = [e for e in waiting if e not in belonging]
            for entry in belonging:
                try:
                    kept.update(d.digest for d in walk(self._layout, entry))
                except ModelcarError:
                    gone.add(_key(entry))
        gone.update(_key(e) for e in waiting)
        if not dry_run:
            self._names.edit_locked(lambda entries: tuple(e for e in entries if _key(e) not in gone))
        return kept

    def _candidates(self, subject: Digest) -> Iterable[Descriptor]:
        fallback = f"{subject.algorithm}-{subject.hex[:64]}"
        for entry in self._names.entries():
            name = entry.annotations.get(REF_NAME)
            if name is None or entry.artifact_type is not None:
                yield entry
            elif name == fallback and entry.media_type in media_types.INDEXES:
                with suppress(NotFound, InvalidContent):
                    index = load(self._layout, entry)
                    yield from index.manifests if isinstance(index, Index) else ()

    def _is_about(self, entry: Descriptor, subject: Digest) -> bool:
        if SUBJECT in entry.annotations:
            return _claims(entry, subject)
        if not is_document(entry):
            return False
        try:
            document = load(self._layout, entry)
        except (NotFound, InvalidContent):
            return False
        return document.subject is not None and document.subject.digest == subject


def _subject(entry: Descriptor) -> Digest | None:
    with suppress(InvalidDigest):
        return Digest.parse(entry.annotations.get(SUBJECT, ""))
    return None


def _key(entry: Descriptor) -> tuple[Digest, str | None, str | None]:
    return entry.digest, entry.annotations.get(REF_NAME), entry.annotations.get(SUBJECT)


def _claims(entry: Descriptor, subject: Digest) -> bool:
    return entry.annotations.get(SUBJECT) == str(subject)
