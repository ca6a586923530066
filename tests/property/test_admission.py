"""Whatever a pod looks like: it is denied in one line, or rewritten into a valid one, once and for all."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from modelcar.admission.admit import Outcome, Pod, admit
from modelcar.admission.facts import ImageFact, Publisher, Trust, User
from modelcar.admission.names import OURS
from modelcar.admission.patch import patch_of
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import Denied
from modelcar.oci import Digest
from tests.support.examples import examples
from tests.support.pod_rules import validate_pod
from tests.support.pods import CALLER, Known, load_settings

IMAGES = [f"registry.example/{name}:1" for name in ("llm", "lora", "server", "proxy", "tools")]
PATHS = ["/mnt/models", "/mnt/models/base", "/mnt/models/lora", "/mnt/lora", "/models", "/models/x", "/srv/a b", "/mnt"]
IDS = st.sampled_from([1000] * 9 + [0, 2000])


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def seldom(rare: Any, usual: Any) -> st.SearchStrategy[Any]:
    """What mostly ends in a denial, not too often."""
    return st.sampled_from([*[usual] * 9, rare])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of `fields`, sometimes with one that nobody knows yet."""
    return st.fixed_dictionaries({}, optional={**fields, "futureField": st.sampled_from([None, 1, "x", {"a": [1]}])})


contexts = some(
    runAsUser=IDS,
    runAsGroup=IDS,
    runAsNonRoot=st.booleans(),
    seLinuxOptions=seldom({"level": "s0:c1,c2"}, {"level": "s0:c3,c4"}),
)
server_contexts = contexts.flatmap(
    lambda context: some(
        privileged=st.just(True),
        capabilities=st.sampled_from([{"add": ["SYS_PTRACE"]}, {"drop": ["ALL"]}]),
        readOnlyRootFilesystem=st.booleans(),
    ).map(lambda more: context | more)
)
mounts = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["data", "config"]),
            "mountPath": st.sampled_from(["/data", "/etc/config", "/mnt", "/mnt/models/x/"]),
        }
    ),
    max_size=2,
    unique_by=lambda mount: mount["mountPath"],
)
kserve_mount = {"name": "kserve-provision-location", "mountPath": "/mnt"}
envs = st.lists(
    st.sampled_from([{"name": "MODEL_INIT_MODE", "value": "async"}, {"name": "A", "value": "b"}]), max_size=2
)


def containers(names: list[str], least: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.fixed_dictionaries(
        {"name": st.sampled_from(names), "image": st.sampled_from(IMAGES)},
        optional={
            "securityContext": server_contexts,
            "volumeMounts": mounts,
            "env": envs,
            "resources": st.just({}),
            "futureField": st.just({"x": [1]}),
        },
    )
    return st.lists(one, min_size=least, max_size=3, unique_by=lambda each: each["name"])


expressions = st.lists(
    st.sampled_from([{"key": "gpu", "operator": "Exists"}, {"key": "zone", "operator": "In", "values": ["a"]}])
)
terms = some(matchExpressions=expressions)
affinities = some(
    nodeAffinity=some(
        requiredDuringSchedulingIgnoredDuringExecution=st.fixed_dictionaries(
            {"nodeSelectorTerms": st.lists(terms, min_size=1, max_size=2)}
        ),
        preferredDuringSchedulingIgnoredDuringExecution=st.lists(
            st.fixed_dictionaries({"weight": st.integers(1, 100), "preference": terms}), max_size=2
        ),
    ),
    podAffinity=st.just({}),
)
models = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["base", "lora", "draft", "kserve"]),
            "image": st.sampled_from(IMAGES[:2]).map("oci://{}".format),
            "path": st.sampled_from(PATHS),
        },
        optional={
            "mode": st.sampled_from(["sidecar", "auto", "auto"]) | seldom("image-volume", "auto"),
            "link": st.sampled_from(["farm", "directory"]),
            "container": st.just("*") | seldom("compile, server", "*"),
            "pull-policy": st.sampled_from(["Always", "Never"]),
        },
    ),
    min_size=1,
    max_size=3,
).map(lambda entries: {"modelcar.dev/models": yaml.safe_dump(entries)})
single = st.fixed_dictionaries(
    {"modelcar.dev/model": st.sampled_from(IMAGES[:2]).map("oci://{}".format)},
    optional={
        "modelcar.dev/path": st.sampled_from(PATHS),
        "modelcar.dev/affinity": st.sampled_from(["required", "none"]),
        "modelcar.dev/link": st.sampled_from(["farm", "directory"]),
    },
)
kserve = st.fixed_dictionaries(
    {
        "internal.serving.kserve.io/storage-initializer-sourceuri": st.sampled_from(
            [
                f"{scheme}://registry.example/llm:1"
                for scheme in ("oci", "oci+native", "oci+fetch", "oci+modelcar", "s3")
            ]
        )
    }
)
asked = st.builds(
    lambda ours, theirs: {**ours, **(theirs or {}), "example.com/kept": "yes"},
    single | models | seldom({}, {"modelcar.dev/model": f"oci://{IMAGES[0]}"}),
    maybe(kserve),
)


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    spec: dict[str, Any] = draw(
        some(
            securityContext=contexts,
            shareProcessNamespace=seldom(False, True),
            hostPID=seldom(True, False),
            restartPolicy=st.sampled_from(["Always", "Never"]),
            affinity=affinities,
            imagePullSecrets=st.just([{"name": "registry"}]),
        )
    )
    spec["containers"] = draw(containers(["server", "proxy", "kserve-container", "transformer-container"], 1))
    if inits := draw(containers(["compile", "fetch"], 0)):
        spec["initContainers"] = inits
    spec["volumes"] = [{"name": "data", "emptyDir": {}}, {"name": "config", "configMap": {"name": "c"}}]
    if draw(seldom(True, False)):
        _inject_as_kserve_does(spec)
    if spec.get("hostPID"):
        spec.pop("shareProcessNamespace", None)
    return {"metadata": {"name": "pod", "annotations": draw(asked), "futureField": [{}]}, "spec": spec}


