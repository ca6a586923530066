"""`modelcar.load` from a mount whose bytes are still to come: the tensors of the checkpoint, in whatever order."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Published
from tests.e2e.mounts.mounting import Reader
from tests.e2e.mounts.users import User

pytestmark = [pytest.mark.slow, pytest.mark.root]

# MOUNT TRUTH: the same tensors, and a slice of each from the end of the model first.
LOAD = """
import sys
import modelcar
from modelcar.loading.parts import Part

def end(name, shape, dtype):
    return Part(ranges=((shape[0] - 100, shape[0]),)) if name.endswith(".2.weight") else None

mount, truth = sys.argv[1:]
(tail,) = modelcar.load(mount, framework="raw", rank=end).values()
whole = modelcar.load(truth, framework="raw")
assert tail.data == whole["model.layers.2.weight"].data[-200:]
seen = []
for name, tensor in modelcar.stream(mount, framework="raw"):
    assert tensor == whole[name], name
    seen.append(name)
assert seen == list(whole)
print("same")
"""


def test_a_model_is_loaded_while_it_comes(user: User, large: Published) -> None:
    user.mount(large.ref)
    assert Reader(LOAD, user.mounts / "llm", large.folder).result(120).strip() == "same"
    user.umount()
