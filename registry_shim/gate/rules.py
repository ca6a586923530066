"""Which rule a repository falls under."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from modelcar.cache.origin import Origin
from modelcar.oci import Digest
from modelcar.signing.policy.globs import Glob, ImageGlob, image_names
from registry_shim.gate.settings import GateRule, GateSettings, Mode, Unmatched

__all__ = ["Rules", "repository_names"]

_ANY: Final = Digest.of(b"")


def repository_names(origin: Origin) -> tuple[str, ...]:
    """The names under which globs find a repository: as policies know it, of Docker Hub in all spellings."""
    names = image_names(origin.reference(tag="latest"), _ANY)
    return tuple(name for name in names if "@" not in name and ":" not in name.rpartition("/")[2])


class Rules:
    """The rules of the settings, asked by repository."""

    def __init__(self, settings: GateSettings) -> None:
        self._rules = tuple((ImageGlob(rule.images), rule) for rule in settings.rules)
        self._refuses_others = settings.unmatched is Unmatched.REFUSE and bool(settings.rules)
        self._find = lru_cache(maxsize=settings.remembered)(self._first)

    def of(self, origin: Origin) -> GateRule | None:
        """The first rule that matches; `None` if none does."""
        return self._find(origin.registry, origin.repository)

    def refuses(self, origin: Origin) -> bool:
        """Whether nothing of a repository is served, because no rule speaks about it."""
        return self._refuses_others and self.of(origin) is None

    def mode(self, origin: Origin) -> Mode:
        """Of its rule; without one, `off` or `enforce` as the settings say about such repositories."""
        rule = self.of(origin)
        if rule is not None:
            return rule.mode
        return Mode.ENFORCE if self._refuses_others else Mode.OFF

    def summary(self, registry: str) -> str:
        """What becomes of a registry's images, for the doctor."""
        modes = [rule.mode for glob, rule in self._rules if _may_match(glob, registry)]
        said = ", ".join(f"{modes.count(mode)} {mode}" for mode in Mode if mode in modes)
        others = "refused" if self._refuses_others else "served unseen"
        return f"rules for {registry}: {said or 'none'}; repositories without a rule: {others}"

    def _first(self, registry: str, repository: str) -> GateRule | None:
        names = repository_names(Origin(registry=registry, repository=repository))
        return next((rule for glob, rule in self._rules if glob.matches(names)), None)


def _may_match(glob: ImageGlob, registry: str) -> bool:
    first = glob.text.partition("/")[0]
    return "**" in first or Glob(first).matches(_hosts(registry))


def _hosts(registry: str) -> tuple[str, ...]:
    """The spellings of a registry's name."""
    names = repository_names(Origin(registry=registry, repository="a/b"))
    return tuple(name.partition("/")[0] for name in names)
