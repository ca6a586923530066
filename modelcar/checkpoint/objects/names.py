"""`s3://bucket/prefix`: what it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from modelcar.checkpoint.formats.reader import printable
from modelcar.errors import SourceError

__all__ = ["SCHEMES", "Location", "parse_location"]

SCHEMES: Final = ("s3://", "gs://", "az://")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A folder of a bucket, or one object in it. `scheme` is `s3`, `gs` or `az`; `key` has no slash at its ends."""

    scheme: str
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.key}" if self.key else "")


def parse_location(source: str) -> Location:
    """`s3://bucket/prefix`, with or without a slash at the end.

    Raises:
        SourceError: that names no place in an object store.
    """
    scheme, _, rest = source.partition("://")
    bucket, _, key = rest.partition("/")
    key = key.removesuffix("/")
    if "@" in bucket:  # never shown: it may be a password
        raise SourceError(
            f"{scheme}:// takes no credentials in its name",
            hint="set them in the environment, as for the store's tools",
        )
    if not _BUCKET.fullmatch(bucket):
        raise SourceError(f"{printable(source, 200)} names no bucket", hint=f"write {scheme}://bucket/folder")
    if any(part in ("", ".", "..") for part in key.split("/") if key):
        raise SourceError(
            f"{printable(source, 200)} names no folder: a part of its path is empty or made of dots",
            hint=f"write {scheme}://{bucket}/folder",
        )
    return Location(scheme=scheme, bucket=bucket, key=key)
