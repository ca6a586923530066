"""`modelcar status`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from modelcar.cli.mounting import place_of
from modelcar.cli.options import NAMED_PATH, output_options
from modelcar.cli.output import Output, Table, human_size, is_terminal
from modelcar.cli.preparing import preparing_at, saying_when_slow
from modelcar.cli.ranks import RankChoice, rank_options
from modelcar.errors import StorageError, UsageError, WorldError
from modelcar.images.described import DescribedModel, one_copy
from modelcar.layers.index import IndexedFile
from modelcar.mounts.keeping import await_keeper, find_mount, keeper_lives, lazy_root, socket_of, start_keeper
from modelcar.mounts.link.asking import ask
from modelcar.mounts.process.unmounting import mounted
from modelcar.mounts.ranked import CONFIGS
from modelcar.mounts.records import MountRecord, Records
from modelcar.mounts.start_times import start_time
from modelcar.mounts.tensors import Here, TensorStatus, indexed_files, present_of, tensors_of
from modelcar.oci.document import parse_object
from modelcar.store import default_home
from modelcar.store.disk import explain

_EVERY: Final = 1.0  # seconds


@click.command("status")
@click.argument("folder", type=NAMED_PATH, metavar="[DIR]", required=False)
@click.option("--tensors", is_flag=True, help="List every tensor, and whether it is here.")
@rank_options
@click.option("--watch", is_flag=True, help="Go on until all of it is here.")
@output_options
def command(folder: Path | None, tensors: bool, watch: bool, choice: RankChoice | None, output: Output) -> None:
    """Tell how far a mounted model is; without DIR, what is mounted.

    Bytes that are not here yet can be read all the same: whoever does waits for them.

    With --tp, --pp or --ep also how much is here of what each rank, or those of --rank, need; for a model that was
    mounted for some ranks that is shown anyway.

    \b
      modelcar status
      modelcar status /mnt/llm --json
    """
    root = lazy_root(default_home())
    if folder is None:
        _list(root, output)
        return
    record = _await_mount(root, place_of(folder), output, watch=watch)
    if record is None:
        return
    _refuse_gone(record, folder)
    start_keeper(root)
    with saying_when_slow(output, "waiting for the process that fetches for mounts to start"):
        socket = await_keeper(root)
    files = indexed_files(root, record.id)
    if choice is None and record.ranks is not None:
        choice = RankChoice(topology=record.ranks.topology, ranks=record.ranks.ranks)
    while True:
        with saying_when_slow(output, "waiting for the process that fetches for mounts: it does not answer"):
            found = ask(socket, "status", {"id": record.id})
        ranges = _ranges(found)
        done = found["present"] == found["size"]
        ranks = _ranks(choice, files, ranges, record.target) if choice is not None else []
        _show(found, tensors_of(files, ranges), ranks, output, tensors=tensors)
        if not watch or done:
            return
        time.sleep(_EVERY)


def _await_mount(root: Path, target: Path, output: Output, *, watch: bool) -> MountRecord | None:
    """The mount there; `None`, and how far it is, if it is being made ready and we do not `watch`.

    Raises `UsageError` if there is none.
    """
    while True:
        coming = [m for m in _preparing(root, output) if m["target"] == str(target)]  # first: then it is a record
        record = find_mount(root, target)
        if record is not None:
            return record
        if not coming:
            raise UsageError(f"{target} is not a mounted model", hint="`modelcar status` shows what is mounted")
        _show_preparing(coming[0], output)
        if not watch:
            return None
        time.sleep(_EVERY)


def _refuse_gone(record: MountRecord, folder: Path) -> None:
    """Raise `WorldError` for a mount that its killed processes took along: its folder is empty, whatever is here."""
    if record.supervisor is None or mounted(record.target) is not None:
        return
    if start_time(record.supervisor[0]) != record.supervisor[1]:
        raise WorldError(
            f"{folder} is not mounted any more: its processes were killed",
            hint=f"`modelcar umount {folder}`, and mount it again; what was fetched is still here",
        )


def _preparing(root: Path, output: Output) -> list[dict[str, Any]]:
    with saying_when_slow(output, "waiting for the process that fetches for mounts: it does not answer"):
        return preparing_at(socket_of(root)) if keeper_lives(root) else []


def _show_preparing(mount: Mapping[str, Any], output: Output) -> None:
    present, size = (sum(layer[name] for layer in mount["layers"]) for name in ("present", "size"))
    document = {"id": mount["id"], "target": mount["target"], "reference": mount["reference"], "front": None}
    output.document({**document, "preparing": True, "present": present, "size": size})
    output.line(f"not mounted yet: {human_size(present)} of {human_size(size)} that have to be here first")


def _list(root: Path, output: Output) -> None:
    records = [(record, plan) for record, plan in Records(root).all()]
    known = {record.id for record, _ in records}
    coming = [mount for mount in _preparing(root, output) if mount["id"] not in known]
    document: dict[str, Any] = {
        "mounts": [
            {"id": r.id, "folder": str(r.target), "name": p.reference, "digest": str(p.digest), "front": r.front}
            for r, p in records
        ]
    }
    if coming:
        document["preparing"] = [{"id": m["id"], "folder": m["target"], "name": m["reference"]} for m in coming]
    output.document(document)
    rows = [(str(r.target), p.reference, r.front, human_size(p.size)) for r, p in records]
    rows += [(m["target"], m["reference"], "not yet", "") for m in coming]
    if rows:
        output.table(Table(columns=("folder", "image", "by", "size"), rows=rows, right=frozenset({"size"})))


def _ranks(choice: RankChoice, files: tuple[IndexedFile, ...], here: Here, target: Path) -> list[dict[str, int]]:
    """What ranks need of the model, and how much of that is here, in bytes."""
    files = one_copy(files)[0]
    config = next((f for name in CONFIGS for f in files if f.path == name), None)
    document = _config(config, here, target) if config is not None else {}
    model = DescribedModel(files=files, config=document)
    plans = choice.plans(model, choice.ranks or range(choice.topology.size))
    return [
        {
            "rank": plan.ranks[0],
            "size": plan.fetched,
            "present": sum(present_of(here[file.file.path], file.ranges) for file in plan.files),
        }
        for plan in plans
    ]


def _config(file: IndexedFile, here: Here, target: Path) -> dict[str, Any]:
    if present_of(here[file.path], [(0, file.size)]) < file.size:
        raise StorageError(f"what ranks need is not known before {file.path} is here", hint="try again in a moment")
    try:
        return parse_object((target / file.path).read_bytes(), file.path, limit=file.size)
    except OSError as e:
        raise explain(e, f"cannot read {target / file.path}") from None


def _show(
    found: Mapping[str, Any],
    here: tuple[TensorStatus, ...],
    ranks: list[dict[str, int]],
    output: Output,
    *,
    tensors: bool,
) -> None:
    missing = found["size"] - found["present"]
    eta = missing / found["rate"] if missing and found["rate"] else None
    document = {
        **{name: value for name, value in found.items() if name != "files"},
        "seconds_left": round(eta, 1) if eta is not None else None,
        "files": [_file(file) for file in found["files"]],
        "tensors": {"count": len(here), "present": sum(t.is_here for t in here)},
    }
    if ranks:
        document["ranks"] = ranks
    if tensors:
        document["tensors"]["list"] = [
            {"name": t.name, "file": t.path, "size": t.size, "present": t.is_here} for t in here
        ]
    output.document(document)
    if output.as_json:
        return
    if is_terminal(sys.stdout):
        click.clear()
    rows = [(f["path"], human_size(f["size"]), _percent(f["present"], f["size"])) for f in document["files"]]
    output.table(Table(columns=("file", "size", "here"), rows=rows, right=frozenset({"size", "here"})))
    if tensors:
        listed = [(t.name, human_size(t.size), "here" if t.is_here else "") for t in here]
        output.table(Table(columns=("tensor", "size", ""), rows=listed, right=frozenset({"size"})))
    if ranks:
        lines = [(str(r["rank"]), human_size(r["size"]), _percent(r["present"], r["size"])) for r in ranks]
        output.table(Table(columns=("rank", "needs", "here"), rows=lines, right=frozenset({"rank", "needs", "here"})))
    output.line(_summary(found, eta, here))
    if found["trouble"]:
        output.line(f"nothing comes at the moment: {found['trouble']}")
    for path, reason in found["lost"].items():
        output.line(f"{path} cannot be read: {reason}")


def _summary(found: Mapping[str, Any], eta: float | None, here: tuple[TensorStatus, ...]) -> str:
    text = f"{human_size(found['present'])} of {human_size(found['size'])} are here"
    if here:
        text += f", {sum(t.is_here for t in here)} of {len(here)} tensors"
    if eta is not None:
        text += f"; {human_size(found['rate'])}/s, {eta:.0f} s left"
    if found["waiting"]:
        text += f"; {found['waiting']} ranges are waited for"
    return text


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    return {"path": file["path"], "size": file["size"], "present": sum(stop - start for start, stop in file["ranges"])}


def _ranges(found: Mapping[str, Any]) -> dict[str, list[tuple[int, int]]]:
    return {file["path"]: [(start, stop) for start, stop in file["ranges"]] for file in found["files"]}


def _percent(present: int, size: int) -> str:
    return "100 %" if present >= size else f"{min(99, 100 * present // size)} %"
