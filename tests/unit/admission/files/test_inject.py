"""Files of every kind: pods in them are rewritten, everything else comes out as it went in."""

from __future__ import annotations

import itertools
import json
import textwrap
from typing import Any

import pytest
import yaml

from modelcar.admission.admit import Offline
from modelcar.admission.files.inject import Injected, inject
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import UsageError

POD = """\
metadata:
  annotations:
    modelcar.dev/model: oci://registry.example/acme/llm:v1  # ours
spec:
  securityContext: {runAsUser: 1000, runAsGroup: 1000}
  containers:
  # the server
  - name: server
    image: 'registry.example/server:1'
    args: [ "--model", "/mnt/models" ]
"""


def run(text: str, **settings: Any) -> Injected:
    found = inject(text, "f.yaml", Offline(), AdmissionSettings(**settings), namespace="default")
    assert (
        inject(found.text, "f.yaml", Offline(), AdmissionSettings(**settings), namespace="default").text == found.text
    )
    return found


def workload(api: str, kind: str, *path: str, pod: str = POD) -> str:
    """An object with a pod template at `path`."""
    lines = [f"apiVersion: {api}", f"kind: {kind}", "metadata:", "  name: it"]
    columns = 0
    for step in path:
        lines.append(f"{' ' * columns}- name: one" if step == "-" else f"{' ' * columns}{step}:")
        columns += 2
    return "\n".join(lines) + "\n" + textwrap.indent(pod, " " * columns)


BOMB = "kind: Pod\na: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in itertools.pairwise("abcdefg")
)

KINDS = {
    "PodTemplate": ("v1", ["template"]),
    "ReplicationController": ("v1", ["spec", "template"]),
    "Deployment": ("apps/v1", ["spec", "template"]),
    "StatefulSet": ("apps/v1", ["spec", "template"]),
    "DaemonSet": ("apps/v1", ["spec", "template"]),
    "ReplicaSet": ("apps/v1", ["spec", "template"]),
    "Job": ("batch/v1", ["spec", "template"]),
    "CronJob": ("batch/v1", ["spec", "jobTemplate", "spec", "template"]),
    "Rollout": ("argoproj.io/v1alpha1", ["spec", "template"]),
    "LeaderWorkerSet": ("leaderworkerset.x-k8s.io/v1", ["spec", "leaderWorkerTemplate", "workerTemplate"]),
    "JobSet": ("jobset.x-k8s.io/v1alpha2", ["spec", "replicatedJobs", "-", "template", "spec", "template"]),
}


def added(before: str, after: str) -> list[str]:
    """The lines that are new; all others must be there, in their order."""
    left = before.splitlines()
    new = []
    for line in after.splitlines():
        if left and line == left[0]:
            left.pop(0)
        else:
            new.append(line)
    assert not left, f"{left[0]!r} is gone"
    return new


def pods(value: Any) -> list[Any]:
    """Everything with containers, wherever it is."""
    if isinstance(value, dict):
        inner = [pod for part in value.values() for pod in pods(part)]
        return [value, *inner] if isinstance(value.get("containers"), list) else inner
    return [pod for part in value for pod in pods(part)] if isinstance(value, list) else []


@pytest.mark.parametrize("kind", KINDS)
def test_every_workload_keeps_every_line_of_it(kind: str) -> None:
    api, path = KINDS[kind]
    text = workload(api, kind, *path)
    found = run(text)
    assert added(text, found.text)
    (pod,) = pods(yaml.safe_load(found.text))
    assert pod["initContainers"][0]["name"] == "modelcar-model"
    assert pod["shareProcessNamespace"] is True
    (result,) = found.pods
    assert (result.decision, result.place.kind, result.place.name) == ("patched", kind, "it")
    assert text.splitlines()[result.line - 1].strip() == f"{path[-1]}:"


