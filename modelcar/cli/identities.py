"""Options for signing and verifying by identity, and what they become."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from modelcar.cli.options import EXISTING_FILE
from modelcar.errors import UsageError

if TYPE_CHECKING:  # `build` starts without what only those who sign need
    from modelcar.signing.signatory import Signatory
    from modelcar.signing.verified import Authority

__all__ = ["IdentityChoice", "identity_options", "keyless_signatory", "trust_config_option"]

F = TypeVar("F", bound=Callable[..., Any])
_FILE = EXISTING_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityChoice:
    """Whose identity is wanted, and by what root of trust, as the command line says it."""

    subject: str | None
    subject_regexp: str | None
    issuer: str | None
    issuer_regexp: str | None
    trusted_root: Path | None
    trust_config: Path | None
    offline: bool

    def __bool__(self) -> bool:
        """Whether an identity was named at all."""
        return any(v is not None for v in (self.subject, self.subject_regexp, self.issuer, self.issuer_regexp))

    def authority(self) -> Authority:
        """Raises `UsageError` unless both subject and issuer are named, and either once."""
        from modelcar.signing.keyless.authority import KeylessAuthority
        from modelcar.signing.keyless.identity import IdentityRule
        from modelcar.signing.keyless.trust import TrustSource

        try:
            rule = IdentityRule(
                subject=self.subject,
                subject_regexp=self.subject_regexp,
                issuer=self.issuer,
                issuer_regexp=self.issuer_regexp,
            )
        except UsageError as e:
            hint = "give --certificate-identity and --certificate-oidc-issuer, or either as a …-regexp"
            raise UsageError(str(e), hint=hint) from None
        trust = TrustSource(trusted_root=self.trusted_root, trust_config=self.trust_config, offline=self.offline)
        authority = KeylessAuthority([rule], trust)
        if self.trusted_root is not None or self.trust_config is not None:
            authority.prepare()  # a file that is no root of trust is the first thing to hear of
        return authority


def keyless_signatory(trust_config: Path | None, token_file: Path | None = None) -> Signatory:
    """One that signs as who we are here; a browser is opened only if a person sits at the terminal."""
    from modelcar.signing.keyless.signatory import keyless_signatory as signatory
    from modelcar.signing.keyless.trust import TrustSource

    interactive = sys.stdin.isatty() and sys.stderr.isatty()
    trust = TrustSource(trust_config=trust_config)
    return signatory(trust, os.environ, token_file=token_file, interactive=interactive)


def trust_config_option(command: F) -> F:
    """`--trust-config`, handed on as `trust_config`."""
    text = "Sigstore ClientTrustConfig of an instance of your own; by default the public one."
    return click.option("--trust-config", type=_FILE, help=text)(command)


def identity_options(command: F) -> F:
    """Options that say whose identity is wanted, handed on as `identity_choice`."""

    @click.option("--certificate-identity", "subject", metavar="TEXT", help="The identity that signed, exactly.")
    @click.option(
        "--certificate-identity-regexp",
        "subject_regexp",
        metavar="REGEXP",
        help="The identity that signed; the expression must match all of it.",
    )
    @click.option("--certificate-oidc-issuer", "issuer", metavar="URL", help="Who vouched for the identity, exactly.")
    @click.option(
        "--certificate-oidc-issuer-regexp", "issuer_regexp", metavar="REGEXP", help="The same as an expression."
    )
    @click.option(
        "--trusted-root", type=_FILE, help="Sigstore trusted_root.json: verify with it and without a network."
    )
    @trust_config_option
    @click.option("--offline", is_flag=True, help="Do not refresh the public root of trust; use the cached one.")
    @wraps(command)
    def wrapper(
        *args: Any,
        subject: str | None,
        subject_regexp: str | None,
        issuer: str | None,
        issuer_regexp: str | None,
        trusted_root: Path | None,
        trust_config: Path | None,
        offline: bool,
        **kwargs: Any,
    ) -> Any:
        choice = IdentityChoice(
            subject=subject,
            subject_regexp=subject_regexp,
            issuer=issuer,
            issuer_regexp=issuer_regexp,
            trusted_root=trusted_root,
            trust_config=trust_config,
            offline=offline,
        )
        return command(*args, identity_choice=choice, **kwargs)

    return cast("F", wrapper)
