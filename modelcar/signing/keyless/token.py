"""Identity tokens: secrets that prove to a certificate authority who is signing. Never printed, logged or stored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelcar.errors import UsageError, WorldError
from modelcar.files import read_bounded
from modelcar.signing.keyless.library import one_line, require_sigstore

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken

__all__ = ["TOKEN_VARIABLE", "find_token"]

TOKEN_VARIABLE: Final = "SIGSTORE_ID_TOKEN"  # noqa: S105  # a name, not a secret
_MAX_TOKEN: Final = 64 << 10  # bytes


def find_token(
    config: ClientTrustConfig,
    environment: Mapping[str, str],
    *,
    token_file: Path | None = None,
    interactive: bool = False,
) -> IdentityToken:
    """Who we are: from `token_file`, `$SIGSTORE_ID_TOKEN`, the CI system, or a browser, in that order.

    Args:
        interactive: whether a person is there to log in.

    Raises:
        UsageError: there is no token anywhere, or it is not one.
        WorldError: the CI system or the login did not give one.
    """
    require_sigstore()
    from sigstore.oidc import IdentityError, Issuer, IssuerError, detect_credential

    raw = _given(environment, token_file)
    if raw is not None:
        return _parse(raw)
    try:
        if (ambient := detect_credential()) is not None:
            return _parse(ambient)
        if interactive:
            return Issuer(config.signing_config.get_oidc_url()).identity_token()
    except (IdentityError, IssuerError) as e:
        hint = "in GitHub Actions, give the job `permissions: id-token: write`"
        raise WorldError(f"no identity could be had: {one_line(e)}", hint=hint) from None
    except UsageError:
        raise
    except Exception as e:
        raise WorldError(f"no identity could be had: {one_line(e)}") from None
    raise UsageError(
        "there is no identity to sign with",
        hint=f"run in CI with an OpenID Connect token, set {TOKEN_VARIABLE}, or run on a terminal",
    )


def _given(environment: Mapping[str, str], token_file: Path | None) -> str | None:
    if token_file is None:
        return environment.get(TOKEN_VARIABLE) or None
    try:
        return read_bounded(token_file, _MAX_TOKEN, "an identity token").decode()
    except UnicodeDecodeError:
        raise UsageError(f"{token_file} is not an identity token") from None


def _parse(raw: str) -> IdentityToken:
    from sigstore.oidc import IdentityError, IdentityToken

    try:
        return IdentityToken(raw.strip())
    except IdentityError as e:
        # The cause may quote the token, so only what the library itself says is repeated.
        raise UsageError(
            f"the identity token cannot be used: {e}", hint="it must be valid now and made for the audience `sigstore`"
        ) from None
