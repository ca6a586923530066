"""Protocol buffers field by field, and the few messages of ONNX and TensorFlow that specimens need."""

from __future__ import annotations

__all__ = ["message", "number", "onnx_model", "onnx_node", "onnx_tensor", "saved_model", "text"]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    return message(field, value.encode())


def onnx_tensor(
    name: str, *, dims: tuple[int, ...] = (2, 2), raw: bytes | None = None, external: dict[str, str] | None = None
) -> bytes:
    """A TensorProto of float32: its data `raw`, or `external`: location, offset, length."""
    out = b"".join(number(1, dim) for dim in dims) + number(2, 1) + text(8, name)
    if raw is not None:
        out += message(9, raw)
    if external is not None:
        out += b"".join(message(13, text(1, key) + text(2, value)) for key, value in external.items()) + number(14, 1)
    return out


def onnx_node(
    operator: str, *, domain: str = "", inputs: tuple[str, ...] = ("x", "w"), attributes: bytes = b""
) -> bytes:
    out = b"".join(text(1, name) for name in inputs) + text(2, "y") + text(3, operator.lower()) + text(4, operator)
    return out + attributes + (text(7, domain) if domain else b"")


def onnx_model(
    *, nodes: list[bytes], tensors: list[bytes], domains: tuple[str, ...] = (), functions: bytes = b""
) -> bytes:
    """A ModelProto: x times w is y, 2 by 2."""
    graph = b"".join(message(1, node) for node in nodes) + text(2, "graph") + b"".join(message(5, t) for t in tensors)
    graph += message(11, _value("x")) + message(12, _value("y"))
    opsets = b"".join(message(8, text(1, domain) + number(2, 1)) for domain in domains)
    return number(1, 8) + text(2, "corpus") + message(7, graph) + message(8, number(2, 17)) + opsets + functions


def _value(name: str) -> bytes:
    shape = message(1, number(1, 2)) * 2
    return text(1, name) + message(2, message(1, number(1, 1) + message(2, shape)))


def saved_model(*operators: str) -> bytes:
    """A TensorFlow SavedModel whose graph has these operators, without attributes."""
    graph = b"".join(message(1, text(1, f"node_{i}") + text(2, op)) for i, op in enumerate(operators))
    meta = message(1, message(4, text(1, "serve"))) + message(2, graph)
    return number(1, 1) + message(2, meta)
