"""Names in the local store."""

from __future__ import annotations

from modelcar.errors import NotFound, UsageError
from modelcar.images.publish import twin_tag
from modelcar.oci import Descriptor, Reference
from modelcar.store import LocalStore

__all__ = ["absent", "find_local", "local_name", "look_up", "new_name"]


def local_name(ref: Reference) -> str:
    """The name under which `ref` is kept in the local store.

    Raises:
        UsageError: it is a digest without a tag, which names nothing that can be kept by name.
    """
    if ref.tag is None:
        raise UsageError(f"{ref} has no tag", hint="images in the local store have a name: registry/repo:tag")
    return f"{ref.name}:{ref.tag}"


def new_name(ref: Reference) -> str:
    """The name of an image that is to be made.

    Raises:
        UsageError: it has no tag, one that is too long, or a digest, which nobody knows yet.
    """
    if ref.digest is not None:
        raise UsageError(f"{ref} has a digest, and what will be built has its own", hint="name it registry/repo:tag")
    name = local_name(ref)
    twin_tag(ref.tag or "")
    return name


def absent(ref: Reference, *, hint: str | None = None) -> NotFound:
    """What to raise where the local store has no image `ref`. `hint` says what to do.

    Raises:
        UsageError: it has no tag.
    """
    return NotFound(
        f"there is no image {local_name(ref)} in the local store", hint=hint or "`modelcar list` shows what there is"
    )


def find_local(store: LocalStore, ref: Reference, *, hint: str | None = None) -> Descriptor:
    """What `ref` stands for in `store`. `hint` says what to do if it is not there.

    Raises:
        UsageError: it has no tag.
        NotFound: there is no such image, or another one than the digest in `ref` says.
    """
    name = local_name(ref)
    root = store.names.list().get(name)
    if root is None:
        raise absent(ref, hint=hint)
    if ref.digest is not None and ref.digest != root.digest:
        raise NotFound(f"{name} in the local store is {root.digest}, not {ref.digest}")
    return root


def look_up(store: LocalStore, ref: Reference) -> Descriptor | None:
    """What `ref` is in `store`, by its tag or, without one, by its digest in the same repository."""
    for name, root in store.names.list().items():
        named = Reference.parse(name)
        if named.name == ref.name and ref.tag in (None, named.tag) and ref.digest in (None, root.digest):
            return root
    return None
