"""Files that are pickles, by content and by name; one stream after the other; pickles within pickles."""

from __future__ import annotations

import base64
import bz2
import lzma
import pickle
import zlib

import pytest

from modelcar.scanning.content import literal
from modelcar.scanning.filescan import Probe
from modelcar.scanning.findings import Outcome, outcome_of
from modelcar.scanning.formats.pickles import machine
from modelcar.scanning.formats.pickles.files import FORMATS
from modelcar.scanning.formats.pickles.sharing import excess
from modelcar.scanning.formats.pickles.values import Box, Kind, Value
from modelcar.scanning.limits import Limits
from tests.corpus.formats import pickles as p
from tests.corpus.formats.torch_files import LEGACY_MAGIC, legacy_file, legacy_prologue, storages_bytes, tensor, weights
from tests.support.containers import found_in, rules_in
from tests.support.weights import safetensors_bytes

ATTACK = p.stream(4, p.call(p.glob("os", "system"), p.text("true")))
OLD_ATTACK = p.stream(None, p.line_call("os", "system", "true"))
PLAIN = p.stream(4, p.dictionary({"a": p.integer(1)}))
DANGEROUS = "pickle.dangerous-global"


def is_pickle(name: str, data: bytes) -> bool:
    return any(f.matches(Probe(name, literal(data))) for f in FORMATS if f.name == "pickle")


def rules(data: bytes, name: str = "model.pkl") -> set[str]:
    return rules_in(FORMATS, data, name=name)


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "data", "README.md", "model.safetensors"])
@pytest.mark.parametrize(
    "data",
    [
        ATTACK,
        OLD_ATTACK,
        pickle.dumps({"a": [1.5, "b"]}, 0),
        pickle.dumps({"a": [1.5, "b"]}, 1),
        ATTACK[:-1] + b"\xff",
        b"V" + b"x" * 100_000 + b"\n0" + OLD_ATTACK,
        b"N0" * 500_000 + OLD_ATTACK,
        b"N." + OLD_ATTACK,
        p.stream(None, p.text("os"), p.text("system"), p.STACK_GLOBAL),
        p.stream(None, p.inst("some.module", "Class")),
    ],
)
def test_a_pickle_is_one_whatever_it_is_called(name: str, data: bytes) -> None:
    assert is_pickle(name, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"N.",
        b"# Read me\n\nThis is a model.\n",
        b"cat\ndog\nbird\nNope\n",
        b"config\nvalue\n(more)\n",
        b"changes of this release\nare listed below\n. And so on\n",
        b"I. Introduction\nThis is not a number.\n",
        b"N. B.: this is a text.\n",
        b"{}\n",
        b'{"a": 1}',
        b"[]",
        b"](http://example.org)",
        b"}. It ends.",
        b"the\nof\nand\n",
        b"a\nb\nc\nd\ne\n",
        b"(see below)\nfoo\n",
        base64.b64encode(bytes(range(256))),
        b"\x80\x04 is no pickle",
        safetensors_bytes({"a": ("F32", (2,), bytes(8))}),
        b"\x80\x02" + bytes(6) + b'{"a":1}',
    ],
)
@pytest.mark.parametrize("name", ["README.md", "vocab.txt"])
def test_texts_and_numbers_are_no_pickles(name: str, data: bytes) -> None:
    assert not is_pickle(name, data)


@pytest.mark.parametrize(
    "name", ["a.pkl", "a.pickle", "a.joblib", "a.pt", "a.pth", "a.bin", "a.ckpt", "a.dill", "a.th"]
)
def test_by_its_name_it_is_one_that_is_broken(name: str) -> None:
    assert rules(b"some numbers \xff\xfe", name) == {"file.malformed"}


@pytest.mark.parametrize(
    "data", [b"GGUF\x03\0\0\0" + bytes(16), b"PK\x03\x04" + bytes(30), b"\x1f\x8b\x08" + bytes(20)]
)
def test_the_name_is_nothing_against_the_sign_of_another_format(data: bytes) -> None:
    assert not is_pickle("model.bin", data)


def test_an_empty_file_is_none() -> None:
    assert rules(b"", "model.pt") == {"file.malformed"}


def test_every_stream_is_walked() -> None:
    assert rules(PLAIN + PLAIN) == set()
    assert DANGEROUS in rules(PLAIN + PLAIN + ATTACK)


