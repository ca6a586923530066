"""OCI values: digests, references, descriptors, manifests. Pure, and built on the standard library alone."""

from modelcar.oci import media_types
from modelcar.oci.descriptor import Descriptor, Platform
from modelcar.oci.digest import Digest, VerifyingReader
from modelcar.oci.document import compact_json, parse_object
from modelcar.oci.manifest import ImageConfig, Index, Manifest, parse_manifest
from modelcar.oci.reference import Reference

__all__ = [
    "Descriptor",
    "Digest",
    "ImageConfig",
    "Index",
    "Manifest",
    "Platform",
    "Reference",
    "VerifyingReader",
    "compact_json",
    "media_types",
    "parse_manifest",
    "parse_object",
]
