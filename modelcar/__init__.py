"""modelcar: model checkpoints as layered OCI images.

```python
import modelcar

modelcar.build("./my-model", "ghcr.io/org/my-model:v1")
modelcar.push("ghcr.io/org/my-model:v1")
modelcar.pull("ghcr.io/org/my-model:v1", "./copy")
```

Whatever is in `__all__` is imported when it is first used. Everything raises a `ModelcarError`; `modelcar.errors` draws
their tree.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelcar import errors
    from modelcar.checkpoint import Checkpoint, open_checkpoint
    from modelcar.conversion import convert
    from modelcar.errors import ModelcarError
    from modelcar.images.opening import open_model
    from modelcar.images.operations import build, pull, push
    from modelcar.loading.load import load, stream
    from modelcar.oci import Reference
    from modelcar.progress import Progress
    from modelcar.registry import ClientSettings, Registry
    from modelcar.store import LocalStore

__version__ = "0.1.0"
__all__ = [
    "Checkpoint",
    "ClientSettings",
    "LocalStore",
    "ModelcarError",
    "Progress",
    "Reference",
    "Registry",
    "__version__",
    "build",
    "convert",
    "errors",
    "load",
    "open_checkpoint",
    "open_model",
    "pull",
    "push",
    "stream",
]

_MODULES = {
    "Checkpoint": "checkpoint",
    "ClientSettings": "registry",
    "LocalStore": "store",
    "ModelcarError": "errors",
    "Progress": "progress",
    "Reference": "oci",
    "Registry": "registry",
    "build": "images.operations",
    "convert": "conversion",
    "load": "loading.load",
    "open_checkpoint": "checkpoint",
    "open_model": "images.opening",
    "pull": "images.operations",
    "push": "images.operations",
    "stream": "loading.load",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(f"{__name__}.errors")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
