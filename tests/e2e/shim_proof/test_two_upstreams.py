"""One upstream that is unwell does not make others wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.e2e.shim_proof import checks
from tests.e2e.shim_proof.clients import Download, blob_path, download, get, manifest_path
from tests.e2e.shim_proof.faults import Fault, Wrong
from tests.e2e.shim_proof.node import NAME, Node
from tests.e2e.shim_proof.sizes import MIB, SEED
from tests.e2e.shim_proof.upstream import Upstream, upstream

pytestmark = [pytest.mark.slow, pytest.mark.soak]

ILL = "ill.example"
MODEL = "org/model"


@pytest.fixture
def ill(tmp_path: Path) -> Iterator[Upstream]:
    with upstream(tmp_path / "ill") as one:
        yield one


@pytest.fixture
def both(tmp_path: Path, origin: Upstream, ill: Upstream) -> Iterator[Node]:
    options = [f"--upstream={NAME}=http://{origin.address}", f"--upstream={ILL}=http://{ill.address}"]
    one = Node(tmp_path / "node", options)
    one.start()
    yield one
    one.kill()


@contextmanager
def asking(node: Node, paths: list[str]) -> Iterator[None]:
    """All of these at once, whatever comes of it."""

    def ask(path: str) -> None:
        with suppress(Exception):
            get(node.address, path, within=60)

    threads = [threading.Thread(target=ask, args=(path,), daemon=True) for path in paths]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    yield


@pytest.mark.parametrize(
    "fault",
    [Fault(wrong=Wrong.STALL, path="", method="", seconds=600), Fault(wrong=Wrong.SLOW, path="", method="", amount=10)],
    ids=["hangs", "drips"],
)
def test_manifests_of_one_do_not_wait_for_the_other(fault: Fault, both: Node, origin: Upstream, ill: Upstream) -> None:
    manifest = origin.library.image(MODEL, "v1", origin.library.noise(1000, SEED))
    for number in range(100):
        ill.library.image(f"org/model-{number}", "v1", ill.library.document(b"%d" % number))
    ill.misbehave(fault)
    began = time.monotonic()
    with asking(both, [manifest_path(f"org/model-{number}", "v1", ILL) for number in range(100)]):
        checks.takes_manifest(both, MODEL, "v1", manifest)
    assert time.monotonic() - began < 10


def test_blobs_of_one_do_not_wait_for_the_other(both: Node, origin: Upstream, ill: Upstream) -> None:
    blob = origin.library.noise(8 * MIB, SEED)
    origin.library.image(MODEL, "v1", blob)
    others = [ill.library.noise(8 * MIB, SEED + n) for n in range(1, 17)]
    ill.library.image(MODEL, "v1", *others)
    ill.misbehave(Fault(wrong=Wrong.STALL, seconds=600))
    with ExitStack() as stack:
        stack.enter_context(asking(both, [blob_path(MODEL, other.digest, ILL) for other in others]))
        download(both.address, Download(path=blob_path(MODEL, blob.digest), blob=blob), within=20)
