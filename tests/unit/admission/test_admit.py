from __future__ import annotations

import copy
from typing import Any

import pytest

from modelcar.admission.admit import Offline, Pod, admit
from modelcar.admission.facts import ImageFact, Trust
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import Denied
from modelcar.oci import Digest
from tests.support.pods import CALLER, CASES, Case, Known, load_settings

IMAGE = "registry.example/acme/llm:v1"
DIGEST = Digest.of(b"llm")
ASKING = [
    case
    for case in CASES
    if case.name.startswith(("annotations/", "modes/", "identity/", "affinity/", "conflicts/"))
    and "modelcar.dev/injected" in case.expected()[1]
    and "modelcar.dev/injected" not in str(case.pod())
]


def pod(**annotations: str) -> Pod:
    named = {f"modelcar.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    server = {"name": "server", "image": "registry.example/server:1"}
    ids = {"runAsUser": 1000, "runAsGroup": 1000}
    return {"metadata": {"annotations": named}, "spec": {"containers": [server], "securityContext": ids}}


def rewritten(before: Pod, settings: AdmissionSettings | None = None) -> Pod:
    return admit(before, Offline(), CALLER, settings or AdmissionSettings()).pod


def test_nothing_asked_is_the_very_object() -> None:
    plain = pod()
    assert rewritten(plain) is plain
    asking = pod(model=f"oci://{IMAGE}")
    assert rewritten(asking, load_settings({"enabled": False})) is asking


@pytest.mark.parametrize("case", ASKING, ids=[case.name for case in ASKING])
def test_what_was_added_goes_when_nothing_is_asked_any_more(case: Case) -> None:
    before = case.pod()
    after = copy.deepcopy(admit(before, case.resolver(), CALLER, case.settings()).pod)
    after["metadata"]["annotations"]["modelcar.dev/inject"] = "false"
    left = rewritten(after)
    del left["metadata"]["annotations"]["modelcar.dev/inject"]
    assert left["metadata"] == before["metadata"]
    assert without_empty(left["spec"]) == without_empty(before["spec"])


def without_empty(spec: dict[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in spec.items() if value != []}


def test_other_mode_in_a_second_pass() -> None:
    """From a sidecar to an image volume, and back."""
    sidecar = rewritten(pod(model=f"oci://{IMAGE}"))
    volumes = load_settings({"cluster": {"image_volumes": True, "image_volume_sub_path": True}})
    assert rewritten(sidecar, volumes) == rewritten(pod(model=f"oci://{IMAGE}"), volumes)
    assert rewritten(rewritten(sidecar, volumes)) == sidecar


def test_other_path_and_link_in_a_second_pass() -> None:
    once = rewritten(pod(model=f"oci://{IMAGE}", pull_policy="Always"))
    annotations = once["metadata"]["annotations"]
    del annotations["modelcar.dev/pull-policy"]
    annotations |= {"modelcar.dev/path": "/srv/llm", "modelcar.dev/link": "directory"}
    fresh = rewritten(pod(model=f"oci://{IMAGE}", path="/srv/llm", link="directory"))
    assert rewritten(once)["spec"] == fresh["spec"]


def kserve(*, injected: bool) -> Pod:
    mount = {"name": "kserve-provision-location", "mountPath": "/mnt"}
    server: dict[str, Any] = {"name": "kserve-container", "image": "registry.example/server:1"}
    spec: dict[str, Any] = {"containers": [server], "securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}
    if injected:
        server |= {"env": [{"name": "MODEL_INIT_MODE", "value": "async"}], "volumeMounts": [mount]}
        link = "ln -sf /proc/$$$$/root/models /mnt/models && sleep infinity"
        sidecar = {"name": "modelcar", "image": IMAGE, "args": ["sh", "-c", link], "volumeMounts": [mount]}
        spec |= {
            "containers": [server, sidecar],
            "initContainers": [{"name": "modelcar-init", "image": IMAGE}],
            "volumes": [{"name": "kserve-provision-location", "emptyDir": {}}],
            "shareProcessNamespace": True,
        }
    source = {"internal.serving.kserve.io/storage-initializer-sourceuri": f"oci://{IMAGE}"}
    return {"metadata": {"annotations": source}, "spec": spec}


def test_it_does_not_matter_whether_kserve_was_there_before() -> None:
    assert rewritten(kserve(injected=True))["spec"] == rewritten(kserve(injected=False))["spec"]


def test_all_reasons_are_told() -> None:
    settings = load_settings({"trust": {"mode": "enforce", "policies": ["p"]}})
    trust = Trust(denied=("no signature", "no verdict"))
    known = Known(images={IMAGE: ImageFact(digest=DIGEST, trust=trust)})
    with pytest.raises(Denied, match=r"^registry.example/acme/llm:v1 is against policy: no signature$") as caught:
        admit(pod(model=f"oci://{IMAGE}"), known, CALLER, settings)
    assert [reason.partition(": ")[2] for reason in caught.value.reasons] == [
        "no verdict",
        "no such image in facts.yaml",
    ]


def test_offline_nothing_is_verified() -> None:
    settings = load_settings({"trust": {"mode": "enforce", "policies": ["p"]}})
    with pytest.raises(Denied, match="the policies were not asked"):
        admit(pod(model=f"oci://{IMAGE}"), Offline(), CALLER, settings)


def test_who_could_not_pin_says_so() -> None:
    known = Known(images={IMAGE: ImageFact(problem="the registry does not answer")})
    outcome = admit(pod(model=f"oci://{IMAGE}"), known, CALLER, AdmissionSettings())
    assert outcome.warnings == ("model 'model' is not pinned: the registry does not answer",)
    assert admit(pod(model=f"oci://{IMAGE}"), Offline(), CALLER, AdmissionSettings()).warnings == ()


def test_audit_names_the_models() -> None:
    known = Known(images={IMAGE: ImageFact(digest=DIGEST)})
    assert admit(pod(model=f"oci://{IMAGE}"), known, CALLER, AdmissionSettings()).audit == {"models": f"model={DIGEST}"}
