"""From a pickled checkpoint to named tensors: which dict holds the model, and which names share a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from modelcar.checkpoint import CheckpointFile
from modelcar.checkpoint.formats.header import MAX_TENSORS
from modelcar.checkpoint.formats.reader import malformed, printable
from modelcar.conversion.pickled import Pickled, opened_pickle
from modelcar.conversion.tensors import LeftOut, StoredTensor, TensorFile
from modelcar.conversion.unpickled import Unpickled, kind_of
from modelcar.conversion.views import Unconvertible, View, view_of
from modelcar.errors import MalformedFile, UsageError
from modelcar.scanning.formats.pickles.values import Value

__all__ = ["read_state_dict"]

# Where trainers put the weights, the likeliest first.
_WRAPPERS: Final = (
    "state_dict", "model_state_dict", "model_state", "model", "module", "weights", "params_ema", "params", "net",
)  # fmt: skip
_METADATA: Final = {"format": "pt"}
_MOST_NAMED: Final = 5
_DEEPEST: Final = 8  # dicts in dicts around the model
_GROWTH: Final = 4  # times the size of the file that its tensors may take as copies
_SPARE: Final = 1 << 30  # bytes beyond that
_STATE_DICT: Final = "save a dict of tensors, such as model.state_dict()"
_ANOTHER_TYPE: Final = "leave it out, or save it anew as a plain tensor of a type that safetensors has"

Pairs = Sequence[tuple[Value, Value]]


def read_state_dict(file: CheckpointFile, key: str | None = None) -> TensorFile:
    """The tensors of the pickled checkpoint `file`. No tensor is read.

    Args:
        key: under which the dict of the tensors lies, where the checkpoint holds more than that; by default where
            trainers put it.

    Raises:
        Denied: it holds something else than tensors and plain values.
        MalformedFile: it is not what torch writes, or safetensors cannot hold what is in it.
        UsageError: there is nothing under `key`, or it is not clear which of several dicts is meant.
    """
    with opened_pickle(file) as pickled:
        reader = _Reader(file, pickled)
        pairs, left_out = reader.model(key)
        tensors, others = reader.tensors(pairs)
        return TensorFile(tensors=tensors, metadata=_METADATA, left_out=(*left_out, *others))


class _Reader:
    def __init__(self, file: CheckpointFile, pickled: Pickled) -> None:
        self._file = file
        self._objects: Unpickled = pickled.objects
        self._storages = pickled.storages

    def model(self, key: str | None) -> tuple[Pairs, list[LeftOut]]:
        """The dict that holds the model, and what lies beside it."""
        pairs: Pairs | None = self._objects.pairs(self._objects.result)
        if pairs is None:
            raise self._malformed(f"holds no dict of tensors, but this: {kind_of(self._objects.result)}")
        left_out: list[LeftOut] = []
        for _ in range(_DEEPEST):
            if key is None and any(self._is_tensor(value) for _, value in pairs):
                return pairs, left_out
            pairs, beside = self._under(pairs, self._wrapper(pairs) if key is None else key)
            left_out += beside
            key = None
        raise self._malformed(f"holds no tensors, but dicts in dicts more than {_DEEPEST} deep")

    def _under(self, pairs: Pairs, key: str) -> tuple[Pairs, list[LeftOut]]:
        found = [value for name, value in pairs if self._objects.text(name) == key]
        if len(found) > 1:
            raise self._malformed(f"holds {printable(key)} twice")
        inner = self._objects.pairs(found[0]) if found else None
        if inner is None:
            raise UsageError(
                f"{self._file.path} holds no dict under the key {printable(key)}", hint=f"it holds {self._names(pairs)}"
            )
        beside = [self._left_out(name, value) for name, value in pairs if self._objects.text(name) != key]
        return inner, beside

    def _wrapper(self, pairs: Pairs) -> str:
        dicts = {
            name: inner
            for key, value in pairs
            if (name := self._objects.text(key)) is not None and (inner := self._objects.pairs(value))
        }
        holding = [name for name, inner in dicts.items() if any(self._is_tensor(value) for _, value in inner)]
        usual = [name for name in _WRAPPERS if name in (holding or dicts)]
        if usual:
            return usual[0]
        if len(holding) == 1:
            return holding[0]
        if holding:
            raise UsageError(
                f"{self._file.path} holds several dicts of tensors: {', '.join(map(printable, holding[:_MOST_NAMED]))}",
                hint="name the one that is meant with --key",
            )
        raise self._malformed(f"holds no dict of tensors, but {self._names(pairs) or 'nothing'}")

    def tensors(self, pairs: Pairs) -> tuple[tuple[StoredTensor, ...], list[LeftOut]]:
        """The tensors of a dict by their names, each once; and what else is in it."""
        views: dict[str, View] = {}
        left_out = []
        for key, value in pairs:
            if not self._is_tensor(value):
                left_out.append(self._left_out(key, value))
                continue
            name = self._name(key)
            if name in views:
                raise self._malformed(f"holds tensor {printable(name)} twice")
            views[name] = self._view(name, value)
            if len(views) > MAX_TENSORS:
                raise self._malformed(f"holds more than {MAX_TENSORS} tensors")
        aliases = _aliases(views)
        dropped = {alias for names in aliases.values() for alias in names}
        kept = [self._stored(name, view, aliases[name]) for name, view in views.items() if name not in dropped]
        total = sum(tensor.size for tensor in kept)
        if total > self._file.size * _GROWTH + _SPARE:
            raise self._malformed(f"would become {total} bytes, as its tensors are views of the same few numbers")
        return tuple(kept), left_out

    def _is_tensor(self, value: Value) -> bool:
        try:
            return view_of(value) is not None
        except Unconvertible:
            return True

    def _name(self, key: Value) -> str:
        name = self._objects.text(key)
        if name is None:
            raise self._malformed(f"calls a tensor something that is no text: {kind_of(key)}")
        if name == "__metadata__":
            raise self._malformed("calls a tensor '__metadata__', which means something else in safetensors")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise self._malformed(f"calls a tensor {printable(name)}, which is no valid text") from None
        return name

    def _view(self, name: str, value: Value) -> View:
        try:
            view = view_of(value)
        except Unconvertible as e:
            raise malformed(self._file.path, f"tensor {printable(name)} {e}", hint=_ANOTHER_TYPE) from None
        if view is None or view.storage not in self._storages:
            raise self._malformed(f"tensor {printable(name)} has no storage in it")
        return view

    def _stored(self, name: str, view: View, aliases: tuple[str, ...]) -> StoredTensor:
        extent = self._storages[view.storage]
        return StoredTensor(
            name=name,
            dtype=view.dtype,
            shape=view.shape,
            size=view.size,
            file=self._file,
            offset=extent.offset + view.start,
            item=view.item,
            dims=view.dims,
            extent=extent,
            aliases=aliases,
        )

    def _left_out(self, key: Value, value: Value) -> LeftOut:
        name = self._objects.text(key)
        return LeftOut(path=self._file.path, key=kind_of(key) if name is None else name, why=kind_of(value))

    def _names(self, pairs: Pairs) -> str:
        names = [printable(self._objects.text(key) or kind_of(key)) for key, _ in pairs[:_MOST_NAMED]]
        return ", ".join(names) + (", …" if len(pairs) > _MOST_NAMED else "")

    def _malformed(self, problem: str) -> MalformedFile:
        return malformed(self._file.path, problem, hint=_STATE_DICT)


def _aliases(views: dict[str, View]) -> dict[str, tuple[str, ...]]:
    """The other names of each tensor that is kept: of names for one tensor it is the first in the order of texts.

    That is the one that the safetensors library keeps. Tensors that only overlap become copies.
    """
    groups: dict[View, list[str]] = {}
    for name, view in views.items():
        groups.setdefault(view, []).append(name)
    found: dict[str, tuple[str, ...]] = {}
    for view, names in groups.items():
        if not view.size:
            found |= dict.fromkeys(names, ())
            continue
        names.sort()
        found[names[0]] = tuple(names[1:])
    return found
