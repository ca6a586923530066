"""Options that say who signs and whose word is taken, and what they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from modelcar.cli.identities import IdentityChoice, identity_options, keyless_signatory, trust_config_option
from modelcar.cli.options import EXISTING_FILE
from modelcar.cli.passwords import ask_password
from modelcar.errors import InvalidDigest, UsageError
from modelcar.oci import Digest
from modelcar.packaging.locations import ArchiveLocation, Location
from modelcar.store import ArchiveStore

if TYPE_CHECKING:  # `build` starts without what only those who sign need
    from modelcar.signing.keys.key import PublicKey
    from modelcar.signing.signatory import KeySignatory, Signatory
    from modelcar.signing.verified import Authority

__all__ = ["SignatoryChoice", "TrustChoice", "key_signatory", "signatory_options", "trust_options"]

F = TypeVar("F", bound=Callable[..., Any])

_KEY = "a file, env://NAME, or a service such as awskms:// for which a plug-in is installed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatoryChoice:
    """Who shall sign, as the command line says it."""

    key: str | None
    keyless: bool = False
    trust_config: Path | None = None
    token_file: Path | None = None

    def signatory(self) -> Signatory:
        """Raises `UsageError` if nobody was named, or two were, or the key or identity cannot be had."""
        if self.keyless and self.key is not None:
            raise UsageError("either a key signs or an identity does", hint="give --key or --keyless, not both")
        if self.keyless:
            return keyless_signatory(self.trust_config, self.token_file)
        if self.key is None:
            raise UsageError("nothing says who signs", hint="add --key; `modelcar keygen` makes a key pair")
        return key_signatory(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustChoice:
    """Whose word is taken, as the command line says it."""

    keys: tuple[str, ...]
    identity: IdentityChoice

    def authority(self, ref: Location) -> Authority:
        """Who is believed about `ref`; a fingerprint picks a key out of an archive.

        Raises:
            UsageError: nobody was named, or a key and an identity were, or a key cannot be had.
            NotVerified: the archive does not carry that key.
        """
        if self.keys and self.identity:
            raise UsageError("either a key or an identity is wanted", hint="verify twice if both have to sign")
        if self.identity:
            return self.identity.authority()
        if not self.keys:
            raise UsageError(
                "nothing says whose signature is wanted", hint="add --key with a public key, or --certificate-identity"
            )
        from modelcar.signing.keys.authority import KeyAuthority

        return KeyAuthority(_public_key(key, ref) for key in self.keys)


def _public_key(key: str, ref: Location) -> PublicKey:
    if not key.startswith("sha256:"):
        from modelcar.signing.keys.load import load_public_key

        return load_public_key(key, ask_password)
    try:
        fingerprint = Digest.parse(key)
    except InvalidDigest as e:
        raise UsageError(f"{key!r} is no fingerprint: {e}") from None
    if not isinstance(ref, ArchiveLocation):
        raise UsageError(
            f"{fingerprint} is a fingerprint, and picks a key out of an archive", hint="give the file with the key"
        )
    from modelcar.signing.carried_trust import read_carried_trust

    return read_carried_trust(ArchiveStore(ref.file)).key(str(fingerprint))


def key_signatory(key: str) -> KeySignatory:
    """One that signs with the key at `key`; asks for its password now, before any long work."""
    from modelcar.signing.keys.load import load_signing_key
    from modelcar.signing.signatory import KeySignatory

    return KeySignatory(load_signing_key(key, ask_password))


def signatory_options(command: F) -> F:
    """Options that say who signs, handed on as `signatory_choice`."""

    @click.option("--key", metavar="KEY", help=f"The private key: {_KEY}.")
    @click.option(
        "--keyless", is_flag=True, help="Sign as who you are: the CI job's identity, SIGSTORE_ID_TOKEN, or a login."
    )
    @click.option(
        "--identity-token",
        "token_file",
        type=EXISTING_FILE,
        help="With --keyless: a file with the identity token.",
    )
    @trust_config_option
    @wraps(command)
    def wrapper(
        *args: Any,
        key: str | None,
        keyless: bool,
        token_file: Path | None,
        trust_config: Path | None,
        **kwargs: Any,
    ) -> Any:
        choice = SignatoryChoice(key=key, keyless=keyless, trust_config=trust_config, token_file=token_file)
        return command(*args, signatory_choice=choice, **kwargs)

    return cast("F", wrapper)


def trust_options(command: F) -> F:
    """Options that say whose word is taken, handed on as `trust_choice`."""

    @click.option(
        "--key",
        "keys",
        metavar="KEY",
        multiple=True,
        help=f"The public key: {_KEY}; or sha256:HEX for that one in an archive. Of several, any one will do.",
    )
    @identity_options
    @wraps(command)
    def wrapper(*args: Any, keys: tuple[str, ...], identity_choice: IdentityChoice, **kwargs: Any) -> Any:
        return command(*args, trust_choice=TrustChoice(keys=keys, identity=identity_choice), **kwargs)

    return cast("F", wrapper)