def test_leader_and_workers_are_both_rewritten() -> None:
    text = workload("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "spec", "leaderWorkerTemplate", "workerTemplate")
    text += "    leaderTemplate:\n" + textwrap.indent(POD, " " * 6)
    assert [pod["shareProcessNamespace"] for pod in pods(yaml.safe_load(run(text).text))] == [True, True]


def test_only_what_holds_a_pod_that_asks_is_touched() -> None:
    others = [
        "# comments\n",
        "kind: ConfigMap\napiVersion: v1\ndata: {pod: \"kind: Pod\",   x: 'y'}\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers:   [{name: a,image: b}]}\n",
        "Resources: !Ref x\nkind: !Sub y\n",
        "- just\n-   a list\n",
        "kind: Deployment\napiVersion: example.com/v1\nspec: {template: {}}\n",
        "apiVersion: apps/v1\nkind: Deployment\nspec:\n",
        "kind: 7\n",
    ]
    text = "---\n".join(others)
    assert run(text).text == text
    mixed = "---\n".join([*others, workload("batch/v1", "Job", "spec", "template"), *others])
    assert added(mixed, run(mixed).text)


def test_lists_of_both_kinds() -> None:
    pod = {"metadata": yaml.safe_load(POD)["metadata"], "spec": yaml.safe_load(POD)["spec"]}
    item = {"apiVersion": "v1", "kind": "Pod", **pod}
    one = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [{"kind": "Secret"}, item]})
    two = yaml.safe_dump({"apiVersion": "v1", "kind": "PodList", "items": [pod, "junk", pod]})
    assert [p.decision for p in run(one).pods] == ["patched"]
    assert [p.decision for p in run(two).pods] == ["patched", "patched"]
    assert len(pods(yaml.safe_load(run(two).text))) == 2


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_json_stays_json_as_it_was_written(indent: int | str | None) -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", **yaml.safe_load(POD), "unknown": {"é": [1, 2.5, None]}}
    separators = (",", ":") if indent is None else None
    text = json.dumps(pod, indent=indent, ensure_ascii=False, separators=separators) + "\n"
    found = run(text).text
    assert json.loads(found)["unknown"] == pod["unknown"]
    assert json.dumps(json.loads(found), indent=indent, ensure_ascii=False, separators=separators) + "\n" == found
    assert json.loads(found)["spec"]["shareProcessNamespace"] is True


def test_json_documents_one_after_the_other() -> None:
    pod = json.dumps({"kind": "Pod", "apiVersion": "v1", **yaml.safe_load(POD)})
    text = f'{{"kind":  "Secret"}}\n{pod}\n{{"kind":  "Secret"}}\n'
    found = run(text).text
    assert found.startswith('{"kind":  "Secret"}\n{"kind": "Pod"')
    assert found.endswith('}\n{"kind":  "Secret"}\n')


def test_windows_line_ends_and_marks_of_byte_order_stay() -> None:
    text = "\ufeff" + workload("v1", "PodTemplate", "template").replace("\n", "\r\n")
    found = run(text).text
    assert found.startswith("\ufeffapiVersion")
    assert found.count("\n") == found.count("\r\n")


def test_anchors_and_merge_keys_of_pods_are_kept_where_nothing_changes() -> None:
    shared = "    env: &env\n    - {name: A, value: b}\n    <<: &more {tty: true}\n"
    second = "  - name: second\n    image: x\n    env: *env\n    <<: *more\n"
    text = workload("batch/v1", "Job", "spec", "template", pod=POD + shared + second)
    new = added(text, run(text).text)
    assert not any("env" in line or "<<" in line for line in new)


def test_a_pod_shared_by_an_alias_is_rewritten_by_a_round_trip() -> None:
    shared = textwrap.indent(POD, "  ")
    text = f"kind: List\napiVersion: v1\nshared: &pod\n{shared}items:\n- kind: PodTemplate\n"
    text += "  apiVersion: v1\n  template: *pod\n# the end\n"
    found = run(text).text
    value = yaml.safe_load(found)
    assert value["items"][0]["template"]["spec"]["shareProcessNamespace"] is True
    assert "shareProcessNamespace" not in value["shared"]["spec"]
    assert "# the end" in found
    assert "# the server" in found


