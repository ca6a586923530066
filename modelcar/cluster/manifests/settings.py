"""What whoever installs may choose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from modelcar.admission.settings import TrustMode
from modelcar.errors import InvalidReference, UsageError
from modelcar.oci import Reference

__all__ = ["Installation"]

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One installation in one cluster.

    Attributes:
        namespace: of the webhook and the controller.
        shim_namespace: of the shim, which needs more than other pods may have there.
        image: with the commands `modelcar` and `registry-shim`. Its registry must be none of `registries`: with the
            shims down a node could not get them up again.
        registries: what the shim mirrors and gates on every node.
        trust: whether policies decide about the pods that ask for models.
        policies: policy files by name, with their content.
        peers: the shims share what they have; the Secret `registry-shim-peers` has their certificate.
        cert_manager: the webhook's certificate, and that of the peers, is cert-manager's.
        monitoring: with a ServiceMonitor, for clusters that know of such.

    Raises:
        UsageError: these do not go together.
    """

    namespace: str = "modelcar-system"
    shim_namespace: str = "registry-shim"
    image: str = "registry.example/modelcar/modelcar:latest"
    registries: tuple[str, ...] = ("ghcr.io",)
    trust: TrustMode = TrustMode.OFF
    policies: Mapping[str, str] = field(default_factory=dict)
    peers: bool = True
    cert_manager: bool = False
    monitoring: bool = False

    def __post_init__(self) -> None:
        for name in (self.namespace, self.shim_namespace):
            if not _LABEL.fullmatch(name):
                raise UsageError(f"{name!r} cannot be the name of a namespace", hint="small letters, digits and dashes")
        if self.namespace == self.shim_namespace:
            raise UsageError("the shim needs a namespace of its own: its pods may do more than others")
        try:
            home = Reference.parse(self.image).registry
            for registry in self.registries:
                Reference(registry=registry, repository="a", tag="b")
        except InvalidReference as e:
            raise UsageError(str(e)) from None
        if home in self.registries:
            raise UsageError(
                f"the image comes from {home}, which the shim gates: a node could not get the shim up again",
                hint="copy it to a registry of its own: modelcar copy",
            )
        if len(set(self.registries)) != len(self.registries) or not self.registries:
            raise UsageError("the registries are not one or more, each once")
        if self.trust is not TrustMode.OFF and not self.policies:
            raise UsageError(f"trust is {self.trust}, and there is no policy", hint="--policy FILE")

    @property
    def pull_secrets(self) -> str:
        """The namespace whose secrets nodes may read."""
        return f"{self.shim_namespace}-pull-secrets"