def test_what_follows_is_unaccounted_for_unless_it_is_a_stream() -> None:
    assert rules(PLAIN + b"\xff\xff") == {"file.unaccounted-bytes"}
    assert rules(PLAIN + bytes(100)) == {"file.unaccounted-bytes"}
    assert rules(PLAIN + bytes(100) + ATTACK) == {"file.unaccounted-bytes", DANGEROUS}
    assert rules(PLAIN + b"\xff junk " + ATTACK) == {"file.unaccounted-bytes", DANGEROUS}


def test_an_unpickler_that_keeps_its_memo_may_import_something_else() -> None:
    first = p.proto(4) + b"\x8c\x02os\x94\x8c\x06system\x94\x86."
    harmless = b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x940h\x00h\x01\x93."
    assert DANGEROUS in rules(first + p.proto(4) + harmless)
    unknown = first.replace(b"\x02os", b"\x02ab").replace(b"\x06system", b"\x06thing_")
    assert rules(unknown + p.proto(4) + harmless) == {"pickle.not-canonical"}


def test_objects_pickled_one_after_the_other_are_clean() -> None:
    assert rules(b"".join(pickle.dumps({"a": ["b", "b"]}, protocol) for protocol in range(6))) == set()


@pytest.mark.parametrize("wrap", [p.binary, p.bytearray8])
@pytest.mark.parametrize("size", [0, 3000])
def test_a_pickle_inside_bytes_is_scanned(wrap: object, size: int) -> None:
    inner = p.stream(4, p.text("x" * size), p.POP, p.call(p.glob("os", "system"), p.text("true")))
    assert callable(wrap)
    (finding,) = found_in(FORMATS, p.stream(5, wrap(inner)), name="model.pkl")
    assert finding.rule.id == DANGEROUS
    assert finding.path.startswith("model.pkl!bytes")


def test_a_pickle_in_the_text_that_stands_for_bytes_in_protocol_2_is_scanned() -> None:
    inner = p.stream(2, p.call(p.glob("os", "system"), p.chars(b"true")), p.POP, p.chars(b"x" * 200), p.POP, b"N")
    text = p.wide_text((inner + b"x" * 200).decode("latin-1"))
    assert DANGEROUS in rules(p.stream(2, p.call(p.glob("_codecs", "encode"), text, p.text("latin1"))))


@pytest.mark.parametrize("inner", [ATTACK, OLD_ATTACK, legacy_file(p.stream(2, p.glob("os", "system")))])
def test_what_torch_would_load_from_bytes_is_scanned(inner: bytes) -> None:
    load = p.glob("torch.storage", "_load_from_bytes")
    assert DANGEROUS in rules(p.stream(2, p.call(load, p.binary(inner))))
    encoded = p.call(p.glob("_codecs", "encode"), p.wide_text(inner.decode("latin-1")), p.text("latin1"))
    assert DANGEROUS in rules(p.stream(2, p.call(load, encoded)))


def test_pickles_in_pickles_have_an_end() -> None:
    data = ATTACK
    for _ in range(12):
        data = p.stream(4, p.binary(data))
    assert "scan.limit-exceeded" in rules(data)


def test_bytes_that_are_no_pickle_are_just_bytes() -> None:
    weights_like = b"\x80\x04" + bytes(range(256)) * 40
    assert rules(pickle.dumps([weights_like, b"(" * 5000, b"]" * 5000, b"N" * 300_000])) == set()


# Torch before 1.6


def test_old_torch_files() -> None:
    assert rules(legacy_file(p.stream(2, weights(legacy=True))), "pytorch_model.bin") == set()


def test_a_payload_in_any_of_the_five_pickles() -> None:
    assert DANGEROUS in rules(legacy_file(p.stream(2, weights({"x": p.glob("os", "system")}, legacy=True))))
    keys = p.stream(2, p.call(p.glob("os", "system"), p.text("true")))
    assert DANGEROUS in rules(legacy_file(p.stream(2, weights(legacy=True)), keys=keys))
    magic = p.stream(2, p.integer(LEGACY_MAGIC))
    assert DANGEROUS in rules(magic + ATTACK)
    assert DANGEROUS in rules(magic + p.stream(2, p.integer(1001)) + ATTACK)


@pytest.mark.parametrize(
    ("keys", "storages", "rule"),
    [
        (["0", "1"], storages_bytes() + b"x", "file.unaccounted-bytes"),
        (["0", "1"], storages_bytes()[:-1], "file.malformed"),
        (["0", "1"], storages_bytes().replace(b"\x04", b"\x05", 1), "file.malformed"),
        (["0"], storages_bytes()[:24], "torch.storage-mismatch"),
        (["0", "0"], storages_bytes(), "file.malformed"),
        (["0", "1", "2"], storages_bytes() + bytes(8), "file.malformed"),
    ],
)
def test_storages_are_exactly_those_that_the_pickle_promises(keys: list[str], storages: bytes, rule: str) -> None:
    order = p.stream(2, p.list_of(*map(p.text, keys)))
    assert rules(legacy_file(p.stream(2, weights(legacy=True)), keys=order, storages=storages)) == {rule}


