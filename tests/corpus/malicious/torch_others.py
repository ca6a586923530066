"""PyTorch's older formats and TorchScript; pickles by names that promise something else."""

from __future__ import annotations

from typing import Final

from tests.corpus.formats.compressed import sevenzip
from tests.corpus.formats.pickles import BINPERSID, call, glob, integer, line_call, list_of, stream, text, tuple_of
from tests.corpus.formats.tars import file, tar_of
from tests.corpus.formats.torch_files import (
    legacy_file,
    legacy_prologue,
    storages_bytes,
    tar_file,
    weights,
    zip_file,
)
from tests.corpus.formats.zips import Member
from tests.corpus.malicious.common import ATTACK, one_file
from tests.corpus.payloads import SHELL
from tests.corpus.specimen import MALICIOUS, NEVER_CLEAN, Specimen, Verdict

HONEST: Final = stream(2, weights())
DATA: Final = stream(2, weights({"step": ATTACK}))
OLD_HONEST: Final = stream(2, weights(legacy=True))
OLD_DATA: Final = stream(2, weights({"step": ATTACK}, legacy=True))


def specimens() -> list[Specimen]:
    return [*_legacy(), *_scripts(), *_names()]


def _torch(
    name: str,
    reference: str,
    description: str,
    content: bytes,
    *,
    expected: frozenset[Verdict] = MALICIOUS,
    loader: str | None = "torch",
    path: str = "pytorch_model.bin",
) -> Specimen:
    return one_file(name, "torch, other", reference, description, path, content, expected=expected, loader=loader)


def _legacy() -> list[Specimen]:
    evil_type = tuple_of(
        text("storage"), call(glob("builtins", "eval"), text("print")), text("0"), text("cpu"), integer(4), b"N"
    )
    return [
        _torch(
            "torch-legacy",
            "legacy format",
            "The attack in the fourth pickle of a file from before zips",
            legacy_file(OLD_DATA),
        ),
        _torch(
            "torch-legacy-magic",
            "legacy format",
            "The attack in place of the magic number",
            stream(2, ATTACK) + legacy_file(OLD_HONEST),
        ),
        _torch(
            "torch-legacy-keys",
            "legacy format",
            "The attack in the fifth pickle, the list of storages",
            legacy_file(OLD_HONEST, keys=stream(2, list_of(text("0"), text("1"), ATTACK))),
        ),
        _torch(
            "torch-legacy-after-storages",
            "legacy format",
            "The attack behind the numbers of the storages, for whoever reads on",
            legacy_file(OLD_HONEST, storages=storages_bytes() + stream(2, ATTACK)),
            expected=NEVER_CLEAN,
            loader=None,
        ),
        _torch(
            "torch-legacy-storage-type",
            "BINPERSID",
            "The type of a storage is the result of a call",
            legacy_file(stream(2, evil_type, BINPERSID)),
            loader=None,
        ),
        _torch(
            "torch-legacy-cut",
            "nullifAI",
            "The attack, then nothing: the storages are missing",
            legacy_prologue() + OLD_DATA,
        ),
        _torch(
            "torch-tar",
            "tar format",
            "The oldest format, a tar of pickles, with the attack in its member `storages`",
            tar_file(storages=stream(2, ATTACK), pickle=OLD_HONEST),
        ),
        _torch(
            "torch-in-tar",
            "nested archive",
            "A whole torch file within a plain tar, by the name of a checkpoint",
            tar_of(file("weights/model", zip_file(DATA))),
            path="model.ckpt",
            loader=None,
        ),
    ]


def _scripts() -> list[Specimen]:
    code = (
        "class Net(Module):\n  def forward(self, x: Tensor) -> Tensor:\n"
        '    _0 = ops.aten.save(x, "/tmp/../tmp/model")\n'
        '    return torch.from_file("/etc/hostname", False, 4)\n'
    )
    script = Member(name="archive/code/__torch__.py", data=code.encode())
    constants = Member(name="archive/constants.pkl", data=stream(2, ATTACK))
    return [
        _torch(
            "torchscript-file-access",
            "TorchScript",
            "Code that reads and writes files when the model is asked",
            zip_file(HONEST, script),
            path="model.pt",
            expected=NEVER_CLEAN,
            loader=None,
        ),
        _torch(
            "torchscript-pickle",
            "TorchScript",
            "The attack in constants.pkl, beside code",
            zip_file(HONEST, script, constants),
            path="model.pt",
            loader="zip-member:archive/constants.pkl",
        ),
        _torch(
            "torchscript-pickle-in-code",
            "TorchScript",
            "A pickle in text, under code/ and with the extension of Python's source",
            zip_file(
                HONEST, Member(name="archive/code/weights.py", data=stream(None, line_call("os", "system", SHELL)))
            ),
            path="model.pt",
            loader="zip-member:archive/code/weights.py",
        ),
    ]


def _names() -> list[Specimen]:
    """Files that are not what their names say."""
    binary, lines = stream(4, ATTACK), stream(None, line_call("os", "system", SHELL))
    disguises = {
        "bin": ("CVE-2025-10155", "pytorch_model.bin", binary),
        "pt": ("CVE-2025-10155", "model.pt", binary),
        "ckpt-text": ("CVE-2025-10155", "model.ckpt", lines),
        "json": ("CVE-2025-1889", "tokenizer.json", lines),
        "txt": ("CVE-2025-1889", "vocab.txt", lines),
        "md": ("CVE-2025-1889", "README.md", lines),
        "png": ("CVE-2025-1889", "logo.png", binary),
        "onnx": ("CVE-2025-1889", "model.onnx", binary),
        "h5": ("CVE-2025-1889", "model.h5", binary),
        "npy": ("CVE-2025-1889", "mean.npy", binary),
        "tokenizer-model": ("CVE-2025-1889", "tokenizer.model", binary),
        "no-extension": ("CVE-2025-1889", "weights", lines),
        "hidden-file": ("CVE-2025-1889", ".cache/weights", binary),
    }
    found = [
        _torch(
            f"disguise-{name}", reference, f"A bare pickle by the name of {path}", content, path=path, loader="pickle"
        )
        for name, (reference, path, content) in disguises.items()
    ]
    packed = sevenzip("archive/data.pkl", DATA)
    return [
        *found,
        _torch(
            "torch-7z",
            "nullifAI",
            "A torch file packed by 7z instead of zip",
            packed,
            path="pytorch_model.bin",
            expected=NEVER_CLEAN,
            loader=None,
        ),
        _torch(
            "torch-7z-named",
            "nullifAI",
            "The same by its honest name",
            packed,
            path="model.7z",
            expected=NEVER_CLEAN,
            loader=None,
        ),
    ]
