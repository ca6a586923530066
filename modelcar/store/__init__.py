"""Content stores behind one protocol: memory, an OCI layout on disk, and the user's own store of images by name."""

from modelcar.store.archive import ArchiveStore
from modelcar.store.base import Layout, Store, Writer, read_document, write_document
from modelcar.store.layout import OciLayout
from modelcar.store.local import LocalStore, default_home
from modelcar.store.memory import MemoryStore
from modelcar.store.names import Names

__all__ = [
    "ArchiveStore",
    "Layout",
    "LocalStore",
    "MemoryStore",
    "Names",
    "OciLayout",
    "Store",
    "Writer",
    "default_home",
    "read_document",
    "write_document",
]
