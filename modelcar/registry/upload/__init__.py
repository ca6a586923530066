"""Writing blobs.

From the outside in: `engine` decides what comes next (`tactics`: which way; `patience`: how often) → `wire` has the
requests → `source` the bytes, and `tail` those that are still being hashed.
"""

from modelcar.registry.upload.blob import Blob, UploadContext
from modelcar.registry.upload.engine import Upload
from modelcar.registry.upload.source import BlobSource, fingerprint, map_source
from modelcar.registry.upload.tail import Tail

__all__ = ["Blob", "BlobSource", "Tail", "Upload", "UploadContext", "fingerprint", "map_source"]