def test_a_denial_is_told_with_its_line_and_changes_nothing() -> None:
    bad = POD.replace("  securityContext: {runAsUser: 1000, runAsGroup: 1000}\n", "")
    text = "# one\n---\n" + workload("apps/v1", "Deployment", "spec", "template", pod=bad)
    found = run(text)
    (pod,) = found.pods
    assert found.text == text
    assert pod.decision == "denied"
    assert "runAsUser" in str(pod.error and pod.error.hint)
    assert text.splitlines()[pod.line - 1].strip() in ("template:", "metadata:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n---\nkind: Pod\n  b: 2\n", r"f\.yaml:4: it is not YAML"),
        ("kind: Pod\nspec: {{ .Values.spec }}\n", r"f\.yaml:2: it is not YAML"),
        ("kind: Pod\nspec: !!binary aaaa\n", r"f\.yaml:1: it has a bytes"),
        ("kind: Pod\nspec: !Ref x\n", r"f\.yaml:2: it is not YAML that Kubernetes reads"),
        ("kind: Pod\nspec: " + "[" * 5000, r"f\.yaml:2: it is nested more than 200"),
        ("kind: Pod\nspec: &a [*a]\n", r"it has more than 500000 values"),
        (BOMB, r"it has more than 500000 values"),
    ],
)
def test_what_is_no_yaml_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        inject(text, "f.yaml", Offline(), AdmissionSettings())


def test_kubernetes_reads_yaml_in_its_own_way() -> None:
    """0644 is octal, `yes` is true, and 2020-01-01 is text."""
    extra = "  nodeName: 2020-01-01\n  hostNetwork: no\n  volumes: [{name: v, secret: {defaultMode: 0644}}]\n"
    text = "apiVersion: v1\nkind: Pod\n" + POD + extra
    found = run(text)
    assert [pod.decision for pod in found.pods] == ["patched"]
    for line in extra.splitlines()[:2]:
        assert line in found.text
    assert '"defaultMode": 420' in found.text


def test_pods_that_kserve_makes_are_left_to_the_webhook_and_that_is_said() -> None:
    text = (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: llm, namespace: ml}\n"
        "spec:\n  predictor:\n    model:\n      storageUri: oci://registry.example/llm:v1\n"
    )
    found = run(text)
    assert found.text == text
    (note,) = found.notes
    assert note == (
        "f.yaml:1: InferenceService ml/llm: spec.predictor.model.storageUri oci://registry.example/llm:v1: "
        "KServe makes these pods, and the webhook rewrites them then; nothing is changed here"
    )


def test_an_annotation_at_the_wrong_place_is_noticed() -> None:
    text = workload("apps/v1", "Deployment", "spec", "template", pod="spec: {containers: [{name: a, image: b}]}\n")
    text = text.replace("  name: it", "  name: it\n  annotations: {modelcar.dev/model: oci://x}")
    found = run(text)
    assert found.text == text
    (note,) = found.notes
    assert note.startswith("f.yaml:1: Deployment it: modelcar.dev/model stands on it and not on its pods")


def test_several_uris_and_custom_schemes_of_kserve_are_named() -> None:
    text = (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nspec:\n  predictor:\n    model:\n"
        "      storageUris: [{uri: oci+native://a}, {uri: s3://b}, {uri: hf://c}]\n"
    )
    assert [note.split(": ")[2] for note in run(text).notes] == [
        "spec.predictor.model.storageUris[0].uri oci+native://a"
    ]


def test_the_kill_switch_lets_files_be() -> None:
    text = workload("batch/v1", "Job", "spec", "template")
    assert run(text, enabled=False).text == text
