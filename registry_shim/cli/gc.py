"""`registry-shim gc`."""

from __future__ import annotations

from typing import Any

import click

from modelcar.cli.options import output_options
from modelcar.cli.output import Output, Table, human_size
from modelcar.units import parse_size
from registry_shim.cli.asking import ago, called, root_option
from registry_shim.operations.admin.client import AdminClient

__all__ = ["command"]


@click.command("gc")
@click.option("--free", metavar="SIZE", help="Free so much, such as 100GB, if that much may go.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and leave it.")
@root_option
@output_options
def command(free: str | None, dry_run: bool, client: AdminClient, output: Output) -> None:
    """Free room on this node now.

    Without --free that is what the budget and the marks of the disk ask for, and what nobody went on pulling. The
    images that were used longest ago go first; what is pinned, in use or was pushed here stays.

    \b
      registry-shim gc --free 100GB --dry-run
    """
    wanted = 0 if free is None else parse_size(free)
    answer = client.post("gc", free=wanted, dry_run=dry_run)
    output.document(answer)
    _show(answer, output, wanted)


def _show(answer: dict[str, Any], output: Output, wanted: int) -> None:
    images, loose = answer["images"], answer["loose"]
    if images:
        rows = [[called(image), human_size(image["freed"]), ago(image["used"])] for image in images]
        output.table(Table(columns=["image", "frees", "used"], rows=rows, right=frozenset({"frees"})))
    does = "would free" if answer["dry_run"] else "freed"
    counts = [_counted(len(images), "image"), _counted(len(loose), "loose blob")]
    of = " and ".join(filter(None, counts)) or ("nothing may go now" if wanted else "nothing had to go")
    output.line(f"{does} {human_size(answer['freed'])}: {of}")
    if answer["freed"] < wanted:
        output.aside(f"no more than that may go of the {human_size(wanted)}: see registry-shim status")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}" if count else ""
