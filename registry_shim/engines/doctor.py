"""Is the node wired as it was told, does the shim refuse, and does its no hold on the way that pods' images take?

A pull of the canary that fails is no proof: at the registry itself it would fail too. It is one only if the engine
quotes the shim's own refusal, and if nothing in its configuration lets it ask anybody else afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from modelcar.doctor.finding import Finding, note, ok, problem
from modelcar.errors import UsageError, WorldError
from registry_shim.engines import bypasses, containers, docker
from registry_shim.engines.asking import ask_shim
from registry_shim.engines.canary import MARK, canary_of
from registry_shim.engines.containerd import advise, hosts_folder
from registry_shim.engines.install import Installer
from registry_shim.engines.manifest import Manifest, Wired
from registry_shim.engines.probes import Attempt, Probe
from registry_shim.engines.settings import Engine, WiringSettings
from registry_shim.engines.wiring import containerd_files, containerd_version, engines_of

__all__ = ["Doctor"]

_AGAIN: Final = "run `registry-shim hosts-toml` again"
_REGISTRIES_CONF: Final = PurePosixPath("/etc/containers/registries.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """Looks at the node at `root` and changes nothing.

    Attributes:
        probes: engines to pull with.
        canaries: images that exist at their registries and that the gate must refuse, besides our own.
        seconds: how long one pull may take.
    """

    root: Path
    probes: Sequence[Probe] = ()
    canaries: tuple[str, ...] = ()
    seconds: float = 60.0

    def examine(self) -> Iterator[Finding]:
        """Finding after finding, as they are made."""
        installer = Installer(self.root)
        manifest = installer.manifest()
        if not manifest.wired:
            yield problem("node", "no engine is wired to a shim", "registry-shim hosts-toml --registry HOST")
            return
        for entry, reason in installer.drifted():
            yield problem(entry.owner, f"{entry.path} is not what was written: {reason}", _AGAIN)
        yield from self._unwired(manifest)
        for shim in sorted({wired.shim for wired in manifest.wired}):
            registries = sorted({r for wired in manifest.wired if wired.shim == shim for r in wired.registries})
            yield from ask_shim(shim, registries, self._authority(manifest))
        for wired in manifest.wired:
            yield from _named(wired.owner, self._configuration(wired))
            yield from self._pulls(wired)

    def _unwired(self, manifest: Manifest) -> Iterator[Finding]:
        owners = {wired.owner for wired in manifest.wired}
        for engine in sorted(engines_of(self.root)):
            if ("containerd" if engine is Engine.CONTAINERD else "containers") not in owners:
                hint = f"registry-shim hosts-toml --engine {engine}, or leave it if no pod runs by it"
                yield note(engine, f"{engine} is on this node and pulls past the shim", hint)

    def _configuration(self, wired: Wired) -> Iterator[Finding]:
        match wired.owner:
            case "containerd":
                yield from self._containerd(wired)
            case "containers":
                yield from self._containers(wired)
            case _:
                hint = "do not run pods with Docker where the gate must hold"
                yield note(wired.owner, f"{wired.shim} is a cache for Docker and no gate", hint)

    def _containerd(self, wired: Wired) -> Iterator[Finding]:
        settings = WiringSettings(registries=wired.registries, shim=wired.shim, config_path=wired.config_path)
        advice = advise(settings, containerd_files(self.root, ours=True), containerd_version(self.root))
        if advice.problem:
            yield problem(wired.owner, advice.problem, advice.remedy)
        for registry in wired.registries:
            path = settings.certificates_folder / hosts_folder(registry) / "hosts.toml"
            ways = list(bypasses.in_hosts_toml(self._text(path), wired.shim))
            for way in ways:
                yield problem(wired.owner, f"{registry}: {way}", _AGAIN)
            if not ways:
                yield ok(wired.owner, f"{path} names {wired.shim} and nobody else")

    def _containers(self, wired: Wired) -> Iterator[Finding]:
        folder = self.root / "etc/containers/registries.conf.d"
        paths = (
            _REGISTRIES_CONF,
            *(PurePosixPath("/") / p.relative_to(self.root) for p in sorted(folder.glob("*.conf"))),
        )
        texts = {str(path): text for path in paths if (text := self._text(path)) is not None}
        settings = WiringSettings(registries=wired.registries, shim=wired.shim)
        wanted = {registry: containers.location(settings, registry) for registry in wired.registries}
        ways = list(bypasses.in_registries_conf(texts, wanted, ours=str(containers.DROP_IN)))
        for way in ways:
            yield problem(wired.owner, way, "remove that, or name your file so that it is read before ours")
        if not ways:
            yield ok(wired.owner, f"registries.conf sends {', '.join(wired.registries)} to {wired.shim} only")
        if (self.root / "root/.config/containers/registries.conf").exists():
            hint = "remove it: root's pulls go by it and by nothing in /etc"
            yield problem(
                wired.owner, "/root/.config/containers/registries.conf replaces the configuration in /etc", hint
            )

    def _pulls(self, wired: Wired) -> Iterator[Finding]:
        if wired.owner == docker.OWNER:
            return
        probes = [probe for probe in self.probes if probe.owner == wired.owner]
        if not probes:
            hint = "run the doctor on the node itself, or give the engine's socket with --cri-socket"
            yield note(wired.owner, "no engine could be asked from here, so the real path is not proven", hint)
        for probe in probes:
            for registry in wired.registries:
                yield self._pull(probe, str(canary_of(registry)), wired.shim, ours=True)
            for image in self.canaries:
                if image.partition("/")[0] in wired.registries:
                    yield self._pull(probe, image, wired.shim, ours=False)

    def _pull(self, probe: Probe, image: str, shim: str, *, ours: bool) -> Finding:
        try:
            attempt = probe.attempt(image, seconds=self.seconds)
        except WorldError as e:
            return note(probe.name, f"a pull could not be tried: {e}", "run the doctor again once that works")
        if attempt.pulled:
            return problem(probe.name, f"{image} was pulled, which the shim refuses: THERE IS A WAY AROUND IT", _AGAIN)
        if not ours:
            return ok(probe.name, f"{image} cannot be pulled")
        return _judged(probe.name, image, attempt, shim)

    def _authority(self, manifest: Manifest) -> Path | None:
        """The certificates that were installed for the engines."""
        for entry in manifest.entries:
            if entry.path.suffix == ".crt":
                return self.root / entry.path.relative_to("/")
        return None

    def _text(self, path: PurePosixPath) -> str | None:
        try:
            return (self.root / path.relative_to("/")).read_text(errors="replace")
        except OSError:
            return None


def _judged(name: str, image: str, attempt: Attempt, shim: str) -> Finding:
    """Whether the refusal that an engine reports is the shim's. containerd 1.x tells the host and the status only."""
    registry = image.partition("/")[0]
    authority = urlsplit(shim).netloc
    if MARK in attempt.said or (authority in attempt.said and "403" in attempt.said):
        return ok(name, f"{registry}: the shim was asked, refused, and that was the end of it")
    said = attempt.said[-300:] or "it did not say why"
    if authority in attempt.said:
        return problem(
            name, f"{registry}: the shim was asked and did not refuse: {said}", "is the shim up, and of this version?"
        )
    return problem(name, f"{registry}: the shim was not asked: {said}", f"{_AGAIN}, and restart the engine")


def _named(owner: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    try:
        yield from findings
    except UsageError as e:
        yield problem(owner, f"the record of what was wired makes no sense: {e}", _AGAIN)
