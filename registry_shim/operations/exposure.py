"""Whether what is listened at may be listened at."""

from __future__ import annotations

from modelcar.errors import UsageError
from modelcar.serving.settings import Authentication, Tls

__all__ = ["require_protection"]


def require_protection(
    where: str, *, is_local: bool, tls: Tls | None, authentication: Authentication, insecure: bool
) -> None:
    """Raise `UsageError` for an address that other machines reach, unless they must say who they are, encrypted.

    Certificates of clients count as that; `insecure` says that the network takes care of it.
    """
    if is_local or insecure:
        return
    if tls is None:
        raise UsageError(
            f"{where} can be reached from other machines, and there is no TLS",
            hint="listen on 127.0.0.1, configure `tls`, or say --insecure if your network protects it",
        )
    if tls.client_ca_file is None and not authentication.required:
        raise UsageError(
            f"{where} can be reached from other machines, and nobody has to say who they are",
            hint="configure `authentication` or `tls.client_ca_file`, or say --insecure if your network protects it",
        )
