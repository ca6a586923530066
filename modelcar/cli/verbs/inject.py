"""`modelcar inject`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelcar.cli.options import NAMED_PATH, NamedPath, network_options, output_options
from modelcar.cli.output import Output
from modelcar.errors import Denied, NotFound, StorageError, UsageError

if TYPE_CHECKING:
    from modelcar.admission.admit import Resolver
    from modelcar.admission.files.inject import Injected, PodInFile
    from modelcar.admission.settings import AdmissionSettings
    from modelcar.registry import ClientSettings

__all__ = ["command"]

_MAX_BYTES = 256 << 20
_SUFFIXES = (".yaml", ".yml", ".json")
_STDIN = "standard input"
_RESOLVE_SECONDS = 29.0


@click.command("inject")
@click.option(
    "-f",
    "--filename",
    "files",
    metavar="FILE",
    type=NamedPath(allow_dash=True, path_type=str),
    multiple=True,
    required=True,
    help="A file, a folder, or - for stdin; may be repeated.",
)
@click.option("--config", metavar="FILE", type=NAMED_PATH, help="The webhook's settings.")
@click.option("--resolve", is_flag=True, help="Ask registries: digests, users of images, and policies.")
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    default="default",
    show_default=True,
    help="Where objects go that do not say it themselves.",
)
@network_options
@output_options
def command(
    files: tuple[str, ...],
    config: Path | None,
    resolve: bool,
    namespace: str,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Rewrite pods in files, as the webhook does, to stdout.

    Takes pods, and everything with pod templates, in YAML or JSON; all else comes out as it went in, to the last byte,
    as does what has been rewritten already. If a pod is denied nothing is printed, with exit status 1.

    No network is used without --resolve: tags stay tags, and policies are not asked.

    \b
      modelcar inject -f deployment.yaml | kubectl apply -f -
      kustomize build . | modelcar inject -f - --resolve > rendered.yaml
    """
    from modelcar.admission.files.inject import inject

    admission = _settings(config, resolve=resolve, output=output)
    with ExitStack() as ending:
        resolver = _resolver(admission, settings, ending) if resolve else _offline()
        done = [(name, inject(text, name, resolver, admission, namespace=namespace)) for name, text in _read(files)]
    text = _joined([injected.text for _, injected in done])
    denied = [_denial(name, pod) for name, injected in done for pod in injected.pods if pod.error is not None]
    output.document({"output": None if denied else text, **_summary(done)})
    for name, injected in done:
        for pod in injected.pods:
            for warning in pod.warnings:
                output.aside(f"{name}:{pod.line}: {pod.place}: {warning}")
        for note in injected.notes:
            output.aside(note)
    if len(denied) == 1:
        raise denied[0]
    if denied:
        raise Denied(f"{len(denied)} pods are denied", reasons=tuple(_in_one_line(error) for error in denied))
    if not output.as_json:
        sys.stdout.buffer.write(text.encode())


def _denial(name: str, pod: PodInFile) -> Denied:
    """Why a pod is denied, and where it stands."""
    error = pod.error or Denied("it is denied")
    return Denied(f"{name}:{pod.line}: {pod.place}: {error}", reasons=error.reasons, hint=error.hint)


def _in_one_line(error: Denied) -> str:
    return "; ".join([str(error), *error.reasons, *([error.hint] if error.hint else [])])


def _settings(config: Path | None, *, resolve: bool, output: Output) -> AdmissionSettings:
    from modelcar.admission.server.settings import WebhookSettings
    from modelcar.admission.settings import TrustMode, TrustSettings
    from modelcar.serving.config.reading import load_file

    settings = load_file(config, WebhookSettings) if config is not None else WebhookSettings()
    if resolve:
        return replace(settings, trust=replace(settings.trust, seconds=_RESOLVE_SECONDS))
    if settings.trust.mode is not TrustMode.OFF:
        output.aside("policies are not asked without --resolve; the webhook asks them when the pods are created")
    return replace(settings, trust=TrustSettings())


def _resolver(settings: AdmissionSettings, client: ClientSettings, ending: ExitStack) -> Resolver:
    from modelcar.admission.resolve import Images

    images = ending.enter_context(Images(settings.trust, client=client))
    images.open()
    return images


def _offline() -> Resolver:
    from modelcar.admission.admit import Offline

    return Offline()


def _read(files: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each file's name and text; of a folder those that kubectl would take."""
    for name in files:
        path = Path(name)
        if name == "-":
            yield _STDIN, _decoded(_STDIN, sys.stdin.buffer.read(_MAX_BYTES + 1))
        elif path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.suffix in _SUFFIXES)
            if not found:
                raise UsageError(f"{path} has no files that end with {', '.join(_SUFFIXES)}")
            for entry in found:
                yield str(entry), _decoded(str(entry), _bytes(entry))
        else:
            yield name, _decoded(name, _bytes(path))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no {path}") from None
    except OSError as e:
        raise StorageError(f"cannot read {path}: {e.strerror}") from None


def _decoded(name: str, raw: bytes) -> str:
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"{name} has more than {_MAX_BYTES} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise UsageError(f"{name}:{line}: it is not UTF-8 text") from None


def _joined(texts: list[str]) -> str:
    """One stream; a single file stays as it is."""
    joined = ""
    for text in texts:
        if joined and not joined.endswith("\n"):
            joined += "\n"
        between = "---\n" if joined and text and not text.startswith("---") else ""
        joined += between + text.removeprefix("\ufeff" if joined else "")
    return joined


def _summary(done: list[tuple[str, Injected]]) -> dict[str, Any]:
    pods = []
    for name, injected in done:
        for pod in injected.pods:
            place = pod.place
            found = {"file": name, "line": pod.line, "kind": place.kind, "name": place.name}
            pods.append(
                {
                    **found,
                    "namespace": place.namespace,
                    "decision": pod.decision,
                    "warnings": list(pod.warnings),
                    "message": _in_one_line(_denial(name, pod)) if pod.error else None,
                }
            )
    return {"pods": pods, "notes": [note for _, injected in done for note in injected.notes]}