def test_a_storage_has_one_size() -> None:
    other = tensor("0", legacy=True).replace(b"FloatStorage", b"DoubleStorage")
    assert "torch.storage-mismatch" in rules(legacy_file(p.stream(2, weights({"x": other}, legacy=True))))


def test_objects_elsewhere_that_are_no_storages() -> None:
    module = p.tuple_of(p.text("module"), p.glob("a", "B"), p.NONE, p.NONE) + p.BINPERSID
    assert "pickle.persistent-id" in rules(legacy_file(p.stream(2, weights({"x": module}, legacy=True))))


def test_the_version_and_the_machine_are_what_torch_writes() -> None:
    assert rules(p.stream(2, p.integer(LEGACY_MAGIC)) + p.stream(2, p.integer(1002))) == {"file.malformed"}
    assert rules(legacy_prologue()) == {"file.malformed"}


# joblib


def joblib_array(data: bytes, *, alignment: int | None = None, shape: bytes = p.tuple_of(p.integer(2))) -> bytes:
    simple = p.tuple_of(p.integer(3), p.text("<"), p.NONE, p.NONE, p.NONE, p.integer(-1), p.integer(-1), p.integer(0))
    dtype = p.call(p.glob("numpy", "dtype"), p.text("f4"), p.FALSE, p.TRUE) + simple + p.BUILD
    state = {"subclass": p.glob("numpy", "ndarray"), "shape": shape, "order": p.text("C"), "dtype": dtype}
    if alignment is not None:
        state["numpy_array_alignment_bytes"] = p.integer(alignment)
    wrapper = p.glob("joblib.numpy_pickle", "NumpyArrayWrapper") + p.EMPTY_TUPLE + p.NEWOBJ
    return wrapper + p.dictionary(state) + p.BUILD + data


def test_the_walk_goes_on_behind_arrays_of_joblib() -> None:
    data = p.stream(3, p.list_of(joblib_array(b"\xff" * 8), joblib_array(b"\x03" + b"\xff" * 11, alignment=16)))
    assert rules(data, "model.joblib") == {"pickle.needs-joblib"}
    evil = p.stream(3, p.list_of(joblib_array(b"\xff" * 8), p.glob("os", "system")))
    assert rules(evil, "model.joblib") == {"pickle.needs-joblib", DANGEROUS}


