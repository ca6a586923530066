"""What a file is, from its first bytes; from its name only where its content has no signature."""

from __future__ import annotations

import os

from modelcar.checkpoint.formats.header import MAX_HEADER

__all__ = ["GIT_LFS_POINTER", "HEAD_SIZE", "detect_format", "looks_like_safetensors", "read_head"]

HEAD_SIZE = 512  # bytes; tar's signature lies at 257
GIT_LFS_POINTER = "git-lfs-pointer"

_LFS_VERSION = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_MAX = 1024  # bytes; git-lfs itself reads no longer pointers

_ZIP = b"PK\x03\x04"
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GGUF", "gguf"),
    (0, b"lmgg", "ggml"),
    (0, b"tjgg", "ggml"),
    (0, b"fmgg", "ggml"),
    (0, b"algg", "ggml"),
    (0, b"\x89HDF\r\n\x1a\n", "hdf5"),
    (0, b"\x93NUMPY", "numpy"),
    (4, b"TFL3", "tflite"),
    (4, b"ET12", "executorch"),
    (0, b"\x7fELF", "elf"),
    (0, b"MZ", "pe"),
    (0, b"\xcf\xfa\xed\xfe", "mach-o"),
    (0, b"\xca\xfe\xba\xbe", "mach-o"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (257, b"ustar", "tar"),
)
# what a zip archive is, by the name it goes under
_ZIP_NAMES = {
    "pickle": (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".torch"),
    "keras": (".keras",),
    "numpy": (".npz",),
}
# formats without a signature
_NAMES = {
    "openvino": ("openvino_model.bin", "openvino_language_model.bin"),
    "coreml": (".mlmodel", "weight.bin"),
    "safetensors": (".safetensors",),
    "pickle": (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".th"),
    "onnx": (".onnx", ".onnx_data", ".onnx.data"),
    "tensorflow": ("saved_model.pb", ".ckpt.index", ".ckpt.data-00000-of-00001"),
    "flax": (".msgpack",),
    "tensorrt": (".engine", ".plan"),
}
# texts, tables and protocol buffers that go under a name from above
_NOT_MODELS = frozenset({"vocab.bin", "tokenizer.bin"})


def detect_format(name: str, head: bytes, size: int) -> str | None:
    """The format of a file called `name`, `size` bytes long, that begins with `head` (see `read_head`)."""
    name = name.lower()
    if head.startswith(_LFS_VERSION) and size <= _LFS_POINTER_MAX:
        return GIT_LFS_POINTER
    for offset, signature, found in _SIGNATURES:
        if head.startswith(signature, offset):
            return found
    if head.startswith(_ZIP):
        return _by_name(name, _ZIP_NAMES) or "zip"
    if looks_like_safetensors(head, size):  # before pickles: a header of 640 bytes begins like one
        return "safetensors"
    if _looks_like_pickle(head):
        return "pickle"
    return None if name in _NOT_MODELS else _by_name(name, _NAMES)


def _by_name(name: str, table: dict[str, tuple[str, ...]]) -> str | None:
    return next((found for found, endings in table.items() if name.endswith(endings)), None)


def _looks_like_pickle(head: bytes) -> bool:
    """A PROTO opcode of protocol 2 to 5. Older pickles have no signature."""
    return len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def looks_like_safetensors(head: bytes, size: int) -> bool:
    """A plausible header length and the beginning of a JSON object with a key."""
    return head[8:10] == b'{"' and int.from_bytes(head[:8], "little") <= min(MAX_HEADER, size)


def read_head(fd: int) -> bytes:
    """What `detect_format` wants to see of an open file."""
    return os.pread(fd, HEAD_SIZE, 0)
