"""The registry client: push, pull and copy images over the OCI distribution API.

From the outside in: `client` (what one can do) → `upload`, `download`, `documents`, `referrers` (how each is done, and
how it goes on after a failure) → `session` (requests with credentials, redirects and retries; `auth`, `credentials`)
→ `transport` (one request; the only module that knows urllib3) → `sending` (bytes into a socket).

The client is imported when it is first asked for: `cancel` is used by what never speaks to a registry, too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from modelcar.registry.client import Registry
    from modelcar.registry.download import BlobStream
    from modelcar.registry.settings import ClientSettings

__all__ = ["BlobStream", "ClientSettings", "Registry"]

_MODULES: Final = {"BlobStream": "download", "ClientSettings": "settings", "Registry": "client"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
