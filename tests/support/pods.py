"""The folder of golden pods: `tests/golden/pods/<case>/`, found by themselves.

    pod.yaml         what comes in
    facts.yaml       image -> {digest, user: {uid, gid}, groups, publisher, trust: {...}, problem}; without: offline
    settings.yaml    optional: what differs from the defaults
    expected.yaml    what goes out, with `# warning: ...` lines first
    denied.txt       or the line (and its hint) that says no

`python -m tests.support.pods --update` writes the last two anew; what changed is for a person to read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, get_type_hints

import yaml

from modelcar.admission.admit import Caller, Offline, Pod, Resolver, admit
from modelcar.admission.asked import Asked
from modelcar.admission.facts import Facts, ImageFact, Publisher, Trust, User
from modelcar.admission.pinning import pinned
from modelcar.admission.settings import AdmissionSettings
from modelcar.errors import Denied
from modelcar.oci import Digest

__all__ = ["CALLER", "CASES", "FOLDER", "Case", "Known", "load_settings", "load_yaml"]

FOLDER: Final = Path(__file__).parents[1] / "golden" / "pods"
CALLER: Final = Caller(namespace="default")
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str | bytes) -> Any:
    """As `yaml.safe_load`, by the C library where there is one: there are hundreds of cases."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506  # a safe one


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A resolver that knows what it was told."""

    images: Facts

    def facts(self, pod: Pod, asked: Asked, caller: Caller, settings: AdmissionSettings) -> Facts:
        known = {pinned(image, fact.digest): fact for image, fact in self.images.items()} | dict(self.images)
        return {
            image: known.get(image)
            or ImageFact.unknown("no such image in facts.yaml", asked_policies=settings.trust.mode != "off")
            for image in asked.images
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One folder."""

    folder: Path

    @property
    def name(self) -> str:
        return str(self.folder.relative_to(FOLDER))

    def pod(self) -> Pod:
        loaded: Pod = load_yaml((self.folder / "pod.yaml").read_text())
        return loaded

    def settings(self) -> AdmissionSettings:
        path = self.folder / "settings.yaml"
        return load_settings(load_yaml(path.read_text()) if path.exists() else {})

    def resolver(self) -> Resolver:
        path = self.folder / "facts.yaml"
        return Known(images=_facts(load_yaml(path.read_text()) or {})) if path.exists() else Offline()

    def outcome(self) -> tuple[str, str]:
        """Name and content of the file that says what becomes of the pod."""
        try:
            outcome = admit(self.pod(), self.resolver(), CALLER, self.settings())
        except Denied as e:
            return "denied.txt", "".join(f"{line}\n" for line in (str(e), *([f"hint: {e.hint}"] if e.hint else [])))
        warnings = "".join(f"# warning: {warning}\n" for warning in outcome.warnings)
        return "expected.yaml", warnings + yaml.dump(outcome.pod, Dumper=_Dumper, sort_keys=False, width=120)

    def expected(self) -> tuple[str, str]:
        """What stands there."""
        there = [path for name in ("expected.yaml", "denied.txt") if (path := self.folder / name).exists()]
        assert len(there) == 1, (
            f"{self.name} has {[path.name for path in there]}: run `python -m tests.support.pods --update`"
        )
        return there[0].name, there[0].read_text()


class _Dumper(yaml.SafeDumper):
    """Scripts and lists stay readable."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _facts(written: dict[str, Any]) -> Facts:
    return {image: _fact(told) for image, told in written.items()}


def _fact(told: dict[str, Any]) -> ImageFact:
    return ImageFact(
        digest=Digest.parse(told["digest"]) if "digest" in told else None,
        user=User(**told["user"]) if "user" in told else None,
        groups=told.get("groups"),
        publisher=Publisher(told.get("publisher", "holder")),
        trust=_trust(told["trust"]) if "trust" in told else None,
        problem=told.get("problem"),
    )


def _trust(told: dict[str, Any]) -> Trust:
    texts: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in told.items()}
    return Trust(**texts)


def load_settings(written: dict[str, Any]) -> AdmissionSettings:
    """Settings from what differs from the defaults."""
    made: AdmissionSettings = _made(AdmissionSettings, written)
    return made


def _made(kind: Any, written: Any) -> Any:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        known = {each.name for each in fields(kind)}
        assert written.keys() <= known, f"{sorted(written.keys() - known)} of {kind}"
        return kind(**{name: _made(hints[name], value) for name, value in written.items()})  # type: ignore[operator]  # a class, and no instance of one
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(written)
    return tuple(map(Path, written)) if isinstance(written, list) else written


CASES: Final = [Case(folder=path.parent) for path in sorted(FOLDER.rglob("pod.yaml"))]


def main(arguments: list[str]) -> int:
    if arguments != ["--update"]:
        print("usage: python -m tests.support.pods --update", file=sys.stderr)
        return 2
    for case in CASES:
        name, content = case.outcome()
        for other in ("expected.yaml", "denied.txt"):
            if other != name:
                (case.folder / other).unlink(missing_ok=True)
        path = case.folder / name
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
            print(f"wrote {path.relative_to(FOLDER.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
