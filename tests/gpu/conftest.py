"""The device that all of these tests are about."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.skips import unavailable


@pytest.fixture(scope="session")
def torch() -> Any:
    """torch, which sees a device."""
    try:
        import torch
    except ModuleNotFoundError:
        unavailable("needs torch")
    if not torch.cuda.is_available():
        unavailable("needs a CUDA device")
    return torch
