"""Pods that nobody means well: each is one line, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelcar.admission.admit import Offline, Pod, admit
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import Denied
from tests.support.pods import CALLER, load_settings

IMAGE = "oci://registry.example/llm:1"
LONG = "x" * 1_000_000


def pod(annotations: Any = None, **spec: Any) -> Pod:
    server = {"name": "server", "image": "registry.example/server:1"}
    asked = {"modelcar.dev/model": IMAGE} if annotations is None else annotations
    return {"metadata": {"annotations": asked}, "spec": {"containers": [server], **spec}}


def listed(text: str) -> Pod:
    return pod({"modelcar.dev/models": text})


def entry(**fields: str) -> Pod:
    return listed(json.dumps([{"name": "a", "image": IMAGE, "path": "/mnt/a", **fields}]))


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": [value]}
    return value


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{y}: &{y} [{','.join(['*' + x] * 9)}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True)
)

HOSTILE: dict[str, Any] = {
    "is no object": [],
    "is nothing": None,
    "has no spec": {"metadata": {}},
    "spec is text": {"spec": "x"},
    "containers are null": pod(containers=None),
    "containers are none": pod(containers=[]),
    "containers are an object": pod(containers={"a": 1}),
    "a container is null": pod(containers=[None]),
    "a container is text": pod(containers=["server"]),
    "a container has no name": pod(containers=[{"image": "x"}]),
    "a name is a number": pod(containers=[{"name": 1}]),
    "a name has lines": pod(containers=[{"name": "a\nb\nmodelcar.dev: x"}]),
    "a name is endless": pod(containers=[{"name": LONG}]),
    "two containers of one name": pod(containers=[{"name": "a"}, {"name": "a"}]),
    "an init container has a container's name": pod(initContainers=[{"name": "server"}]),
    "a container's image has lines": pod(containers=[{"name": "a", "image": "a/b:1\nadmitted"}]),
    "a container's image is endless": pod(containers=[{"name": "a", "image": LONG}]),
    "a volume's image has lines": pod(volumes=[{"name": "v", "image": {"reference": "a/b\r"}}]),
    "an image is a list": pod(containers=[{"name": "a", "image": ["x"]}]),
    "mounts are text": pod(containers=[{"name": "a", "volumeMounts": "x"}]),
    "a mount path is a number": pod(containers=[{"name": "a", "volumeMounts": [{"name": "v", "mountPath": 1}]}]),
    "a volume is null": pod(volumes=[None]),
    "two volumes of one name": pod(volumes=[{"name": "v"}, {"name": "v"}]),
    "an id is text": pod(securityContext={"runAsUser": "1000", "runAsGroup": 1000}),
    "an id is true": pod(securityContext={"runAsUser": True, "runAsGroup": 1000}),
    "an id is huge": pod(securityContext={"runAsUser": 2**63, "runAsGroup": 1000}),
    "an id is negative": pod(securityContext={"runAsUser": -1, "runAsGroup": 1000}),
    "an id is a fraction": pod(securityContext={"runAsUser": 0.5, "runAsGroup": 1000}),
    "a security context is a list": pod(securityContext=[1]),
    "affinity is text": pod(affinity="x"),
    "a weight is text": pod(
        affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": "9"}]}}
    ),
    "sharing is text": pod(shareProcessNamespace="yes"),
    "annotations are a list": pod([1]),
    "an annotation is a number": pod({"modelcar.dev/model": 1}),
    "an annotation is null": pod({"modelcar.dev/model": None}),
    "an annotation's name is a number": pod({1: "x"}),
    "an image is endless": pod({"modelcar.dev/model": f"oci://{LONG}"}),
    "an image has lines": pod({"modelcar.dev/model": "oci://a/b:1\nmodelcar.dev/mode: auto"}),
    "an image has spaces": pod({"modelcar.dev/model": "oci://a b"}),
    "an image is a bare scheme": pod({"modelcar.dev/model": "oci://"}),
    "an image has two schemes": pod({"modelcar.dev/model": "oci://oci://a/b"}),
    "an image is an option": pod({"modelcar.dev/model": "--privileged"}),
    "both annotations": pod({"modelcar.dev/model": IMAGE, "modelcar.dev/models": "[]"}),
    "a mode that there is not": pod({"modelcar.dev/model": IMAGE, "modelcar.dev/mode": "Sidecar"}),
    "a link that there is not": pod({"modelcar.dev/model": IMAGE, "modelcar.dev/link": LONG}),
    "a pull policy that there is not": pod({"modelcar.dev/model": IMAGE, "modelcar.dev/pull-policy": "always"}),
    "an affinity that there is not": pod({"modelcar.dev/model": IMAGE, "modelcar.dev/affinity": ""}),
    "neither true nor false": pod({"modelcar.dev/model": IMAGE, "modelcar.dev/inject": "no"}),
    "containers without names": pod({"modelcar.dev/model": IMAGE, "modelcar.dev/container": ",,"}),
    "a container with lines": pod({"modelcar.dev/model": IMAGE, "modelcar.dev/container": "a\nb"}),
    "a path without a model": pod({"modelcar.dev/path": "/mnt"}),
    "the list is huge": listed("- {}\n" * 200_000),
    "the list is a bomb": listed(BOMB),
    "the list has an alias to itself": listed("&a [*a]"),
    "the list makes objects": listed("!!python/object/apply:os.system ['true']"),
    "the list is nested": listed("[" * 30_000),
    "the list is nested without end": listed("- " * 30_000),
    "the list is of two documents": listed("---\n[]\n---\n[]"),
    "the list is not YAML": listed("[}{"),
    "the list has odd characters": listed("\x00\x07\ud800"),
    "the list is empty": listed("[]"),
    "the list is an object": listed("{}"),
    "the list is nothing": listed(""),
    "the list has texts": listed("[oci://a/b]"),
    "the list has a key twice": listed("[{name: a, name: b, image: 'oci://a/b'}]"),
    "a field is a number": listed("[{name: 1, image: 'oci://a/b'}]"),
    "a field is null": listed("[{name: a, image: }]"),
    "a field is missing": listed("[{name: a}]"),
    "eleven models": listed(json.dumps([{"name": f"m{n}", "image": IMAGE, "path": f"/mnt/m{n}"} for n in range(11)])),
    "two of one name": listed(json.dumps([{"name": "m", "image": IMAGE, "path": f"/mnt/m{n}"} for n in range(2)])),
    "a name that is none": entry(name="It's"),
    "a name that is too long": entry(name="a" * 41),
    "a name of ours": entry(name="check-x"),
    "a name of KServe's": entry(name="init"),
    "KServe's source is garbage": pod({"internal.serving.kserve.io/storage-initializer-sourceuri": "oci://\n"}),
    "our own mark is not ours": pod({"modelcar.dev/injected": LONG}),
    "our own mark is nested": pod({"modelcar.dev/injected": "[" * 60_000}),
    "our own mark is of tomorrow": pod({"modelcar.dev/injected": '{"version":2}'}),
    "our own mark has surprises": pod({"modelcar.dev/injected": '{"version":1,"found":[{"name":1}]}'}),
    "our own mark names a stranger": pod(
        {
            "modelcar.dev/injected": json.dumps(
                {"version": 1, "found": [{"name": "a", "image": "a/b", "path": "/mnt/a", "containers": ["x"]}]}
            )
        }
    ),
    "digests are none": pod({"modelcar.dev/injected": '{"version":1}', "modelcar.dev/digests": '{"a":1}'}),
    "every container is ours": pod({"modelcar.dev/injected": '{"version":1}'}, containers=[{"name": "modelcar-a"}]),
    "a thousand containers of which one differs": pod(
        {"modelcar.dev/model": IMAGE, "modelcar.dev/container": "*"},
        containers=[
            {"name": f"c{n}", "image": "a/b", "securityContext": {"runAsUser": 1, "runAsGroup": n // 999}}
            for n in range(1000)
        ],
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "settings",
    [AdmissionSettings(), load_settings({"trust": {"mode": "warn", "policies": ["p"]}})],
    ids=["plain", "judging"],
)
def test_is_denied_in_one_line(hostile: Any, settings: AdmissionSettings) -> None:
    with pytest.raises(Denied) as caught:
        admit(hostile, Offline(), CALLER, settings)
    for line in (str(caught.value), caught.value.hint or "", *caught.value.reasons):
        assert len(line) < 700
        assert line.isprintable(), line


@pytest.mark.parametrize(
    "path",
    [
        "", "mnt/models", ".", "/", "//", "/..", "/mnt/../etc", "/mnt/./models", "/proc", "/proc/1/root", "/sys/x",
        "/dev/x", "/etc", "/etc/ssl/models", "/usr", "/usr/lib/x", "/var/run/secrets/x", "/bin", "/home",
        "/.modelcar/x", "/mnt/a:ro",
        "/mnt/$(HOME)", "/mnt/a\nb", "/mnt/\x00", "/mnt/\u2028", "/mnt/\ud800", "C:\\models", "/mnt/a\\b",
        "/" + "x" * 300,
    ],
)  # fmt: skip
def test_path_is_denied(path: str) -> None:
    with pytest.raises(Denied) as caught:
        admit(pod({"modelcar.dev/model": IMAGE, "modelcar.dev/path": path}), Offline(), CALLER, AdmissionSettings())
    assert "the path" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("path", ["/x/y", "/etc/y", "/usr/y", "/opt/y", "/y", "/home/y"])
def test_directory_link_does_not_hide_a_folder_of_the_system(path: str) -> None:
    hidden = pod(
        {"modelcar.dev/model": IMAGE, "modelcar.dev/link": "directory", "modelcar.dev/path": path},
        securityContext={"runAsUser": 1, "runAsGroup": 1},
    )
    if path == "/x/y":
        assert admit(hidden, Offline(), CALLER, AdmissionSettings()).pod is not hidden
        return
    with pytest.raises(Denied, match="the system's"):
        admit(hidden, Offline(), CALLER, AdmissionSettings())


def test_what_nobody_reads_may_be_anything() -> None:
    deep = pod(None, securityContext={"runAsUser": 1, "runAsGroup": 1}, futureField=nested(50_000))
    outcome = admit(deep, Offline(), CALLER, AdmissionSettings())
    assert outcome.pod["spec"]["futureField"] is deep["spec"]["futureField"]


def test_notices_are_lines() -> None:
    noisy = pod({"modelcar.dev/x\ny": "", "modelcar.dev/inject": "false"})
    (notice,) = admit(noisy, Offline(), CALLER, AdmissionSettings()).warnings
    assert notice.isprintable()


def test_a_thousand_containers_see_it() -> None:
    crowd = [{"name": f"c{n}", "image": f"registry.example/c{n}:1"} for n in range(1000)]
    asked = {"modelcar.dev/model": IMAGE, "modelcar.dev/container": "*"}
    many = pod(asked, containers=crowd, securityContext={"runAsUser": 1, "runAsGroup": 1})
    outcome = admit(many, Offline(), CALLER, AdmissionSettings())
    assert all(each["volumeMounts"] for each in outcome.pod["spec"]["containers"])
