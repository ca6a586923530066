"""The OCI distribution API 1.1 as plain functions: a `Request` goes in, a `Response` comes out, no socket in sight."""

from registry_shim.distribution.api import Distribution, Settings

__all__ = ["Distribution", "Settings"]
