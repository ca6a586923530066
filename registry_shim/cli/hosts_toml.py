"""`registry-shim hosts-toml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import click

from modelcar.cli.options import EXISTING_FILE, NamedPath, output_options
from modelcar.cli.output import Output
from modelcar.errors import Refused, UsageError
from modelcar.store.disk import atomic_write, make_dirs
from registry_shim.cli.asking import node_option
from registry_shim.engines.containerd import CONFIG, DROP_IN
from registry_shim.engines.install import Action, Change, Installer
from registry_shim.engines.settings import Engine, WiringSettings
from registry_shim.engines.snapshotter import DROP_IN as PLUG_IN
from registry_shim.engines.wiring import Wiring, engines_of, wiring_of

__all__ = ["command"]

_OWNERS = {
    Engine.CONTAINERD: "containerd",
    Engine.CRIO: "containers",
    Engine.PODMAN: "containers",
    Engine.DOCKER: "docker",
}


@click.command("hosts-toml")
@click.option(
    "--registry",
    "registries",
    multiple=True,
    metavar="HOST",
    help="One that engines may only reach through the shim; may be repeated.",
)
@click.option(
    "--shim", default="http://127.0.0.1:5000", show_default=True, metavar="URL", help="Where engines reach it."
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    type=click.Choice(Engine, case_sensitive=False),
    help="What to configure; by default what this node has, except Docker; may be repeated.",
)
@node_option
@click.option(
    "--config-path",
    metavar="DIR",
    type=NamedPath(path_type=str, readable=False),
    default="/etc/containerd/certs.d",
    show_default=True,
    help="As in containerd's config.toml.",
)
@click.option("--ca", type=EXISTING_FILE, help="Who signed the shim's certificate.")
@click.option(
    "--exclude-repo",
    "excluded",
    multiple=True,
    metavar="REPO",
    help="A repository that goes on to come from its registry (not for containerd); may be repeated.",
)
@click.option(
    "--snapshotter",
    metavar="SOCKET",
    type=NamedPath(path_type=PurePosixPath, readable=False),
    help="containerd shall use `registry-shim snapshotter`, which is there.",
)
@click.option("--uninstall", is_flag=True, help="Put back what was there before.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and write nothing.")
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    type=NamedPath(file_okay=False),
    help="Write the files below DIR, for your own tools to hand out.",
)
@output_options
def command(
    registries: tuple[str, ...],
    shim: str,
    engines: tuple[Engine, ...],
    root: Path,
    config_path: str,
    ca: Path | None,
    excluded: tuple[str, ...],
    snapshotter: PurePosixPath | None,
    uninstall: bool,
    dry_run: bool,
    folder: Path | None,
    output: Output,
) -> None:
    """Make this node's container engines ask the shim, and nobody else.

    That goes for the images of the registries that are named, and no others. What was there is kept, and comes back
    with --uninstall. Files that someone changed since are not touched.

    \b
      registry-shim hosts-toml --registry ghcr.io --registry registry.example:5000
      registry-shim hosts-toml --registry ghcr.io --engine podman --dry-run
      registry-shim hosts-toml --uninstall
    """
    if uninstall:
        _uninstall(output, Installer(root), engines, dry_run=dry_run)
        return
    settings = WiringSettings(
        registries=registries,
        shim=shim.rstrip("/"),
        engines=frozenset(engines) or _found(root),
        config_path=config_path,
        ca=ca,
        excluded=excluded,
        snapshotter=snapshotter,
    )
    installer = Installer(root)
    wiring = wiring_of(settings, root, installer)
    if folder is not None:
        changes = _write_below(folder, wiring, dry_run=dry_run)
    elif dry_run:
        changes = installer.plan(wiring.files, owners=frozenset(wired.owner for wired in wiring.wired))
    else:
        changes = installer.install(wiring.files, wired=wiring.wired)
    _show(output, changes, wiring.notes, diffs=dry_run)


def _found(root: Path) -> frozenset[Engine]:
    found = engines_of(root)
    if not found:
        raise UsageError(f"no container engine was found below {root}", hint="name one: --engine containerd")
    return found


def _uninstall(output: Output, installer: Installer, engines: tuple[Engine, ...], *, dry_run: bool) -> None:
    owners = frozenset(_OWNERS[engine] for engine in engines) or None
    changes = (installer.removal if dry_run else installer.uninstall)(owners=owners)
    restart = any(change.path in (CONFIG, DROP_IN, PLUG_IN) for change in changes)
    notes = ("containerd goes on as it is until it is restarted: systemctl restart containerd",) if restart else ()
    _show(output, changes, notes, diffs=dry_run)
    kept = [str(change.path) for change in changes if change.action is Action.CHANGED]
    if kept:
        raise Refused(
            f"{', '.join(kept)} was changed since it was written, and is left as it is",
            hint="undo the change, or remove the file, and run --uninstall again",
        )


def _write_below(folder: Path, wiring: Wiring, *, dry_run: bool) -> tuple[Change, ...]:
    make_dirs(folder)
    changes = Installer(folder).plan(wiring.files, owners=frozenset())
    for file in () if dry_run else wiring.files:
        target = folder / file.path.relative_to("/")
        make_dirs(target.parent)
        atomic_write(target, file.content)
    return changes


def _show(output: Output, changes: Sequence[Change], notes: tuple[str, ...], *, diffs: bool) -> None:
    files = [{"path": str(c.path), "engine": c.owner, "action": c.action.name.lower(), "diff": c.diff} for c in changes]
    output.document({"files": files, "notes": list(notes)})
    for change in changes:
        output.line(f"{change.action.value}: {change.path}")
        for line in change.diff.splitlines() if diffs else ():
            output.line(f"    {line}")
    if not changes:
        output.line("nothing is wired")
    for note in notes:
        output.aside(note)
