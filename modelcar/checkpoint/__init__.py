"""What gets packaged: a tree of named files, where they came from, and what they say about themselves.

```python
checkpoint = open_checkpoint("hf://Qwen/Qwen3-0.6B")
for file in checkpoint.files:
    print(file.path, file.role, file.size)
checkpoint.headers()["model.safetensors"].tensors
```

Opening reads the first bytes of every file, headers are read on request, weights never.
"""

from modelcar.checkpoint.checkpoint import Checkpoint
from modelcar.checkpoint.facts import ModelFacts
from modelcar.checkpoint.file import CheckpointFile, Role
from modelcar.checkpoint.formats.header import Header, Tensor
from modelcar.checkpoint.formats.read import read_header
from modelcar.checkpoint.hub import HubOptions
from modelcar.checkpoint.provenance import Provenance
from modelcar.checkpoint.remote import Remote, RemoteFile, RemoteSource
from modelcar.checkpoint.source import open_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointFile",
    "Header",
    "HubOptions",
    "ModelFacts",
    "Provenance",
    "Remote",
    "RemoteFile",
    "RemoteSource",
    "Role",
    "Tensor",
    "open_checkpoint",
    "read_header",
]