def _inject_as_kserve_does(spec: dict[str, Any]) -> None:
    spec["shareProcessNamespace"] = True
    server = spec["containers"][0]
    taken = [mount["mountPath"] for mount in server.get("volumeMounts", [])]
    server["volumeMounts"] = [*server.get("volumeMounts", []), *([] if "/mnt" in taken else [kserve_mount])]
    spec["containers"].append(
        {
            "name": "modelcar",
            "image": IMAGES[0],
            "args": ["sh", "-c", "ln -sf /proc/$$$$/root/models /mnt/models && sleep infinity"],
            "volumeMounts": [kserve_mount],
        }
    )
    spec["initContainers"] = [*spec.get("initContainers", []), {"name": "modelcar-init", "image": IMAGES[0]}]
    spec["volumes"].append({"name": "kserve-provision-location", "emptyDir": {}})


facts = st.builds(
    ImageFact,
    digest=maybe(st.sampled_from([Digest.of(b"one"), Digest.of(b"two")])),
    user=seldom(None, User(uid=1000, gid=1000)),
    groups=seldom(None, {1000: 1000}),
    publisher=st.sampled_from([Publisher.HOLDER, Publisher.SHELL]) | seldom(Publisher.NOTHING, Publisher.HOLDER),
    trust=st.builds(Trust, denied=seldom(("no signature",), ()), unknown=maybe(st.just("no answer"))),
)
known = st.fixed_dictionaries(dict.fromkeys(IMAGES, facts)).map(lambda images: Known(images=images))
choices = st.builds(
    lambda cluster, trust, rewriting: load_settings(
        {"cluster": cluster, "trust": {"mode": trust, "policies": ["p"], "failure": "open"}, "rewriting": rewriting}
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "native_sidecars": st.booleans(),
            "image_volumes": st.just(True),
            "image_volume_sub_path": st.booleans(),
        },
    ),
    st.sampled_from(["off", "off", "audit", "enforce"]),
    st.sampled_from([{}, {"link": "directory"}, {"check": False}]),
)


def outcome_of(pod: Pod, resolver: Known, wanted: AdmissionSettings) -> Outcome | None:
    """`None` if denied, in a line."""
    try:
        return admit(pod, resolver, CALLER, wanted)
    except Denied as e:
        denied = e
    event("denied")
    assert str(denied)
    assert "\n" not in f"{denied}{denied.hint}"
    return None


