"""The user's own store, and what verbs ask of its images."""

from __future__ import annotations

from modelcar.errors import StorageError
from modelcar.files import is_there
from modelcar.oci import Descriptor, Reference
from modelcar.store import LocalStore, Store, default_home
from modelcar.store.tree import is_document, walk

__all__ = ["content_size", "existing_local_store", "open_local_store", "store_of"]


def open_local_store() -> LocalStore:
    """The user's own store, under `$MODELCAR_HOME` or where XDG says; created if it is not there yet."""
    home = default_home()
    try:
        return LocalStore(home)
    except StorageError as e:
        hints = filter(None, (e.hint, "the local store lies where MODELCAR_HOME says"))
        raise StorageError(str(e), hint="; ".join(hints)) from None


def existing_local_store() -> LocalStore | None:
    """The same for those who only look: nothing is created."""
    try:
        there = is_there(default_home() / "store" / "oci-layout")
    except OSError:
        there = True  # or not: opening it says what is in the way
    return open_local_store() if there else None


def store_of(ref: Reference, *, hint: str | None = None) -> LocalStore:
    """The same for those who need the image `ref` in it. `hint` says what to do if it cannot be there.

    Raises:
        UsageError: `ref` has no tag.
        NotFound: there is no store, and so no such image.
    """
    from modelcar.images.local import absent  # `list` starts without what transfers need

    store = existing_local_store()
    if store is None:
        raise absent(ref, hint=hint)
    return store


def content_size(content: Store, root: Descriptor) -> int:
    """Bytes of all configs and layers of an image."""
    return sum(d.size for d in walk(content, root) if not is_document(d))
