"""Documents of policies: those with every field that is known, and those with something wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from modelcar.oci import Digest
from tests.support.policies import (
    Someone,
    cluster_image_policy,
    deny_list,
    model_policy,
    scan_rule,
)

__all__ = [
    "ALICE",
    "BEYOND_SCHEMAS",
    "FULL",
    "KEYLESS",
    "MALFORMED",
    "PASS",
    "RULES",
    "authority",
    "rules",
    "scan",
    "spec",
    "without",
]

ALICE = Someone()
PASS = {"static": {"action": "pass"}}
KEYLESS = {"identities": [{"issuer": "https://issuer", "subjectRegExp": "^x$"}]}
FULL = cluster_image_policy(
    {"name": "a", "key": {"data": ALICE.pem, "hashAlgorithm": "SHA256"}, "signatureFormat": "bundle"},
    {"keyless": {"url": "https://fulcio.sigstore.dev", "insecureIgnoreSCT": True, **KEYLESS}, "ctlog": {"url": "x"}},
    {"keyless": {"ca-cert": {"secretRef": {"name": "x", "namespace": "y"}}, "trustRootRef": "z", **KEYLESS}},
    {"key": {"kms": "gcpkms://x"}, "source": [{"oci": "x", "signaturePullSecrets": [{"name": "s"}]}]},
    {
        "key": {"data": ALICE.pem},
        "rfc3161timestamp": {"trustRootRef": "t"},
        "attestations": [
            {
                "name": "one",
                "predicateType": "vuln",
                "policy": {"type": "rego", "configMapRef": {"name": "c", "key": "k"}},
            },
            {
                "name": "two",
                "predicateType": "https://x",
                "policy": {"type": "cue", "remote": {"url": "u", "sha256sum": "s"}},
            },
        ],
    },
    PASS,
    {"static": {"action": "fail", "message": "no"}},
    mode="warn",
    images=[{"glob": "ghcr.io/**"}, {"glob": "*"}],
    policy={"type": "cue", "data": "x", "includeSpec": True, "fetchConfigFile": False},
    match=[
        {"group": "apps", "version": "*", "resource": "deployments"},
        {
            "version": "v1",
            "resource": "pods",
            "selector": {"matchExpressions": [{"key": "k", "operator": "In", "values": ["a", "b"]}]},
        },
    ],
)


RULES: dict[str, Any] = {
    "formats": {"allowed": ["safetensors"]},
    "licenses": {"allowed": ["MIT"], "denied": ["GPL-2.0-only WITH Classpath-exception-2.0"]},
    "sources": {"allowed": [{"repository": "org/*", "revision": "0" * 40}]},
    "customCode": "deny",
    "scan": scan_rule(ALICE),
    "deniedDigests": [str(Digest.of(b"x"))],
}


def without(document: dict[str, Any], *path: str) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(document))
    place = copy
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return copy


def authority(**fields: Any) -> Callable[[], dict[str, Any]]:
    return lambda: cluster_image_policy(fields)


def spec(**fields: Any) -> Callable[[], dict[str, Any]]:
    return lambda: cluster_image_policy(PASS, **fields)


def rules(**fields: Any) -> Callable[[], dict[str, Any]]:
    return lambda: model_policy(**fields)


def scan(**fields: Any) -> Callable[[], dict[str, Any]]:
    return lambda: model_policy(scan={**scan_rule(ALICE), **fields})


MALFORMED: list[tuple[Callable[[], Any], str]] = [
    (lambda: ["x"], "p.yaml is not a Kubernetes object"),
    (lambda: "x", "is not a Kubernetes object"),
    (lambda: without(FULL, "kind"), "kind 'None' is not a policy"),
    (lambda: {**FULL, "kind": "Secret"}, "kind 'Secret' is not a policy"),
    (lambda: {**FULL, "kind": "TrustRoot"}, "kind 'TrustRoot' is not a policy"),
    (lambda: {**FULL, "kind": ["ClusterImagePolicy"]}, "is not a policy"),
    (lambda: {**FULL, "apiVersion": "policy.sigstore.dev/v1"}, "p.yaml.apiVersion is 'policy.sigstore.dev/v1'"),
    (lambda: {**FULL, "apiVersion": "policy.modelcar.dev/v1alpha1"}, "apiVersion is"),
    (lambda: {**model_policy(**RULES), "apiVersion": "policy.sigstore.dev/v1beta1"}, "apiVersion is"),
    (lambda: without(FULL, "apiVersion"), "apiVersion is missing"),
    (lambda: without(FULL, "metadata"), "metadata is not a mapping"),
    (lambda: without(FULL, "metadata", "name"), "metadata.name is missing"),
    (lambda: {**FULL, "metadata": {"name": "Upper"}}, "not a name"),
    (lambda: {**FULL, "metadata": {"name": "x" * 254}}, "not a name"),
    (lambda: {**FULL, "metadata": {"name": "x", "nme": 1}}, "metadata.nme is not a field"),
    (lambda: {**FULL, "Spec": {}}, "p.yaml.Spec is not a field"),
    (lambda: without(FULL, "spec"), "spec is not a mapping"),
    (lambda: without(FULL, "spec", "images"), "spec.images is missing"),
    (lambda: without(FULL, "spec", "authorities"), "spec.authorities is missing"),
    (cluster_image_policy, "spec.authorities is empty"),
    (spec(authorities=None), "spec.authorities is missing"),
    (spec(images=[]), "spec.images is empty"),
    (spec(images=[{}]), r"images\[0\].glob is missing"),
    (spec(images=[{"glob": "["}]), r"images\[0\].glob is wrong: '\[' is not a glob"),
    (spec(images=[{"glob": "x", "regex": "x"}]), "regex is not a field"),
    (spec(images="x"), "images is not a list"),
    (spec(images=[{"glob": "x"}] * 1001), "has 1001 entries"),
    (spec(mode="audit"), "mode is 'audit'"),
    (spec(mode="Warn"), "mode is 'Warn'"),
    (spec(Mode="warn"), "Mode is not a field"),
    (spec(policy={"type": "cue"}), r"data \| remote \| configMapRef is missing"),
    (spec(policy={"type": "js", "data": "x"}), "type is 'js'"),
    (spec(policy={"type": "cue", "data": "x", "remote": {}}), "data excludes"),
    (spec(policy={"type": "cue", "data": "x", "includeSpec": "yes"}), "includeSpec is neither true nor false"),
    (spec(match=[{}]), r"match\[0\].version is missing"),
    (spec(match=[{"version": "v1"}]), r"match\[0\].resource is missing"),
    (spec(match=[{"version": "v1", "resource": "apple"}]), "resource is 'apple'"),
    (authority(key={"kms": "AWS-KEY"}), "kms is 'AWS-KEY'"),
    (
        spec(
            match=[
                {"version": "*", "resource": "pods", "selector": {"matchExpressions": [{"key": "k", "operator": "in"}]}}
            ]
        ),
        "'in'",
    ),
    (
        spec(
            match=[
                {
                    "version": "v1",
                    "resource": "pods",
                    "selector": {"matchExpressions": [{"key": "k", "operator": "In"}]},
                }
            ]
        ),
        "missing",
    ),
    (
        spec(match=[{"version": "v1", "resource": "pods", "selector": {"matchLabels": {"a": 1}}}]),
        "not a mapping of texts",
    ),
    (authority(), "is missing"),
    (authority(static={"action": "pass"}, key={"data": ALICE.pem}), "key excludes"),
    (authority(static={"action": "pass"}, attestations=[{"name": "a", "predicateType": "b"}]), "attestations excludes"),
    (authority(static={"action": "allow"}), "action is 'allow'"),
    (authority(static={}), "action is missing"),
    (authority(key={}), "is missing"),
    (authority(key={"data": ALICE.pem, "kms": "x"}), "data excludes"),
    (authority(key={"data": "x"}), "key.data"),
    (authority(key={"data": ALICE.pem.replace("A", "!")}), "key.data"),
    (authority(key={"data": ALICE.pem + ALICE.pem}), "2 PEM blocks"),
    (authority(key={"data": ALICE.pem.replace("PUBLIC", "PRIVATE")}), "is a private key"),
    (authority(key={"data": ALICE.pem, "hashAlgorithm": "md5"}), "hashAlgorithm is 'md5'"),
    (authority(key={"data": ALICE.pem, "secret": "x"}), "secret is not a field"),
    (authority(key={"secretRef": {}}), "secretRef.name is missing"),
    (authority(keyless={}), "identities is missing"),
    (authority(keyless={"identities": []}), "identities is empty"),
    (authority(keyless={**KEYLESS, "url": "u", "ca-cert": {"data": ALICE.pem}}), "url excludes"),
    (authority(key={"data": ALICE.pem}, signatureFormat="cosign"), "signatureFormat is 'cosign'"),
    (authority(key={"data": ALICE.pem}, attestations=[]), "attestations is empty"),
    (authority(key={"data": ALICE.pem}, attestations=[{"name": "a"}]), "predicateType is missing"),
    (authority(key={"data": ALICE.pem}, attestations=[{"name": "a", "predicateType": "b"}] * 2), "a name twice"),
    (authority(key={"data": ALICE.pem}, source=[{"oci": "a"}, {"oci": "b"}]), "more than one entry"),
    (authority(key={"data": ALICE.pem}, source=[{"tagprefix": "a"}]), "tagprefix is not a field"),
    (lambda: cluster_image_policy({"name": "x", **PASS}, {"name": "x", **PASS}), "two of the name 'x'"),
    (lambda: cluster_image_policy(PASS, {"name": "authority-0", **PASS}), "two of the name 'authority-0'"),
    (rules(), "has no rule"),
    (rules(customCode="allow"), "customCode is 'allow'"),
    (rules(customCode=""), "customCode is missing"),
    (rules(customCode=False), "customCode is not text"),
    (rules(formats={}), "allowed is not a list"),
    (rules(formats={"allowed": []}), "allowed is empty"),
    (rules(formats={"allowed": ["Safetensors"]}), "allowed is not a list"),
    (rules(formats={"allowed": ["gguf", "gguf"]}), "an entry twice"),
    (rules(licenses={}), "allowed is missing"),
    (rules(licenses={"allowed": ["MIT OR ISC"]}), "is not an SPDX identifier"),
    (rules(sources={"allowed": [{"repository": "llm"}]}), "repository is 'llm'"),
    (rules(sources={"allowed": [{"repository": "a/b", "revision": "main"}]}), "revision is 'main'"),
    (rules(deniedDigests=["sha256:00"]), r"deniedDigests\[0\] is wrong"),
    (rules(deniedDigests=[str(Digest.of(b"x")).upper()]), r"deniedDigests\[0\] is wrong"),
    (rules(customCode="deny", allowPickle=True), "allowPickle is not a field"),
    (rules(customCode="deny", match=[{"version": "v1", "resource": "pods"}]), "match is not a field"),
    (scan(authorities=[]), "authorities is empty"),
    (scan(authorities=[PASS]), "static is not a field"),
    (scan(authorities=[{"key": {"data": ALICE.pem}, "attestations": []}]), "attestations is not a field"),
    (scan(maxAge=None), "maxAge is missing"),
    (scan(maxAge="0d"), "maxAge is '0d'"),
    (scan(maxAge="forever"), "maxAge is 'forever'"),
    (scan(maxAge="1.5h"), "maxAge is '1.5h'"),
    (scan(maxAge=7), "maxAge is not text"),
    (scan(ruleSet={"name": "modelcar"}), "minVersion is missing"),
    (scan(ruleSet={"name": "modelcar", "minVersion": "v1"}), "minVersion is 'v1'"),
    (deny_list, "digests is empty"),
    (lambda: deny_list(Digest.of(b"x"), Digest.of(b"x")), r"digests\[1\].digest is there twice"),
]

# What a schema cannot say: uniqueness by a field, what lies within a text, the lengths of lists of errors.
BEYOND_SCHEMAS = (
    "not a glob", "PEM block", "is a private key", "key.data", "two of the name", "a name twice", "there twice",
)  # fmt: skip
