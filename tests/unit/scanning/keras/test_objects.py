"""Serialised Keras objects: what models are made of passes, everything else that they could call does not."""

from __future__ import annotations

import base64
import codecs
import json
import marshal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelcar.scanning.findings import Outcome
from modelcar.scanning.keras.objects import objects_in
from tests.support.scanning import outcome, rules_found
from tests.support.zips import Member, make_zip


def rules(members: dict[str, Any]) -> set[str]:
    return {rule.id for rule, _ in objects_in(members)}


def named(name: str, config: Any = None, **more: Any) -> dict[str, Any]:
    return {"class_name": name, "config": {} if config is None else config, "registered_name": None, **more}


def function(module: str | None, name: str) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def code(source: Callable[..., object]) -> str:
    return base64.b64encode(marshal.dumps(source.__code__)).decode()


@pytest.mark.parametrize(
    "members",
    [
        named("Dense", {"units": 3, "activation": "relu"}, module="keras.layers"),
        named("Dense", module="keras.src.layers.core.dense"),
        named("Dense", module="tensorflow.keras.layers"),
        named("Conv2D"),
        {"class_name": "Sequential", "config": [named("Dense")]},
        named("Functional", module="keras.src.models.functional"),
        named("NotEqual", module="keras.src.ops.numpy", registered_name="NotEqual"),
        named("Adam", module="keras.optimizers", registered_name="Adam"),
        named("DTypePolicy", {"name": "float32"}, module="keras"),
        named("__keras_tensor__", {"shape": [None, 1]}),
        named("__numpy__", {"value": [1, 2], "dtype": "float32"}),
        named("StringLookup", {"vocabulary": ["a", "b"]}, module="keras.layers"),
        named("Tokenizer", {"word_index": "{}"}),
        function("keras.activations", "gelu"),
        function("builtins", "relu"),
        function(None, "mean_squared_error"),
        function("keras.src.losses.losses", "mean_squared_error"),
        {
            "class_name": "__typespec__",
            "config": [],
            "spec_name": "TensorSpec",
            "module": "tensorflow.python.framework",
        },
        {"class_name": "Dense"},
        {"class_name": ["Dense"], "config": {}},
    ],
)
def test_what_models_are_made_of(members: dict[str, Any]) -> None:
    assert rules(members) == set()


@pytest.mark.parametrize(
    "members",
    [
        function("subprocess", "Popen"),
        function("os", "system"),
        function("builtins", "eval"),
        function("operator", "attrgetter"),
        function("torch.serialization.os", "system"),
        function("keras.utils", "get_file"),
        function("keras.config", "enable_unsafe_deserialization"),
        function("keras.src.saving.serialization_lib", "enable_unsafe_deserialization"),
        function("keras.models", "load_model"),
        function("keras.saving", "load_weights"),
        function("keras.utils", "image_dataset_from_directory"),
        function("keras.src.utils.file_utils", "extract_archive"),
        function("keras.src.utils.python_utils", "func_load"),
        function("keras.src.utils.file_utils.os", "system"),
        named("Popen", module="subprocess"),
        named("Dense", module="keras.src.utils.file_utils.os"),
        {"class_name": "__typespec__", "config": [], "spec_name": "Popen", "module": "subprocess"},
        named("TFOpLambda", {"function": "io.write_file"}),
        named("TFOpLambda", {"function": "py_function"}),
    ],
)
def test_what_no_model_is_made_of(members: dict[str, Any]) -> None:
    assert "keras.foreign-call" in rules(members)


@pytest.mark.parametrize(
    "members",
    [
        named("Fused", module="acme.layers"),
        named("My", module=None, registered_name="mine>My"),
        named("Dense", module="keras.layers", registered_name="mine>Dense"),
        named("Unheard", module="keras.layers"),
        function("builtins", "my_activation"),
        function("acme", "relu"),
        function("keras.ops", "custom"),
        named("function", {"no": "name"}),
        named("GemmaBackbone", module="keras_hub.src.models.gemma", registered_name="keras_hub>GemmaBackbone"),
        {"class_name": "__typespec__", "config": [], "spec_name": "Other", "module": "acme"},
    ],
)
def test_what_only_other_code_knows(members: dict[str, Any]) -> None:
    assert rules(members) == {"keras.custom-object"}


@pytest.mark.parametrize("name", ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_layers_that_load_more(name: str) -> None:
    assert rules(named(name, module="keras.layers")) == {"keras.loads-more"}


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../x", "a/../../b", "https://host/x", "gs://bucket/x", "C:\\x", "~/.ssh/id", ".."]
)
def test_files_outside_of_the_model(path: str) -> None:
    assert rules(named("StringLookup", {"vocabulary": path}, module="keras.layers")) == {"keras.file-outside"}
    assert "keras.file-outside" in rules(named("TFSMLayer", {"filepath": path}, module="keras.layers"))


def test_files_beside_the_model() -> None:
    assert rules(named("TextVectorization", {"vocabulary": "assets/words..txt"})) == {"keras.loads-more"}


def harmless(x: int) -> int:
    return x * 2 + len(str(x))


def imports(x: int) -> int:
    return __import__("os").system("id") or x


def evaluates(x: int) -> int:
    return eval("x") or x  # noqa: S307  # source of a specimen


def nested(x: int) -> Iterator[object]:
    return (open(name) for name in [f"/{x}"])


def lambdas(text: str) -> list[dict[str, Any]]:
    """All ways in which versions of Keras write a function."""
    return [
        named("Lambda", {"function": named("__lambda__", {"code": text, "defaults": None})}, module="keras.layers"),
        named("Lambda", {"function": [text, None, None], "function_type": "lambda"}),
        named("Lambda", {"function": "f", "output_shape": [text, None, None], "output_shape_type": "lambda"}),
        named("__lambda__", {"value": [text, None, None]}),
    ]


def test_a_harmless_function_is_unverified() -> None:
    for layer in lambdas(code(harmless)):
        assert rules(layer) == {"config.serialised-function"}


@pytest.mark.parametrize("source", [imports, evaluates, nested])
def test_a_function_that_reaches_for_the_machine_is_malicious(source: Callable[..., object]) -> None:
    wrapped = "\n".join(code(source)[i : i + 60] for i in range(0, len(code(source)), 60))
    older = codecs.decode(marshal.dumps(source.__code__), "latin-1")
    for text in (code(source), wrapped, older):
        for layer in lambdas(text):
            assert rules(layer) >= {"config.serialised-function", "keras.dangerous-function"}


def test_they_are_found_at_any_depth_of_any_document() -> None:
    layer = lambdas(code(imports))[0]
    deep: dict[str, Any] = layer
    for _ in range(30):
        deep = named("TimeDistributed", {"layer": [deep]}, module="keras.layers")
    document = json.dumps(named("Sequential", {"layers": [deep]}, module="keras")).encode()
    assert outcome("config.json", document) is Outcome.MALICIOUS
    archive = make_zip([Member(name=b"config.json", data=document), Member(name=b"metadata.json", data=b"{}")])
    assert outcome("model.keras", archive) is Outcome.MALICIOUS
    assert outcome("whatever.bin", archive) is Outcome.MALICIOUS


def test_a_plain_model_is_clean() -> None:
    model = named("Sequential", {"name": "m", "layers": [named("Dense", {"units": 1}, module="keras.layers")]})
    archive = make_zip(
        [
            Member(name=b"metadata.json", data=b'{"keras_version": "3.8.0", "date_saved": "2025-03-01@12:00:00"}'),
            Member(name=b"config.json", data=json.dumps(model).encode()),
        ]
    )
    assert rules_found("model.keras", archive) == set()
