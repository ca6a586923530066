"""Programs that are compiled for these tests: their module, and its version."""

from __future__ import annotations

__all__ = ["COSIGN"]

COSIGN = ("github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3")
