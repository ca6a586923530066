"""`podman kube play` of a rewritten pod, with what it does otherwise than a kubelet.

It starts no native sidecar (an init container with `restartPolicy: Always` is waited for), so the pod is rewritten as
for a cluster without them; it runs no postStart hook, so the server waits itself; it gives a process the group in the
image's USER, so that a pod whose image has one says who runs it; and podman 4 takes no annotations above 63 characters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelcar.admission.admit import Caller, admit
from modelcar.admission.resolve import Images
from modelcar.admission.settings import AdmissionSettings, Cluster
from modelcar.registry import ClientSettings
from tests.e2e.conftest import Published
from tests.e2e.support.podman import Podman
from tests.e2e.support.servers import publish_server
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.debian("podman", "runc", "skopeo", "busybox")]

SHARD = "model-00001-of-00003.safetensors"
SERVE = (
    f"until [ -e /mnt/models/{SHARD} ]; do sleep 0.1; done;"
    f' echo "ran by $(id -u):$(id -g)"; sha256sum /mnt/models/{SHARD}; while :; do sleep 1; done'
)


@pytest.fixture
def engine(podman_engine: Podman) -> Iterator[Podman]:
    yield podman_engine
    podman_engine.clear()


def play(engine: Podman, folder: Path, pod: dict[str, Any]) -> None:
    """Rewrite it with facts from the registry, and run it."""
    settings = AdmissionSettings(cluster=Cluster(native_sidecars=False))
    with Images(settings.trust, client=ClientSettings(timeout=10, attempts=1)) as images:
        outcome = admit(pod, images, Caller(namespace="default"), settings)
    annotations = {key: text for key, text in outcome.pod["metadata"]["annotations"].items() if len(text) <= 63}
    file = folder / "pod.yaml"
    file.write_text(yaml.safe_dump({**outcome.pod, "metadata": {"name": "played", "annotations": annotations}}))
    engine("kube", "play", "--tls-verify=false", "--network=none", file)


def pod(image: str, model: str, **spec: Any) -> dict[str, Any]:
    server = {"name": "server", "image": image, "command": ["sh", "-c", SERVE]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "played", "annotations": {"modelcar.dev/model": f"oci://{model}"}},
        "spec": {"restartPolicy": "Always", **spec, "containers": [server]},
    }


@pytest.mark.parametrize(
    ("user", "spec", "ids"),
    [
        ("vllm", {}, "2000:2001"),
        ("1000:2000", {"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}, "1000:1000"),
    ],
)
def test_a_rewritten_pod_is_played(
    engine: Podman,
    embedded: str,
    model: Published,
    workspace: Path,
    tmp_path: Path,
    user: str,
    spec: dict[str, Any],
    ids: str,
) -> None:
    image = publish_server(workspace / "server", f"{embedded}/servers/podman-{len(user)}:v1", user=user)
    play(engine, tmp_path, pod(image, model.ref, **spec))

    def said() -> str:
        return engine("logs", "played-server").stdout

    eventually(lambda: said().count("\n") == 2, "the server has read the model", within=60)
    digest = hashlib.sha256(model.files[SHARD]).hexdigest()
    assert said() == f"ran by {ids}\n{digest}  /mnt/models/{SHARD}\n"
