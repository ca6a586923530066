"""`registry-shim snapshotter`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from modelcar.cli.options import KERNEL_MOUNTS, NAMED_PATH, log_option, log_settings, verbose_option
from modelcar.cli.output import Output
from registry_shim.cli.asking import neighbour_option

__all__ = ["command"]


@click.command("snapshotter")
@neighbour_option
@click.option(
    "--state",
    metavar="DIR",
    type=NAMED_PATH,
    default="/var/lib/modelcar-snapshotter",
    show_default=True,
    help="Where snapshots lie: on a disk that overlayfs can write to, with room for the layers of images.",
)
@click.option(
    "--socket",
    metavar="FILE",
    type=NAMED_PATH,
    default="/run/modelcar-snapshotter/snapshotter.sock",
    show_default=True,
    help="Where containerd asks it.",
)
@click.option(
    "--kernel-mount",
    type=KERNEL_MOUNTS,
    default="auto",
    show_default=True,
    help="How layers are mounted; auto tries what this kernel can do.",
)
@log_option("logfmt")
@verbose_option
def command(
    root: Path,
    state: Path,
    socket: Path,
    kernel_mount: Literal["auto", "erofs", "fuse"],
    log_format: str,
    verbose: bool,
) -> None:
    """Be containerd's snapshotter: weights are mounted at once, everything else is unpacked as usual.

    A pod with a model starts before its weights are here; they come through the shim, verified, in the order in which
    loaders read them. Run it as root, started before containerd. `registry-shim hosts-toml --snapshotter` writes
    containerd's side of it.

    \b
      registry-shim snapshotter
      registry-shim snapshotter --state /mnt/nvme/snapshots --kernel-mount fuse
    """
    from modelcar.serving import logs
    from registry_shim.snapshotter.run import SnapshotterSettings, run
    from registry_shim.snapshotter.shim import ShimMounter

    settings = SnapshotterSettings(root=state, socket=socket)
    logs.configure("registry-shim snapshotter", log_settings(log_format, verbose=verbose))
    output = Output(as_json=False, quiet=False)
    mounter = ShimMounter(root, state, wanted=kernel_mount)
    run(settings, mounter, ready=lambda: output.line(f"listening at {socket}"))
