"""What a pod asks for: our annotations, KServe's, and what KServe's own webhook may have made of them already."""

from modelcar.admission.reading.read import read

__all__ = ["read"]
