"""What is installed: Kubernetes takes it, it may do no more than it needs, and its parts agree with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from modelcar.admission.server.settings import WebhookSettings
from modelcar.admission.settings import TrustMode
from modelcar.cli import cli as modelcar
from modelcar.cluster.manifests.bundle import PARTS, bundle
from modelcar.cluster.manifests.printing import stream
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.resources import Object
from modelcar.errors import UsageError
from modelcar.serving.config.reading import load
from registry_shim.cli import cli as registry_shim
from registry_shim.operations.settings import NodeSettings
from tests.support.pod_rules import validate_object

VERSIONS = ["1.30", "1.32", "1.34", "1.35", "1.36", "1.37"]
FOREIGN = ("cert-manager.io/v1", "monitoring.coreos.com/v1")
POLICY = (Path(__file__).parents[3] / "policies/examples/signed-by-ci.yaml").read_text()
CHOICES = {
    "plain": Installation(),
    "alone": Installation(peers=False),
    "all": Installation(
        namespace="models",
        shim_namespace="shim",
        registries=("ghcr.io", "registry.internal:5001"),
        trust=TrustMode.ENFORCE,
        policies={"ci.yaml": POLICY},
        cert_manager=True,
        monitoring=True,
    ),
}


def everything(chosen: Installation) -> list[Object]:
    return [*bundle(chosen), *bundle(chosen, ("unwire",))]


def of_kind(chosen: Installation, *kinds: str) -> list[Object]:
    return [each for each in everything(chosen) if each["kind"] in kinds]


def workloads(chosen: Installation) -> Iterator[tuple[Object, Object, Object]]:
    """Workload, pod and container, one by one."""
    for workload in of_kind(chosen, "Deployment", "DaemonSet"):
        pod = workload["spec"]["template"]["spec"]
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield workload, pod, container


@pytest.fixture(params=CHOICES)
def chosen(request: pytest.FixtureRequest) -> Installation:
    return CHOICES[request.param]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(chosen: Installation, version: str) -> None:
    for each in everything(chosen):
        if each["apiVersion"] not in FOREIGN:
            validate_object(each, version)


def test_names_are_told_apart_and_namespaces_come_first(chosen: Installation) -> None:
    seen, namespaces = set(), set()
    for each in bundle(chosen):
        meta = each["metadata"]
        key = (each["apiVersion"], each["kind"], meta.get("namespace"), meta["name"])
        assert key not in seen
        seen.add(key)
        if each["kind"] == "Namespace":
            namespaces.add(meta["name"])
        assert meta.get("namespace") is None or meta["namespace"] in namespaces


def test_it_is_the_same_every_time_and_reads_back() -> None:
    printed = stream(bundle(Installation()))
    assert printed == stream(bundle(Installation()))
    assert list(yaml.safe_load_all(printed)) == bundle(Installation())
    assert "&id" not in printed


def test_the_webhooks_configuration_is_one(chosen: Installation) -> None:
    (found,) = [each for each in of_kind(chosen, "ConfigMap") if "webhook.yaml" in each["data"]]
    settings = load(found["data"]["webhook.yaml"], WebhookSettings)
    assert settings.trust.mode is chosen.trust
    certificates = settings.server.certificates
    (service,) = [s for s in of_kind(chosen, "Service") if s["metadata"]["namespace"] == chosen.namespace]
    assert (certificates.service, service["metadata"]["name"]) == ("modelcar-webhook", "modelcar-webhook")
    assert (settings.server.tls is not None) is chosen.cert_manager
    if not chosen.cert_manager:
        assert certificates.namespace == chosen.namespace


def test_the_shims_configuration_is_one(chosen: Installation) -> None:
    (found,) = [each for each in of_kind(chosen, "ConfigMap") if "config.yaml" in each["data"]]
    settings = load(found["data"]["config.yaml"], NodeSettings)
    assert tuple(upstream.registry for upstream in settings.mirror.upstreams) == chosen.registries
    assert str(settings.root) == "/var/lib/registry-shim"
    assert settings.listen.startswith("127.0.0.1:")


def test_every_registry_that_is_wired_is_an_upstream_and_none_is_where_the_image_is(chosen: Installation) -> None:
    (wire,) = [c for _, _, c in workloads(chosen) if c["name"] == "wire"]
    wired = [value for option, value in zip(wire["args"], wire["args"][1:], strict=False) if option == "--registry"]
    assert tuple(wired) == chosen.registries
    for _, _, container in workloads(chosen):
        assert container["image"].partition("/")[0] not in wired, "a node could not get the shim up again"


def test_arguments_are_those_of_the_commands(chosen: Installation, tmp_path: Path) -> None:
    for _, _, container in workloads(chosen):
        if "args" not in container:
            continue
        program = {"modelcar": modelcar, "registry-shim": registry_shim}[container["command"][0]]
        # A command remembers the help option of its first context, so this one inherits the program's settings.
        context = click.Context(program, **program.context_settings)
        arguments = [str(tmp_path) if a == "/host" else a for a in container["args"]]
        command: click.Command = program
        while isinstance(command, click.Group):
            found = command.get_command(context, arguments.pop(0))
            assert found is not None, container["args"]
            command = found
        command.make_context("verb", arguments, parent=context)  # parses, and runs nothing


def test_containers_have_no_more_than_they_need(chosen: Installation) -> None:
    for workload, pod, container in workloads(chosen):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert "memory" in container["resources"]["limits"]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounted <= {volume["name"] for volume in pod["volumes"]}
        if workload["kind"] == "Deployment":
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert not pod.get("hostNetwork")
            assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


def test_selectors_select_their_pods(chosen: Installation) -> None:
    templates = {
        (w["metadata"]["namespace"], w["metadata"]["name"]): w["spec"]["template"]["metadata"]["labels"]
        for w in of_kind(chosen, "Deployment", "DaemonSet")
    }
    for each in of_kind(chosen, "Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment", "DaemonSet"):
        spec = each["spec"]
        selector = spec.get("selector", spec.get("podSelector"))
        wanted = selector.get("matchLabels", selector) if each["kind"] != "Service" else selector
        found = [
            labels
            for (where, _), labels in templates.items()
            if where == each["metadata"]["namespace"] and wanted.items() <= labels.items()
        ]
        assert len(found) == 1 or not wanted, each["metadata"]["name"]


def test_ports_are_those_that_programs_listen_on(chosen: Installation) -> None:
    pods = {w["metadata"]["name"]: p for w, p, _ in workloads(chosen)}
    for service in of_kind(chosen, "Service"):
        ports = {port["name"] for c in pods[service["metadata"]["name"]]["containers"] for port in c.get("ports", [])}
        assert {port.get("targetPort", port["name"]) for port in service["spec"]["ports"]} <= ports
    (found,) = [each for each in of_kind(chosen, "ConfigMap") if "webhook.yaml" in each["data"]]
    server = load(found["data"]["webhook.yaml"], WebhookSettings).server
    (webhook,) = [c for _, _, c in workloads(chosen) if c["name"] == "webhook"]
    listening = {server.listen.rpartition(":")[2], server.operations_listen.rpartition(":")[2]}
    assert {str(port["containerPort"]) for port in webhook["ports"]} == listening


# What it may do


def rules(chosen: Installation, account: str) -> dict[tuple[str, str, tuple[str, ...]], set[str]]:
    """Verbs by namespace ("" for all), resource and names."""
    found: dict[tuple[str, str, tuple[str, ...]], set[str]] = {}
    roles = {
        (r["kind"], r["metadata"].get("namespace"), r["metadata"]["name"]): r
        for r in of_kind(chosen, "Role", "ClusterRole")
    }
    for bound in of_kind(chosen, "RoleBinding", "ClusterRoleBinding"):
        if [subject["name"] for subject in bound["subjects"]] != [account]:
            continue
        where = bound["metadata"].get("namespace")
        role = roles[bound["roleRef"]["kind"], where, bound["roleRef"]["name"]]
        for rule in role["rules"]:
            for resource in rule["resources"]:
                key = (where or "", resource, tuple(rule.get("resourceNames", ())))
                found.setdefault(key, set()).update(rule["verbs"])
    return found


def test_nobody_may_everything(chosen: Installation) -> None:
    for role in of_kind(chosen, "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
            if "secrets" in rule["resources"]:
                assert not {"list", "watch"} & set(rule["verbs"]), "secrets are read by their names alone"
            if "pods" in rule["resources"]:
                assert set(rule["verbs"]) <= {"list", "watch"}


def test_the_webhook_writes_its_own_certificates_and_configuration_alone() -> None:
    allowed = rules(CHOICES["plain"], "modelcar-webhook")
    writes = {key: verbs - {"get"} for key, verbs in allowed.items() if verbs - {"get"}}
    assert writes == {
        ("", "mutatingwebhookconfigurations", ("modelcar",)): {"patch"},
        ("modelcar-system", "secrets", ()): {"create"},
        ("modelcar-system", "secrets", ("modelcar-webhook-certificates",)): {"patch"},
    }
    assert not [verbs for verbs in rules(CHOICES["all"], "modelcar-webhook").values() if verbs != {"get"}]


def test_a_node_reads_the_secrets_of_one_namespace() -> None:
    allowed = rules(CHOICES["plain"], "registry-shim")
    assert [(where, verbs) for (where, resource, _), verbs in allowed.items() if resource == "secrets"] == [
        ("registry-shim-pull-secrets", {"get"})
    ]
    writes = {resource: verbs - {"get", "list", "watch"} for (_, resource, _), verbs in allowed.items()}
    assert {resource: verbs for resource, verbs in writes.items() if verbs} == {
        "modelnodes/status": {"patch"},
        "nodes": {"patch"},
        "events": {"create", "patch"},
    }


def test_every_account_is_used_and_every_pod_has_one(chosen: Installation) -> None:
    accounts = {(a["metadata"]["namespace"], a["metadata"]["name"]) for a in of_kind(chosen, "ServiceAccount")}
    used = {
        (w["metadata"]["namespace"], p["serviceAccountName"])
        for w, p, _ in workloads(chosen)
        if "serviceAccountName" in p
    }
    assert used == accounts
    subjects = {
        (s["namespace"], s["name"]) for b in of_kind(chosen, "RoleBinding", "ClusterRoleBinding") for s in b["subjects"]
    }
    assert subjects == accounts


def test_the_webhook_is_asked_about_few_pods_and_never_about_its_own(chosen: Installation) -> None:
    (found,) = of_kind(chosen, "MutatingWebhookConfiguration")
    (webhook,) = found["webhooks"]
    assert (webhook["failurePolicy"], webhook["sideEffects"], webhook["timeoutSeconds"]) == ("Fail", "None", 10)
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    (excluded,) = [
        each["values"]
        for each in webhook["namespaceSelector"]["matchExpressions"]
        if each["key"] == "kubernetes.io/metadata.name"
    ]
    own = {w["metadata"]["namespace"] for w in of_kind(chosen, "Deployment", "DaemonSet")}
    assert own | {"kube-system"} <= set(excluded)
    (condition,) = webhook["matchConditions"]
    assert ("v.image" in condition["expression"]) is (chosen.trust is not TrustMode.OFF)
    assert found["webhooks"][0]["clientConfig"]["service"]["namespace"] == chosen.namespace


def test_parts_can_be_had_alone() -> None:
    chosen = CHOICES["all"]
    assert bundle(chosen, tuple(PARTS)) == [each for name in PARTS for each in bundle(chosen, (name,))]
    assert "DaemonSet" not in {each["kind"] for each in bundle(chosen, ("webhook", "definitions"))}
    assert [each["metadata"]["name"] for each in bundle(chosen, ("unwire",))] == ["registry-shim-unwire"]
    assert not [each for each in bundle(Installation()) if each["apiVersion"] in FOREIGN]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"namespace": "Not_A_Name"}, "namespace"),
        ({"namespace": "x", "shim_namespace": "x"}, "namespace of its own"),
        ({"image": "ghcr.io/acme/modelcar:1"}, "could not get the shim up"),
        ({"image": "not an image"}, "not an image"),
        ({"registries": ()}, "registries"),
        ({"registries": ("ghcr.io", "ghcr.io")}, "registries"),
        ({"registries": ("https://ghcr.io",)}, "ghcr.io"),
        ({"trust": TrustMode.ENFORCE}, "no policy"),
    ],
)
def test_what_does_not_go_together_is_said(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        Installation(**given)
