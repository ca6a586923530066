"""The webhook: which pods it is asked about, what it may do, and the Deployment that answers."""

from __future__ import annotations

from typing import Any, Final

from modelcar.admission.names import GROUP, INJECT, KSERVE_SOURCE
from modelcar.admission.settings import TrustMode
from modelcar.cluster.manifests import parts, programs
from modelcar.cluster.manifests.certificates import webhook_certificate
from modelcar.cluster.manifests.network import webhook_policy
from modelcar.cluster.manifests.printing import to_yaml
from modelcar.cluster.manifests.settings import Installation
from modelcar.cluster.resources import MUTATING_WEBHOOKS, Object

__all__ = ["CERTIFICATES", "CONFIGURATION", "NAME", "webhook"]

NAME: Final = "modelcar-webhook"
CONFIGURATION: Final = "modelcar"
CERTIFICATES: Final = "modelcar-webhook-certificates"
_PORTS: Final = {"webhook": 8443, "operations": 8080}
_FOLDER: Final = "/etc/modelcar"
_SYSTEM: Final = ("kube-system", "kube-public", "kube-node-lease")


def webhook(chosen: Installation) -> list[Object]:
    """In the order in which they are best applied: the configuration comes last, when something can answer."""
    objects = [
        parts.account(NAME, chosen.namespace),
        *_permissions(chosen),
        parts.config_map(NAME, chosen.namespace, {"webhook.yaml": to_yaml(_settings(chosen))}),
        *([parts.config_map("modelcar-policies", chosen.namespace, chosen.policies)] if chosen.policies else []),
        _service(chosen),
        *(webhook_certificate(NAME, CERTIFICATES, chosen) if chosen.cert_manager else []),
        _deployment(chosen),
        parts.made(
            "policy/v1",
            "PodDisruptionBudget",
            NAME,
            chosen.namespace,
            spec={"minAvailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}}},
        ),
        webhook_policy(NAME, chosen, _PORTS),
    ]
    return [*objects, _configuration(chosen)]


def _permissions(chosen: Installation) -> list[Object]:
    """It reads the pull secrets that pods name, by their names, and the accounts that name others: no lists."""
    where = (chosen.namespace, NAME)
    rules = [parts.rule("", ["secrets", "serviceaccounts"], ["get"])]
    own: list[Object] = []
    if not chosen.cert_manager:
        rules.append(
            parts.rule(MUTATING_WEBHOOKS.group, [MUTATING_WEBHOOKS.plural], ["get", "patch"], names=[CONFIGURATION])
        )
        own = [
            parts.role(
                NAME,
                chosen.namespace,
                parts.rule("", ["secrets"], ["create"]),
                parts.rule("", ["secrets"], ["get", "patch"], names=[CERTIFICATES]),
            ),
            parts.binding(NAME, chosen.namespace),
        ]
    return [parts.cluster_role(NAME, *rules), parts.cluster_binding(NAME, where), *own]


def _settings(chosen: Installation) -> Object:
    """The file that `modelcar admission serve --config` reads."""
    settings: Object = {"cluster": {"native_sidecars": True, "image_volumes": False}}
    if chosen.policies:
        settings["trust"] = {"mode": str(chosen.trust), "policies": [f"{_FOLDER}-policies"]}
    server: Object = {"log": {"format": "json", "level": "info"}}  # a line for every decision
    if chosen.cert_manager:
        folder = f"{_FOLDER}-certificates"
        server["tls"] = {"certificate_file": f"{folder}/tls.crt", "key_file": f"{folder}/tls.key"}
    else:
        server["certificates"] = {"service": NAME, "secret": CERTIFICATES, "configuration": CONFIGURATION}
        server["certificates"] |= {"namespace": chosen.namespace}
    return settings | {"server": server}


def _service(chosen: Installation) -> Object:
    ports = [
        {"name": name, "port": 443 if name == "webhook" else number, "targetPort": name, "protocol": "TCP"}
        for name, number in _PORTS.items()
    ]
    selector = {"app.kubernetes.io/name": NAME}
    return parts.made("v1", "Service", NAME, chosen.namespace, spec={"selector": selector, "ports": ports})


def _deployment(chosen: Installation) -> Object:
    mounts = [{"name": "config", "mountPath": _FOLDER, "readOnly": True}]
    volumes: list[Object] = [{"name": "config", "configMap": {"name": NAME}}]
    if chosen.policies:
        mounts.append({"name": "policies", "mountPath": f"{_FOLDER}-policies", "readOnly": True})
        volumes.append({"name": "policies", "configMap": {"name": "modelcar-policies"}})
    if chosen.cert_manager:
        mounts.append({"name": "certificates", "mountPath": f"{_FOLDER}-certificates", "readOnly": True})
        volumes.append({"name": "certificates", "secret": {"secretName": CERTIFICATES, "defaultMode": 0o440}})
    probes = {
        "startupProbe": _probe("/healthz", periodSeconds=2, failureThreshold=30),
        "livenessProbe": _probe("/healthz", periodSeconds=20, timeoutSeconds=5),
        "readinessProbe": _probe("/readyz", periodSeconds=5, timeoutSeconds=3),
    }
    one = programs.container(
        "webhook",
        chosen.image,
        ["admission", "serve", "--config", f"{_FOLDER}/webhook.yaml"],
        _PORTS,
        probes,
        mounts=mounts,
    )
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    made = programs.deployment(NAME, chosen.namespace, 2, strategy, one, volumes)
    if chosen.cert_manager:
        made["spec"]["template"]["spec"]["securityContext"]["fsGroup"] = 65532  # whose the certificate's files are
    return made


def _probe(path: str, **more: int) -> Object:
    return {"httpGet": {"path": path, "port": "operations"}, **more}


def _configuration(chosen: Installation) -> Object:
    """Only pods that ask for a model come here; where this does not answer, those alone cannot start.

    With policies a pod cannot keep itself from being judged: its own label is then for the webhook to read.
    """
    excluded = [chosen.namespace, chosen.shim_namespace, *_SYSTEM]
    left_alone = {"key": INJECT, "operator": "NotIn", "values": ["false"]}
    more: dict[str, Any] = {}
    if chosen.cert_manager:
        note = {"cert-manager.io/inject-ca-from": f"{chosen.namespace}/{NAME}"}
        more = {"more_metadata": {"annotations": note}}
    return parts.made(
        f"{MUTATING_WEBHOOKS.group}/{MUTATING_WEBHOOKS.version}",
        MUTATING_WEBHOOKS.kind,
        CONFIGURATION,
        **more,
        webhooks=[
            {
                "name": "pods.modelcar.dev",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "service": {"namespace": chosen.namespace, "name": NAME, "path": "/mutate", "port": 443}
                },
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["pods"],
                        "operations": ["CREATE"],
                        "scope": "Namespaced",
                    }
                ],
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "sideEffects": "None",
                "timeoutSeconds": 10,
                "reinvocationPolicy": "IfNeeded",
                "namespaceSelector": {
                    "matchExpressions": [
                        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": excluded},
                        left_alone,
                    ]
                },
                **({"objectSelector": {"matchExpressions": [left_alone]}} if chosen.trust is TrustMode.OFF else {}),
                "matchConditions": [{"name": "asks-for-a-model", "expression": _asks(chosen)}],
            }
        ],
    )


def _asks(chosen: Installation) -> str:
    """CEL over a pod: our annotations (a mistyped one, too, or nobody would say so), KServe's, and what KServe's own
    webhook or controller may have made of them."""
    annotated = f"object.metadata.annotations.exists(k, k.startsWith('{GROUP}/'))"
    source = f"'{KSERVE_SOURCE}' in object.metadata.annotations"
    kserve = f"({source} && object.metadata.annotations['{KSERVE_SOURCE}'].contains('oci'))"
    initial = "c.name == 'storage-initializer' && has(c.args) && c.args.exists(a, a.startsWith('oci'))"
    asks = [
        f"has(object.metadata.annotations) && ({annotated} || {kserve})",
        "object.spec.containers.exists(c, c.name.matches('^modelcar(-[0-9]+)?$'))",
        f"has(object.spec.initContainers) && object.spec.initContainers.exists(c, {initial})",
    ]
    if chosen.trust is not TrustMode.OFF:
        asks.append("has(object.spec.volumes) && object.spec.volumes.exists(v, has(v.image))")
    return " || ".join(f"({each})" for each in asks)
