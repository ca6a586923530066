"""Annotations and labels: the contract with people who write pods. Documented in docs/formats/annotations.md."""

from __future__ import annotations

from typing import Final

__all__ = [
    "AFFINITY",
    "CONTAINER",
    "DIGESTS",
    "DONE",
    "GROUP",
    "INJECT",
    "KSERVE_SOURCE",
    "LINK",
    "MODE",
    "MODEL",
    "MODELS",
    "NODE_MODEL_PREFIX",
    "NODE_MODEL_READY",
    "OURS",
    "PATH",
    "PULL_POLICY",
    "STATUS",
    "node_label",
]

GROUP: Final = "modelcar.dev"

MODEL: Final = f"{GROUP}/model"
"""One model: `oci://REF`."""
MODELS: Final = f"{GROUP}/models"
"""Several: a YAML list of `{name, image, path}`, each with whatever the annotations below say for one."""
PATH: Final = f"{GROUP}/path"
MODE: Final = f"{GROUP}/mode"
"""`sidecar`, `image-volume` or `auto`."""
LINK: Final = f"{GROUP}/link"
"""`farm` or `directory`."""
CONTAINER: Final = f"{GROUP}/container"
"""Which containers get it: names with commas between them, `*` for all."""
PULL_POLICY: Final = f"{GROUP}/pull-policy"
AFFINITY: Final = f"{GROUP}/affinity"
"""`preferred` (default), `required` or `none`: nodes that have the model already."""
INJECT: Final = f"{GROUP}/inject"
"""`"false"`, as annotation or label: leave this pod alone."""

DONE: Final = f"{GROUP}/injected"
"""Written by us, on the rewritten pod: by it a second pass knows what in the pod is ours. Its form is our affair."""
DIGESTS: Final = f"{GROUP}/digests"
"""Written by us: a JSON object, image as it was asked for → digest that was verified."""
STATUS: Final = f"{GROUP}/trust"
"""Written by us: what policies said, `verified`, `audit: …` or `unverified: …`."""

OURS: Final = "modelcar-"
"""What the names of our containers and volumes begin with."""

KSERVE_SOURCE: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"

_LABEL_DIGITS: Final = 40  # a label's name has at most 63 characters

NODE_MODEL_PREFIX: Final = f"models.{GROUP}/"
"""Labels that the shim keeps on its node: this and the first 40 hex digits of the index's digest = `ready`."""

NODE_MODEL_READY: Final = "ready"


def node_label(digest: str) -> str:
    """The label of nodes that have the image at `digest` (`sha256:…`): the shim sets it, the webhook looks for it."""
    return NODE_MODEL_PREFIX + digest.partition(":")[2][:_LABEL_DIGITS]
