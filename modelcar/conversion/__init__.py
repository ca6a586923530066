"""Pickled weights become safetensors without executing a pickle, and weights are divided into shards anew.

```python
conversion = convert("./old-model", "./new-model", max_shard_size="2GB")
for file in conversion.files:
    print(file.path, file.tensors, file.size)
```

A pickle is read by the scanner's machine, which runs nothing and refuses all that is no tensor or plain value; the
numbers are copied from where they lie, so that memory stays flat however large the model is.
"""

from modelcar.conversion.convert import Conversion, Converted, convert
from modelcar.conversion.tensors import LeftOut

__all__ = ["Conversion", "Converted", "LeftOut", "convert"]
