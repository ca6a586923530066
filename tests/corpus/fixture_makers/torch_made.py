"""Checkpoints by torch.save, in both formats, and TorchScript."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import json
import pickle
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

NAME: Final = "pytorch_model.bin"


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(OrderedDict(fc1=nn.Linear(4, 3), norm=nn.LayerNorm(3), fc2=nn.Linear(3, 2)))


def _state() -> dict[str, Any]:
    state: dict[str, Any] = _model().state_dict()
    return state


def _dtypes() -> dict[str, Any]:
    kinds = [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "complex64",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
    ]
    kinds += ["float8_e4m3fn", "uint16"]
    return {kind: torch.ones(2, 3).to(getattr(torch, kind)) for kind in kinds}


def _views() -> dict[str, Any]:
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    return {
        "base": base,
        "transposed": base.transpose(0, 2),
        "slice": base[:, 1:],
        "scalar": base[0, 0, 0],
        "empty": base[:0],
    }


def _nested() -> dict[str, Any]:
    metrics: defaultdict[str, list[float]] = defaultdict(list)
    metrics["loss"] += [0.5, 0.25]
    settings = {"dropout": 0.1, "layers": (4, 3, 2), "name": "modèle", "best": None, "resumed": True, "big": 1 << 80}
    sizes = {"shape": torch.Size([2, 3]), "dtype": torch.bfloat16, "device": torch.device("cpu")}
    return {
        "state_dict": _state(),
        "epoch": 3,
        "metrics": metrics,
        "hyper_parameters": settings,
        "sizes": sizes,
        "raw": b"\0\1",
    }


def _optimizer() -> dict[str, Any]:
    model = _model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    schedule.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict()}


def _saved(make: Callable[[], object], **options: Any) -> Callable[[Path], None]:
    return lambda folder: torch.save(make(), folder / NAME, **options)


def _shards(folder: Path) -> None:
    state = _state()
    names = list(state)
    weight_map: dict[str, str] = {}
    for i, part in enumerate((names[:3], names[3:]), 1):
        file = f"pytorch_model-{i:05}-of-00002.bin"
        torch.save({name: state[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 140}, "weight_map": weight_map}
    (folder / f"{NAME}.index.json").write_text(json.dumps(index, indent=2))


def _script(folder: Path) -> None:
    torch.jit.script(_model()).save(folder / "model.pt")


def _exported(folder: Path) -> None:
    program = torch.export.export(_model(), (torch.ones(2, 4),))
    torch.export.save(program, folder / "model.pt2")


def _plain_pickle(folder: Path) -> None:
    with (folder / "weights.pkl").open("wb") as out:
        pickle.dump(_state(), out)


def _quantized() -> dict[str, Any]:
    whole = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    scales, zeros = torch.tensor([0.1, 0.2, 0.3]), torch.zeros(3, dtype=torch.int64)
    return {
        "tensor": torch.quantize_per_tensor(whole, 0.1, 10, torch.quint8),
        "channel": torch.quantize_per_channel(whole, scales, zeros, 0, torch.qint8),
    }


def _sparse() -> dict[str, Any]:
    eye = torch.eye(3)
    return {"coo": eye.to_sparse(), "csr": eye.to_sparse_csr()}


MAKERS: Final[dict[str, Callable[[Path], None]]] = {
    "torch-zip": _saved(_state),
    "torch-legacy": _saved(_state, _use_new_zipfile_serialization=False),
    "torch-dtypes": _saved(_dtypes),
    "torch-dtypes-legacy": _saved(_dtypes, _use_new_zipfile_serialization=False),
    "torch-views": _saved(_views),
    "torch-views-legacy": _saved(_views, _use_new_zipfile_serialization=False),
    "torch-nested": _saved(_nested),
    "torch-optimizer": _saved(_optimizer),
    "torch-parameters": _saved(lambda: dict(_model().named_parameters())),
    "torch-parameter-legacy": _saved(lambda: nn.Parameter(torch.ones(3)), _use_new_zipfile_serialization=False),
    "torch-one-tensor": _saved(lambda: torch.arange(6.0)),
    "torch-list": _saved(lambda: [torch.ones(2), torch.zeros(2)]),
    "torch-protocol-4": _saved(_state, pickle_protocol=4),
    "torch-protocol-5": _saved(_nested, pickle_protocol=5),
    "torch-sparse": _saved(_sparse),
    "torch-quantized": _saved(_quantized),
    "torch-shards": _shards,
    "torch-module": _saved(_model),
    "torch-plain-pickle": _plain_pickle,
    "torchscript": _script,
    "torch-exported": _exported,
}
