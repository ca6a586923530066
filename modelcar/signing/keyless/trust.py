"""Roots of trust: which certificate authorities, logs and timestamping services are believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from modelcar.errors import UsageError, WorldError
from modelcar.files import read_bounded
from modelcar.signing.keyless.library import one_line, require_sigstore

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig, TrustedRoot
    from sigstore.verify import Verifier

__all__ = ["TrustSource"]

_T = TypeVar("_T")
_MAX_FILE: Final = 4 << 20  # bytes; the public root has 20 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustSource:
    """Where trust comes from: one of two files, or else Sigstore's public instance.

    Attributes:
        trusted_root: a `trusted_root.json`; enough to verify without any network, not to sign.
        trust_config: a ClientTrustConfig: a trusted root, and the addresses of the services to sign with.
        offline: of the public instance, take what the TUF cache holds (or the library was shipped with), however old.
    """

    trusted_root: Path | None = None
    trust_config: Path | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        if self.trusted_root is not None and self.trust_config is not None:
            raise UsageError("give either a trusted root or a trust config, not both")

    def verifier(self) -> Verifier:
        """
        Raises:
            UsageError: the file is not what it should be, or the library is missing.
            WorldError: the public instance's root of trust could not be refreshed.
        """
        require_sigstore()
        from sigstore.verify import Verifier

        root = self.root()
        where = self.trusted_root or self.trust_config or "the public root of trust"
        # The constructor looks for certificates and for at least one log.
        return _understood(lambda: Verifier(trusted_root=root), f"{where} cannot be verified with")

    def root(self) -> TrustedRoot:
        """The root of trust. Raises as `verifier` does."""
        require_sigstore()
        from sigstore.models import TrustedRoot

        if self.trusted_root is None:
            return self.config().trusted_root
        path = self.trusted_root
        _read(path)
        return _understood(lambda: TrustedRoot.from_file(str(path)), f"{path} is not a trusted root")

    def config(self) -> ClientTrustConfig:
        """Root of trust and services, for signing. Raises as `verifier` does."""
        require_sigstore()
        from sigstore.errors import TUFError
        from sigstore.models import ClientTrustConfig

        if self.trusted_root is not None:
            raise UsageError(
                "a trusted root does not say which services to sign with", hint="sign with --trust-config FILE"
            )
        if self.trust_config is not None:
            raw = _read(self.trust_config)
            return _understood(
                lambda: _complete(ClientTrustConfig.from_json(raw)), f"{self.trust_config} is not a trust config"
            )
        try:
            return ClientTrustConfig.production(offline=self.offline)
        except (TUFError, OSError) as e:
            raise WorldError(
                f"cannot refresh the public root of trust: {one_line(e)}",
                hint="check the network; or verify with --trusted-root FILE, sign with --trust-config FILE",
            ) from None


def _complete(config: ClientTrustConfig) -> ClientTrustConfig:
    """Both halves are checked when they are first asked for."""
    _ = config.trusted_root
    return config


def _read(path: Path) -> str:
    try:
        return read_bounded(path, _MAX_FILE, "a root of trust").decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text") from None


def _understood(load: Callable[[], _T], complaint: str) -> _T:
    """`load()`, where whatever the library raises is the file's fault."""
    try:
        return load()
    except Exception as e:
        raise UsageError(f"{complaint}: {one_line(e)}") from None