def test_an_array_that_another_unpickler_runs_is_an_attack() -> None:
    payload = p.glob("os", "system")
    shape = p.tuple_of(p.integer(-(-len(payload) // 4)))
    data = p.stream(3, joblib_array(payload + b"N" * (-len(payload) % 4), shape=shape))
    assert DANGEROUS in rules(data, "model.joblib")


@pytest.mark.parametrize(
    "broken",
    [
        joblib_array(b"", shape=p.tuple_of(p.integer(1 << 30))),
        joblib_array(b"", shape=p.call(p.glob("a", "b"))),
        joblib_array(bytes(8)).replace(b"\x8c\x05dtype", b"\x8c\x05btype"),
    ],
)
def test_an_array_whose_end_nobody_knows(broken: bytes) -> None:
    assert "file.malformed" in rules(p.stream(3, broken), "model.joblib")


@pytest.mark.slow
def test_compression_of_joblib() -> None:
    for pack in (zlib.compress, lambda data: lzma.compress(data, lzma.FORMAT_ALONE)):
        assert rules(pack(PLAIN * 50), "model.joblib") == set()
        assert DANGEROUS in rules(pack(PLAIN * 50 + ATTACK), "model.joblib")
        assert DANGEROUS in rules(pack(ATTACK), "anything")
        assert rules(pack(PLAIN * 50) + b"x", "model.joblib") == {"file.unaccounted-bytes"}
        assert "archive.damaged-member" in rules(pack(PLAIN * 500)[:-5], "model.joblib")
        assert DANGEROUS in rules(pack(ATTACK + PLAIN * 5000)[:-50], "model.joblib")


def test_a_compression_bomb_is_stopped() -> None:
    found = found_in(FORMATS, zlib.compress(bytes(3 << 20), 9), limits=Limits(piece=1 << 20, ratio=10))
    assert "scan.limit-exceeded" in [finding.rule.id for finding in found]


@pytest.mark.parametrize("text", [b"x^2 + y^2 = z^2", b"x\x9c", b"]\0\0 and so on", b"x\xda is no zlib stream"])
def test_texts_are_not_compressed(text: bytes) -> None:
    assert not any(f.matches(Probe("a.txt", literal(text))) for f in FORMATS)


def test_bz2_is_left_to_the_archives() -> None:
    assert not any(f.matches(Probe("a.joblib", literal(bz2.compress(PLAIN)))) for f in FORMATS)


# Bounds


@pytest.mark.parametrize(
    "bomb",
    [
        p.EMPTY_LIST + p.binput(0) + b"".join(p.list_of(*[p.binget(i)] * 9) + p.binput(i + 1) for i in range(9)),
        p.EMPTY_TUPLE * 1 + b"\x85" * 5000,
        p.EMPTY_LIST * 5000 + b"a" * 4999,
        b"I" + b"9" * 5000 + b"\n",
        p.NONE + p.long_binput(1 << 30),
    ],
)
def test_bombs(bomb: bytes) -> None:
    assert "pickle.exhausts" in rules(p.stream(4, bomb))


def test_weighing_values_that_share_takes_linear_time() -> None:
    inner: Value = Box(Kind.LIST, [1] * 20_000)
    assert excess([Box(Kind.LIST, [inner] * 20_000)]) == "it holds the same values over and over"
    assert excess([Box(Kind.LIST, [inner, inner])]) == ""


def test_what_repeats_itself_within_reason_is_no_bomb() -> None:
    shared = ["x"] * 1000
    assert rules(pickle.dumps([shared] * 1000)) == set()
    loop: list[object] = []
    loop.append(loop)
    assert rules(pickle.dumps(loop)) == set()


@pytest.mark.slow
def test_too_many_streams_exceed_a_bound() -> None:
    assert rules(b"N." * 20_000) == {"scan.limit-exceeded"}


def test_findings_are_said_once_and_not_without_end() -> None:
    many = b"".join(p.glob("module", f"name{i}") + p.POP for i in range(3000)) + p.glob("os", "system")
    found = found_in(FORMATS, p.stream(2, many * 3), name="model.pkl")
    assert len(found) == 101
    assert outcome_of(found) is Outcome.MALICIOUS


def test_constants_that_are_longer_than_the_view_are_skipped() -> None:
    big = b"\x01" * (3 << 20)
    for protocol in (2, 4, 5):
        assert rules(pickle.dumps([big, bytearray(big), "x" * (3 << 20), b"end"], protocol)) == set()
    for text in ("V" + "x" * (3 << 20) + "\n", "S'" + "x" * (3 << 20) + "'\n", "L" + "1" * 3000 + "L\n"):
        assert rules(p.stream(None, text.encode(), p.POP, p.glob("os", "system"))) == {DANGEROUS}


@pytest.mark.parametrize("at", [*range(65_400, 65_600, 7), (1 << 16) - 1, (1 << 16) - 4112])
def test_opcodes_at_the_end_of_the_view(at: int) -> None:
    fill = p.binary(b"\x01" * (at - 7))
    assert rules(p.stream(2, fill, p.POP, p.text("a" * 200), p.POP, p.glob("os", "system"))) == {DANGEROUS}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bound", "data"),
    [
        ("_MOST_BLOCKS", p.EMPTY_TUPLE + b"\x85" * 200_000),
        ("_MOST_BLOCKS", p.MARK + p.EMPTY_LIST * 200_000),
        ("_MOST_WIDE", (b"(" + b"N" * 1000 + b"t") * 200 + b"0" * 200 + b"N"),
        ("_MOST_VALUES", b"N" * 200_000),
        ("_MOST_VALUES", b"(" * 200_000),
    ],
)
def test_values_within_values_take_bounded_memory(monkeypatch: pytest.MonkeyPatch, bound: str, data: bytes) -> None:
    monkeypatch.setattr(machine, bound, 30_000)
    assert rules(p.stream(2, data)) == {"scan.limit-exceeded"}


@pytest.mark.slow
def test_memory_that_others_let_go_of_hides_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[list[int]] = [[] for _ in range(300_000)]
    check = machine.Machine._check_memory

    def check_after_others(ours: machine.Machine) -> None:
        others.clear()
        check(ours)

    monkeypatch.setattr(machine, "_MOST_BLOCKS", 30_000)
    monkeypatch.setattr(machine.Machine, "_check_memory", check_after_others)
    assert rules(p.stream(2, p.MARK + p.EMPTY_LIST * 200_000)) == {"scan.limit-exceeded"}
