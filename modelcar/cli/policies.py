"""Options that name policies, and the decision that they lead to for an image at its place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from modelcar.cli.identities import IdentityChoice
from modelcar.cli.options import NAMED_PATH
from modelcar.cli.output import Output, Table
from modelcar.cli.passwords import ask_password
from modelcar.cli.places import image_source
from modelcar.errors import UsageError
from modelcar.oci import Descriptor, Reference
from modelcar.packaging.inspect import inspect_image
from modelcar.packaging.locations import Location
from modelcar.signing.evidence import gather_evidence
from modelcar.signing.places import LayoutPlace, RegistryPlace

if TYPE_CHECKING:
    from modelcar.signing.policy import Decision, Default, KnownAuthorities, PolicySet
    from modelcar.signing.verified import Authority

__all__ = ["PolicyChoice", "policy_options", "show_decision"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChoice:
    """Which policies are to be held to, as the command line says it."""

    files: tuple[Path, ...]
    deny_lists: tuple[Path, ...]
    default: Default
    name: str | None
    roots: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.files or self.deny_lists)

    def load(self) -> PolicySet:
        """Raises `UsageError` for what is not a policy, or not a deny-list where one belongs."""
        from modelcar.signing.policy import load

        if self.deny_lists and (wrong := load(self.deny_lists).policies):
            raise UsageError(f"{wrong[0].kind} {wrong[0].name!r} is not a deny-list", hint="give it with --policy")
        return load((*self.files, *self.deny_lists))

    def decide(
        self,
        policies: PolicySet,
        location: Location,
        place: LayoutPlace | RegistryPlace,
        root: Descriptor,
        identity: IdentityChoice,
    ) -> Decision:
        """Look at the image and what is attached to it, and decide. No weights are read."""
        from modelcar.signing.policy import ImageFacts, evaluate

        reference = self._reference(location, root)
        source = image_source(place, root)
        inspected = inspect_image(root, source.read)
        about = [root.digest]
        if policies.wants_verdicts:
            about += [*inspected.indexes, *(m.descriptor.digest for m in inspected.manifests)]
        evidence = {digest: gather_evidence(place, digest) for digest in dict.fromkeys(about)}
        return evaluate(
            policies,
            ImageFacts.of(reference, inspected),
            evidence,
            self._authorities(policies, identity),
            now=datetime.now(UTC),
            default=self.default if self.files else "allow",
        )

    def _reference(self, location: Location, root: Descriptor) -> Reference:
        if self.name is not None:
            named = Reference.parse(self.name)
            if named.digest not in (None, root.digest):
                raise UsageError(f"{location} is {root.digest}, not {named.digest}", hint="--as names another image")
            return named
        if isinstance(location, Reference):
            return location
        raise UsageError(
            f"{location} has no name that policies could match", hint="add --as REGISTRY/REPOSITORY:TAG, its name"
        )

    def _authorities(self, policies: PolicySet, identity: IdentityChoice) -> KnownAuthorities:
        """The public Fulcio with the root of trust that was chosen, and others as `--trust-root` names them."""
        from modelcar.signing.keyless.trust import TrustSource
        from modelcar.signing.policy import authorities_under

        public = TrustSource(
            trusted_root=identity.trusted_root, trust_config=identity.trust_config, offline=identity.offline
        )
        named = {}
        for root in self.roots:
            name, _, file = root.partition("=")
            if not (name and file):
                raise UsageError(f"--trust-root {root!r} is not NAME=FILE")
            named[name] = TrustSource(trusted_root=Path(file))
        return authorities_under(public, named, _services(policies))


def _services(policies: PolicySet) -> dict[str, Authority]:
    """Keys of the services for which a plug-in is installed; without one, the decision says that it is not at hand."""
    from modelcar.signing.keys.authority import KeyAuthority
    from modelcar.signing.keys.load import load_public_key

    found: dict[str, Authority] = {}
    for url in sorted(policies.key_services):
        if not url.startswith("env://"):  # where a policy comes from, this environment has no say
            with suppress(UsageError):
                found[url] = KeyAuthority([load_public_key(url, ask_password)])
    return found


def policy_options(command: F) -> F:
    """Options that name policies, handed on as `policy_choice`."""

    @click.option(
        "--policy",
        "files",
        type=NAMED_PATH,
        multiple=True,
        help="A policy file, or a folder of them; may be repeated, and all must be satisfied.",
    )
    @click.option(
        "--deny-list",
        "deny_lists",
        metavar="FILE",
        type=NAMED_PATH,
        multiple=True,
        help="A file with digests that are revoked; may be repeated.",
    )
    @click.option(
        "--default",
        type=click.Choice(["deny", "allow"]),
        default="deny",
        show_default=True,
        help="With --policy: what becomes of an image that no policy matches.",
    )
    @click.option("--as", "name", metavar="REF", help="The image's name for policies, where REF is an oci: folder.")
    @click.option(
        "--trust-root",
        "roots",
        metavar="NAME=FILE",
        multiple=True,
        help="A trusted_root.json for what policies call NAME, a trustRootRef or a Fulcio's URL; may be repeated.",
    )
    @wraps(command)
    def wrapper(
        *args: Any,
        files: tuple[Path, ...],
        deny_lists: tuple[Path, ...],
        default: Default,
        name: str | None,
        roots: tuple[str, ...],
        **kwargs: Any,
    ) -> Any:
        choice = PolicyChoice(files=files, deny_lists=deny_lists, default=default, name=name, roots=roots)
        return command(*args, policy_choice=choice, **kwargs)

    return cast("F", wrapper)


def show_decision(output: Output, decision: Decision) -> None:
    """The policies that had a say, for people."""
    rows = []
    for policy in decision.policies:
        outcome = "satisfied" if policy.satisfied else "warns" if policy.warn_only else "denies"
        satisfied = [a for a in policy.authorities if a.satisfied]
        by = ", ".join(f"{a.name}: {', '.join(a.signers) or 'static'}" for a in satisfied)
        rows.append([f"{policy.kind} {policy.name}", outcome, by])
    if rows:
        output.table(Table(columns=("policy", "outcome", "by"), rows=rows))
    for warning in decision.warnings:
        output.line(f"warning: {warning}")
