"""One model for all tests of the proof."""

from __future__ import annotations

import pytest

from tests.e2e.support.commands import Modelcar
from tests.e2e.transfer_proof.scene import MIB, Model, digests_of
from tests.support.checkpoints import make_checkpoint


@pytest.fixture(scope="session")
def transfer_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Four shards, small files, an index and a holder; in a store, and in no registry."""
    folder = tmp_path_factory.mktemp("transfer")
    checkpoint = make_checkpoint(folder / "checkpoint", shards=4, elements=MIB << 17)
    home, ref = Modelcar(folder / "home"), "registry.example/org/model:v1"
    built = home("build", checkpoint, "-t", ref, "--no-scan")
    return Model(folder=checkpoint, files=digests_of(checkpoint), home=home, ref=ref, digest=built["digest"])
