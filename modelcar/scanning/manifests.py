"""Whether the parts of one manifest agree: layers, configuration, model index and annotations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from modelcar.holder import HOLDER_PATH
from modelcar.layers.estargz import TOC_DIGEST
from modelcar.layers.index import ModelIndex
from modelcar.oci import Descriptor, Digest, ImageConfig, Manifest
from modelcar.packaging.annotations import LAYER, SNAPSHOT_INDEX
from modelcar.packaging.inspect import InspectedManifest, index_layer_of
from modelcar.packaging.plan import MODEL_ROOT, LayerKind
from modelcar.scanning.findings import Finding, Rule, shown
from modelcar.scanning.image_rules import ANNOTATIONS, CONFIG, DISAGREES, PATH_TWICE, RUNS, UNREADABLE
from modelcar.scanning.layers import ScannedLayer
from modelcar.scanning.readings import Form, Reading, is_ollamas, is_relative, reading_of, titles

__all__ = ["Scanned", "check_manifest"]

Scanned = Mapping[tuple[Digest, Reading], ScannedLayer]
_MODEL: Final = f"{MODEL_ROOT}/"
_MOST: Final = 20  # of a kind, that are reported of a layer
_STARTED: Final = ("Entrypoint", "Cmd", "Healthcheck", "OnBuild", "Shell")  # parts of a configuration that are commands


def check_manifest(
    each: InspectedManifest, scanned: Scanned, models: Mapping[Digest, ModelIndex], trusted: Collection[Digest]
) -> Iterator[Finding]:
    """What is wrong with a manifest once its layers have been scanned.

    Args:
        models: model indexes by the digest of the layer that they are in; none where they were not read.
        trusted: digests of layers and configurations that somebody vouches for.
    """
    layers = each.manifest.layers
    yield from _names(layers)
    yield from _paths(layers, scanned)
    yield from _index(each.manifest, scanned, models)
    yield from _annotations(each.manifest, scanned)
    if each.config is not None and not (layers and all(map(is_ollamas, layers))):
        yield from _types(layers)
        yield from _diff_ids(each, each.config, scanned)
        if each.manifest.config.digest not in trusted:
            yield from _commands(each.manifest.config, each.config.runtime)


def _scanned(layer: Descriptor, scanned: Scanned) -> ScannedLayer:
    return scanned[layer.digest, reading_of(layer)]


def _names(layers: Sequence[Descriptor]) -> Iterator[Finding]:
    for layer in layers:
        for title in titles(layer):
            if not is_relative(title):
                yield _finding(UNREADABLE, layer, f"its name {shown(title)} is no relative path")


def _paths(layers: Sequence[Descriptor], scanned: Scanned) -> Iterator[Finding]:
    """No layer puts anything where a lower one has a file."""
    seen_files: set[str] = set()
    seen_folders: set[str] = set()
    for layer in layers:
        files, folders = _placed(layer, _scanned(layer, scanned))
        twice = sorted(files & seen_files | files & seen_folders | folders & seen_files)
        for path in twice[:_MOST]:
            yield Finding(rule=PATH_TWICE, path=path.removeprefix(_MODEL), detail=layer.digest.short)
        seen_files |= files
        seen_folders |= folders


def _placed(layer: Descriptor, scanned: ScannedLayer) -> tuple[set[str], set[str]]:
    """The paths of the files and folders that a layer brings to the model."""
    reading = reading_of(layer)
    if reading.form is Form.FILE:
        return {f"{_MODEL}{name}" for name in titles(layer)}, set()
    files = {path for path in scanned.members.files if path.startswith(_MODEL)}
    folders = {path for path in scanned.members.folders if path.startswith(_MODEL)}
    for path in files:
        parent = path.rpartition("/")[0]
        while parent not in folders and parent != MODEL_ROOT:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return files, folders


def _index(manifest: Manifest, scanned: Scanned, models: Mapping[Digest, ModelIndex]) -> Iterator[Finding]:
    """Every layer with model files is in the index, and the index has no others."""
    holding = index_layer_of(manifest)
    model = models.get(holding.digest) if holding is not None else None
    if holding is None or model is None:
        return
    listed = {layer.digest: layer for layer in manifest.layers}
    indexed = {layer.listed_as for layer in model.layers}
    for digest in sorted(indexed - listed.keys(), key=str)[:_MOST]:
        yield _finding(DISAGREES, holding, f"it lists layer {digest}, which is not there")
    for digest, layer in listed.items():
        if digest not in indexed and _scanned(layer, scanned).files:
            yield _finding(DISAGREES, holding, f"it leaves layer {digest} out")


def _annotations(manifest: Manifest, scanned: Scanned) -> Iterator[Finding]:
    """What snapshotters and `modelcar pull` go by leads them to what everybody else sees."""
    holding = index_layer_of(manifest)
    is_marked = [layer.annotations.get(LAYER) in (LayerKind.WEIGHTS, LayerKind.FILES) for layer in manifest.layers]
    for layer, marked in zip(manifest.layers, is_marked, strict=True):
        named = layer.annotations.get(SNAPSHOT_INDEX)
        if named is not None and (holding is None or named != str(holding.digest)):
            yield _finding(ANNOTATIONS, layer, f"it names {shown(named)} as the model index")
        table = layer.annotations.get(TOC_DIGEST)
        if table is not None and table != str(_scanned(layer, scanned).table):
            yield _finding(ANNOTATIONS, layer, f"its table of contents {shown(table)} was not found to be true")
        if any(is_marked) and not marked and _scanned(layer, scanned).files:
            yield _finding(ANNOTATIONS, layer, "it is not marked as a layer of the model, and has files of it")


def _types(layers: Sequence[Descriptor]) -> Iterator[Finding]:
    for layer in layers:
        if reading_of(layer).form is Form.FILE:
            yield _finding(UNREADABLE, layer, f"engines do not agree on what {shown(layer.media_type)} is")


def _diff_ids(each: InspectedManifest, config: ImageConfig, scanned: Scanned) -> Iterator[Finding]:
    layers = each.manifest.layers
    if len(config.diff_ids) != len(layers):
        yield _finding(CONFIG, each.manifest.config, f"it names {len(config.diff_ids)} layers of {len(layers)}")
        return
    for layer, named in zip(layers, config.diff_ids, strict=True):
        found = _scanned(layer, scanned).diff_id
        if found is not None and named not in (found, _plain(layer)):
            yield _finding(CONFIG, layer, f"it is named {named}; unpacked it is {found}")


def _plain(layer: Descriptor) -> Digest | None:
    """A tar's digest, of whatever algorithm, is its diff id."""
    return layer.digest if reading_of(layer).form is Form.TAR else None


def _commands(config: Descriptor, runtime: Mapping[str, Any]) -> Iterator[Finding]:
    for name in _STARTED:
        if (value := runtime.get(name)) and not (name == "Entrypoint" and value == [HOLDER_PATH]):
            yield _finding(RUNS, config, f"{name}: {shown(str(value))}")
    variables = runtime.get("Env") or []
    if not isinstance(variables, list):
        variables = [variables]
    if others := [str(v) for v in variables if not str(v).startswith("PATH=")]:
        yield _finding(RUNS, config, f"Env: {shown(others[0].partition('=')[0])}")


def _finding(rule: Rule, place: Descriptor, detail: str) -> Finding:
    return Finding(rule=rule, path=place.digest.short, detail=shown(detail, 500)[1:-1])
