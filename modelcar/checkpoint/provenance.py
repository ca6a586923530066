"""Where a checkpoint came from."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLIC_HUB", "Provenance"]

PUBLIC_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a checkpoint came from, as far as that is known.

    Attributes:
        repo: `org/name` on the Hub.
        revision: the commit, 40 hex digits; never a branch or tag.
        endpoint: the Hub that it was asked of; `None` for what lay on disk. Goes into no image: the same commit
            through a mirror must give the same digest.
    """

    repo: str | None = None
    revision: str | None = None
    endpoint: str | None = None

    @property
    def url(self) -> str | None:
        """The model's page on the public Hub, whichever mirror it came from."""
        return f"{PUBLIC_HUB}/{self.repo}" if self.repo else None
