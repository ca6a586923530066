"""Policies from files and folders, read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelcar.errors import NotFound, UsageError
from modelcar.files import is_there
from modelcar.signing.policy.authorities import AuthoritySpec
from modelcar.signing.policy.clusterimage import ClusterImagePolicy, parse_cluster_image_policy
from modelcar.signing.policy.denylist import DigestDenyList, parse_deny_list
from modelcar.signing.policy.documents import MAX_BYTES, parse_documents
from modelcar.signing.policy.fields import ClosedFields
from modelcar.signing.policy.modelpolicy import ModelPolicy, parse_model_policy
from modelcar.signing.policy.trust import KeylessTrust, KeyTrust

__all__ = ["Document", "Policy", "PolicySet", "load", "parse", "read_files"]

Policy = ClusterImagePolicy | ModelPolicy
Document = Policy | DigestDenyList

_SIGSTORE: Final = "policy.sigstore.dev"
_OURS: Final = "policy.modelcar.dev/v1alpha1"
_VERSIONS: Final = {
    "ClusterImagePolicy": (f"{_SIGSTORE}/v1beta1", f"{_SIGSTORE}/v1alpha1"),
    "ModelPolicy": (_OURS,),
    "DigestDenyList": (_OURS,),
}
_TOP: Final = ("apiVersion", "kind", "metadata", "spec")
# What a cluster adds to an object, so that the output of `kubectl get -o yaml` can be used as it is.
_METADATA: Final = (
    "name", "labels", "annotations", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp",
    "managedFields", "ownerReferences", "finalizers",
)  # fmt: skip
_ENDINGS: Final = (".yaml", ".yml", ".json")
_MAX_FILES: Final = 1000
_MAX_DOCUMENTS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """Everything that has a say. No two documents of a kind share a name."""

    policies: tuple[Policy, ...] = ()
    deny_lists: tuple[DigestDenyList, ...] = ()

    @property
    def wants_verdicts(self) -> bool:
        """Whether scan verdicts matter, so that those about manifests in an image are worth fetching."""
        return any(isinstance(policy, ModelPolicy) and policy.scan is not None for policy in self.policies)

    @property
    def wants_identities(self) -> bool:
        """Whether a policy names identities, for which a root of trust is needed."""
        return any(isinstance(spec.trust, KeylessTrust) for p in self.policies for spec in _authorities(p))

    @property
    def key_services(self) -> frozenset[str]:
        """The URLs of keys that a key management service has."""
        trusts = (spec.trust for policy in self.policies for spec in _authorities(policy))
        return frozenset(trust.kms for trust in trusts if isinstance(trust, KeyTrust) and trust.kms)


def load(paths: Iterable[Path]) -> PolicySet:
    """The policies in files, and in the YAML and JSON files that lie directly in folders.

    Raises:
        UsageError: a document is not one that we can hold to; there is none at all; a name is there twice.
        NotFound: a path does not exist.
    """
    return parse(read_files(paths))


def read_files(paths: Iterable[Path]) -> list[tuple[str, bytes]]:
    """What `parse` takes, for who wants to know whether it has changed. Raises as `load`."""
    return [(str(path), _read(path)) for path in _files(paths)]


def parse(files: Iterable[tuple[str, bytes]]) -> PolicySet:
    """The policies in named files' contents. Raises as `load`."""
    documents: list[Document] = []
    seen: dict[tuple[str, str], str] = {}
    for where, raw in files:
        values = parse_documents(raw, where)
        if not values:
            raise UsageError(f"{where} has no policy in it")
        for i, value in enumerate(values, 1):
            path = where if len(values) == 1 else f"{where} document {i}"
            document = _document(value, path)
            key = (document.kind, document.name)
            if key in seen:
                raise UsageError(f"{path}: {document.kind} {document.name!r} is in {seen[key]} already")
            seen[key] = path
            documents.append(document)
    if not documents:
        raise UsageError("no policy is given", hint="name a file, or a folder with .yaml files")
    if len(documents) > _MAX_DOCUMENTS:
        raise UsageError(f"{len(documents)} policies; {_MAX_DOCUMENTS} are allowed")
    return PolicySet(
        policies=tuple(d for d in documents if not isinstance(d, DigestDenyList)),
        deny_lists=tuple(d for d in documents if isinstance(d, DigestDenyList)),
    )


def _authorities(policy: Policy) -> tuple[AuthoritySpec, ...]:
    if isinstance(policy, ClusterImagePolicy):
        return policy.authorities
    return policy.scan.authorities if policy.scan is not None else ()


def _document(value: Any, path: str) -> Document:
    if not isinstance(value, dict):
        raise UsageError(f"{path} is not a Kubernetes object")
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _VERSIONS:
        hint = f"one of: {', '.join(_VERSIONS)}"
        if kind == "TrustRoot":
            hint = "trust roots are given to the command, not in policy files"
        raise UsageError(f"{path}: kind {str(kind)[:80]!r} is not a policy", hint=hint)
    document = ClosedFields(value, path, (*_TOP, "status") if kind == "ClusterImagePolicy" else _TOP)
    document.choice("apiVersion", _VERSIONS[kind])
    name = document.object("metadata", _METADATA).name("name")
    if kind == "ClusterImagePolicy":
        return parse_cluster_image_policy(name, document)
    return parse_model_policy(name, document) if kind == "ModelPolicy" else parse_deny_list(name, document)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in _ENDINGS and not p.name.startswith("."))
        if not found:
            raise UsageError(f"{path} has no policy in it", hint=f"files are read that end in {', '.join(_ENDINGS)}")
        if len(found) > _MAX_FILES:
            raise UsageError(f"{path} has {len(found)} policy files; {_MAX_FILES} are read")
        yield from found


def _read(path: Path) -> bytes:
    if not is_there(path):
        raise NotFound(f"{path} does not exist")
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
