"""The malicious specimens, a module for each family of formats or tricks."""

from __future__ import annotations

from tests.corpus.malicious import (
    archives,
    arrays,
    bombs,
    code,
    gguf,
    keras,
    licences,
    onnx,
    pickle_callables,
    pickle_indirection,
    pickle_names,
    pickle_opcodes,
    pickle_streams,
    safetensors,
    secrets,
    templates,
    torch_others,
    torch_zip,
)
from tests.corpus.specimen import Specimen

__all__ = ["malicious"]

_MODULES = (
    pickle_opcodes,
    pickle_names,
    pickle_callables,
    pickle_indirection,
    pickle_streams,
    torch_zip,
    torch_others,
    arrays,
    keras,
    templates,
    safetensors,
    gguf,
    onnx,
    code,
    archives,
    bombs,
    secrets,
    licences,
)


def malicious() -> list[Specimen]:
    """Every malicious specimen, made anew: nothing of this is stored."""
    return [specimen for module in _MODULES for specimen in module.specimens()]