@given(pods(), known, choices)
@examples(300)
def test_rewriting_is_valid_and_done_once(pod: Pod, resolver: Known, wanted: AdmissionSettings) -> None:
    before = copy.deepcopy(pod)
    once = outcome_of(pod, resolver, wanted)
    assert pod == before
    if once is None:
        return
    event("rewritten" if once.pod is not pod else "as it was")
    validate_pod(once.pod, native_sidecars=wanted.cluster.native_sidecars, versions=("1.35",))
    again = admit(pod, resolver, CALLER, wanted)
    assert json.dumps(again.pod) == json.dumps(once.pod)
    assert patch_of(pod, again.pod) == patch_of(pod, once.pod)
    twice = admit(once.pod, resolver, CALLER, wanted)
    assert patch_of(once.pod, twice.pod) == []
    assert twice.warnings == once.warnings


@given(pods(), known, choices)
@examples(300)
def test_what_is_the_authors_stays(pod: Pod, resolver: Known, wanted: AdmissionSettings) -> None:
    outcome = outcome_of(pod, resolver, wanted)
    if outcome is None:
        return
    spec, after = pod["spec"], outcome.pod["spec"]
    assert pod["metadata"].keys() == outcome.pod["metadata"].keys()
    assert pod["metadata"]["annotations"].items() <= outcome.pod["metadata"]["annotations"].items()
    changed = {"containers", "initContainers", "volumes", "shareProcessNamespace", "affinity"}
    assert {k: v for k, v in spec.items() if k not in changed} == {k: v for k, v in after.items() if k not in changed}
    kept = {each["name"]: each for each in (*after["containers"], *after.get("initContainers", []))}
    for container in (*spec["containers"], *spec.get("initContainers", [])):
        if not container["name"].startswith("modelcar"):
            check_is_the_same(container, kept[container["name"]])
    for volume in spec["volumes"]:
        assert volume["name"].startswith("kserve-") or volume in after["volumes"]
    check_affinity(spec.get("affinity") or {}, after.get("affinity") or {})


def check_is_the_same(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Its image may be pinned, models mounted, and KServe's hint to wait for one gone."""
    changing = {"image", "volumeMounts", "env"}
    assert {k: v for k, v in before.items() if k not in changing} == {
        k: v for k, v in after.items() if k not in changing
    }
    assert after["image"] == before["image"] or after["image"].startswith(before["image"].removesuffix(":1") + "@")
    theirs = [each for each in after.get("volumeMounts", []) if not each["name"].startswith(OURS)]
    assert theirs == [each for each in before.get("volumeMounts", []) if each in theirs]
    gone = [each for each in before.get("volumeMounts", []) if each not in theirs]
    assert gone in ([], [kserve_mount])
    hints = [each for each in before.get("env", []) if each not in after.get("env", [])]
    assert all(each["name"] == "MODEL_INIT_MODE" for each in hints)


def check_affinity(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Whatever node the pod refused it refuses; whatever it preferred it prefers, and more than what was added."""
    old, new = before.get("nodeAffinity") or {}, after.get("nodeAffinity") or {}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    theirs = (old.get(required) or {}).get("nodeSelectorTerms", [])
    ours = (new.get(required) or {}).get("nodeSelectorTerms", [])
    for one, other in zip(theirs, ours, strict=bool(theirs)):
        wanted = one.get("matchExpressions") or []
        assert [each for each in other.get("matchExpressions") or [] if "modelcar" not in each["key"]] == wanted
        assert wanted or not other.get("matchExpressions"), "what matched no node matches some"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    liked, likes = old.get(preferred) or [], new.get(preferred) or []
    assert likes[: len(liked)] == liked
    assert sum(each["weight"] for each in likes[len(liked) :]) <= max(
        [len(likes) - len(liked), *([min(each["weight"] for each in liked) - 1] if liked else [100])]
    )


@given(pods(), known, choices)
@examples(300)
def test_what_is_added_may_do_nothing(pod: Pod, resolver: Known, wanted: AdmissionSettings) -> None:
    outcome = outcome_of(pod, resolver, wanted)
    if outcome is None:
        return
    after = outcome.pod["spec"]
    added = [each for each in (*after["containers"], *after.get("initContainers", [])) if each["name"].startswith(OURS)]
    for container in added:
        context = container["securityContext"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
        assert context["privileged"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context.get("runAsNonRoot", False) is (context["runAsUser"] != 0)
        assert container["resources"]["limits"] == container["resources"]["requests"]
    if added:
        assert after["shareProcessNamespace"] is True
    for volume in after.get("volumes", []):
        assert not volume["name"].startswith(OURS) or volume.keys() - {"name"} in ({"emptyDir"}, {"image"})
