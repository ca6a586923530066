"""The registry client: push, pull and copy images over the OCI distribution API.

From the outside in: `client` (what one can do) → `upload`, `download`, `documents`, `referrers` (how each is done, and
how it goes on after a failure) → `session` (requests with credentials, redirects and retries; `auth`, `credentials`)
→ `transport` (one request; the only module that knows urllib3) → `sending` (bytes into a socket).
"""

from modelcar.registry.client import Registry
from modelcar.registry.download import BlobStream
from modelcar.registry.settings import ClientSettings

__all__ = ["BlobStream", "ClientSettings", "Registry"]
