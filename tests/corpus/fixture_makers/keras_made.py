"""Keras models in its three formats, and ONNX models."""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import onnx
from keras import layers
from onnx import TensorProto, helper, numpy_helper


def _sequential() -> Any:
    keras.utils.set_random_seed(0)
    stack = [
        keras.Input((4,)),
        layers.Dense(3, activation="relu"),
        layers.Dropout(0.1),
        layers.Dense(2, activation="softmax"),
    ]
    model = keras.Sequential(stack, name="tiny")
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def _functional() -> Any:
    keras.utils.set_random_seed(0)
    words = keras.Input((5,), name="words", dtype="int32")
    other = keras.Input((2,), name="other")
    embedded = layers.Embedding(8, 4)(words)
    pooled = layers.GlobalAveragePooling1D()(layers.Bidirectional(layers.LSTM(2, return_sequences=True))(embedded))
    return keras.Model([words, other], layers.Dense(1)(layers.Concatenate()([pooled, other])), name="two_inputs")


def _h5(folder: Path) -> None:
    _sequential().save(folder / "model.h5")


def _weights(folder: Path) -> None:
    model = _sequential()
    model.save_weights(folder / "model.weights.h5")
    (folder / "architecture.json").write_text(model.to_json())


def _onnx_model(weights: Any) -> Any:
    shaped = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Relu", ["z"], ["y"])]
    graph = helper.make_graph(nodes, "tiny", [shaped], [result], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _onnx(folder: Path) -> None:
    weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w")
    onnx.save(_onnx_model(weights), folder / "model.onnx")


def _onnx_external(folder: Path) -> None:
    weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3), "w")
    options = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 0}
    onnx.save(_onnx_model(weights), folder / "model.onnx", **options)


def _onnx_branches(folder: Path) -> None:
    """An If with two branches: graphs within a graph."""

    def branch(operator: str) -> Any:
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
        return helper.make_graph([helper.make_node(operator, ["x"], ["y"])], operator.lower(), [], [y])

    node = helper.make_node("If", ["cond"], ["out"], then_branch=branch("Relu"), else_branch=branch("Neg"))
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]),
        helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
    ]
    output = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    graph = helper.make_graph([node], "branches", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model.metadata_props.add(key="author", value="corpus")
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")


MAKERS: Final[dict[str, Callable[[Path], None]]] = {
    "keras-sequential": lambda folder: _sequential().save(folder / "model.keras"),
    "keras-functional": lambda folder: _functional().save(folder / "model.keras"),
    "keras-h5": _h5,
    "keras-weights": _weights,
    "onnx": _onnx,
    "onnx-external": _onnx_external,
    "onnx-branches": _onnx_branches,
}
