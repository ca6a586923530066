"""The tensors of a model, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelcar.checkpoint.formats.header import Tensor
from modelcar.cli.output import Output, Table, human_size
from modelcar.images.described import DescribedModel
from modelcar.layers.index import IndexedFile

__all__ = ["dtype_totals", "show_tensors", "tensors_of", "tensors_to_dict"]


def tensors_to_dict(model: DescribedModel) -> dict[str, Any]:
    """`tensors` with the place of each, and `dtypes` with totals."""
    return {
        "tensors": [_tensor(file, tensor, model) for file, tensor in tensors_of(model)],
        "dtypes": {
            dtype: {"tensors": count, "elements": elements, "bytes": size}
            for dtype, (count, elements, size) in dtype_totals(model).items()
        },
    }


def show_tensors(output: Output, model: DescribedModel) -> None:
    """One row a tensor, in the order in which they lie, and totals by dtype."""
    rows = [
        [
            tensor.name,
            tensor.dtype,
            "x".join(map(str, tensor.shape)) or "scalar",
            human_size(tensor.size),
            file.path,
            model.layers[file.path].digest.short if file.path in model.layers else "",
        ]
        for file, tensor in tensors_of(model)
    ]
    columns = ["tensor", "dtype", "shape", "size", "file", "layer"]
    if not model.layers:
        columns.pop()
        rows = [row[:-1] for row in rows]
    output.table(Table(columns=columns, rows=rows, right=frozenset({"shape", "size"})))
    totals = [
        [dtype, str(count), str(elements), human_size(size)]
        for dtype, (count, elements, size) in dtype_totals(model).items()
    ]
    columns = ["dtype", "tensors", "elements", "size"]
    output.table(Table(columns=columns, rows=totals, right=frozenset(columns[1:]), title="totals"))


def tensors_of(model: DescribedModel) -> Iterator[tuple[IndexedFile, Tensor]]:
    """Every tensor and its file, in the order in which they lie."""
    for file in model.files:
        for tensor in file.tensors:
            yield file, tensor


def dtype_totals(model: DescribedModel) -> dict[str, tuple[int, int, int]]:
    """By dtype: tensors, elements, bytes; the dtype with the most bytes first."""
    totals: dict[str, tuple[int, int, int]] = {}
    for _, tensor in tensors_of(model):
        count, elements, size = totals.get(tensor.dtype, (0, 0, 0))
        totals[tensor.dtype] = (count + 1, elements + tensor.elements, size + tensor.size)
    return dict(sorted(totals.items(), key=lambda item: (-item[1][2], item[0])))


def _tensor(file: IndexedFile, tensor: Tensor, model: DescribedModel) -> dict[str, Any]:
    result: dict[str, Any] = {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "size": tensor.size,
        "file": file.path,
        "offset": tensor.offset,
    }
    if (layer := model.layers.get(file.path)) is not None:
        result["layer"] = str(layer.digest)
    return result
