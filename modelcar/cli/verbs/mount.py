"""`modelcar mount`."""

from __future__ import annotations

import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import click

from modelcar.cli.mounting import FolderToMount, Mounting, byte_size
from modelcar.cli.options import KERNEL_MOUNTS, NAMED_PATH, location_argument, network_options, output_options
from modelcar.cli.output import Output, human_size
from modelcar.cli.places import image_source, open_place
from modelcar.cli.policies import PolicyChoice, policy_options
from modelcar.cli.ranks import RankChoice, rank_options
from modelcar.cli.trust import TrustChoice, trust_options
from modelcar.cli.verifying import Demands
from modelcar.errors import UsageError
from modelcar.mounts.ranked import Ranks
from modelcar.packaging.fetch import choose_manifest
from modelcar.packaging.locations import Location
from modelcar.registry import ClientSettings


@click.command("mount")
@location_argument()
@click.argument("folder", type=NAMED_PATH, metavar="DIR")
@click.option("--foreground", is_flag=True, help="Stay, and unmount at the end (Ctrl-C).")
@click.option(
    "--kernel-mount",
    type=KERNEL_MOUNTS,
    default="auto",
    show_default=True,
    help="The way to the kernel; auto is EROFS where kernel, file system and privileges allow it.",
)
@click.option(
    "--budget",
    metavar="SIZE",
    callback=byte_size,
    help="The most that mounted images may take of the disk, such as 200GB, for all mounts of this user.",
)
@click.option("--remote", is_flag=True, help="Ask the registry even if the local store has the image.")
@rank_options
@trust_options
@policy_options
@network_options
@output_options
def command(
    ref: Location,
    folder: Path,
    foreground: bool,
    kernel_mount: Literal["auto", "erofs", "fuse"],
    budget: int | None,
    remote: bool,
    choice: RankChoice | None,
    trust_choice: TrustChoice,
    policy_choice: PolicyChoice,
    settings: ClientSettings,
    output: Output,
) -> None:
    """Mount a model before it is here.

    The model's files lie directly under DIR, read-only, at once: bytes that are read come first, all others follow in
    the order in which loaders read. Every byte is checked against the image's model index before it can be read; one
    that cannot be had is an input/output error. Of an image without an index all is fetched first.

    With --rank what those ranks need comes before the rest, in ranges; the mount shows the whole model all the same.

    With --key, --certificate-identity or --policy nothing is mounted unless the image is verified.

    Bytes are fetched by a process that the first mount starts, and kept under `$MODELCAR_HOME/lazy`.

    \b
      modelcar mount ghcr.io/acme/llm:v1 /mnt/llm
      modelcar mount ghcr.io/acme/llm:v1 /mnt/llm --tp 8 --rank 3
      modelcar status /mnt/llm
      modelcar umount /mnt/llm
    """
    began = time.monotonic()
    ranks = _ranks(choice)
    demands = Demands(ref, trust_choice, policy_choice)
    with FolderToMount(folder) as target, ExitStack() as stack:
        mounting = Mounting(target.path, output)
        place, root = open_place(ref, remote=remote, settings=settings, stack=stack)
        demands.check(place, root, output)
        manifest = choose_manifest(image_source(place, root), root)
        mounted = mounting.ask(str(ref), place, manifest, settings, budget=budget, ranks=ranks)
        process = mounting.begin(mounted, kernel_mount)
        target.keep()
    seconds = time.monotonic() - began
    output.document(
        {
            "id": mounted.id,
            "name": str(ref),
            "digest": str(root.digest),
            "folder": str(target.path),
            "front": mounted.front,
            "files": mounted.files,
            "size": mounted.size,
            "seconds": round(seconds, 3),
        }
    )
    output.line(f"mounted {mounted.files} files ({human_size(mounted.size)}) at {folder} in {seconds:.1f} s")
    output.line(str(root.digest))
    if foreground:
        _stay(process, mounting)


def _ranks(choice: RankChoice | None) -> Ranks | None:
    if choice is None:
        return None
    if not choice.ranks:
        raise UsageError("whose part is to come first is not said", hint="add --rank R")
    return Ranks(topology=choice.topology, ranks=choice.ranks)


def _stay(process: subprocess.Popen[bytes], mounting: Mounting) -> None:
    """Until the mount is gone, or somebody ends us."""
    try:
        process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    finally:
        mounting.over()
