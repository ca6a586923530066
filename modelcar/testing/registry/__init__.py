"""A registry that misbehaves on demand: every dialect that registries speak, and every fault that networks have.

    with running("ghcr") as registry:
        registry.misbehave(Fault(wrong=Wrong.CUT, method="PATCH", after=100_000))
        ...  # push to f"{registry.address}/org/model:v1"
        assert registry.counts().received < 1.05 * size

It runs in a process of its own, and counts the bytes of blobs that moved.
"""

from modelcar.testing.registry.counters import Counts, Fate, Seen
from modelcar.testing.registry.faults import Fault, Faults, Wrong
from modelcar.testing.registry.profiles import PROFILES, Profile, Sharing
from modelcar.testing.registry.running import MisbehavingRegistry, running

__all__ = [
    "PROFILES",
    "Counts",
    "Fate",
    "Fault",
    "Faults",
    "MisbehavingRegistry",
    "Profile",
    "Seen",
    "Sharing",
    "Wrong",
    "running",
]
