"""SentencePiece models: a vocabulary with scores, and how text is normalised before."""

from __future__ import annotations

import re
import struct
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule
from modelcar.scanning.formats.tiktokens import looks_like_ranks
from modelcar.scanning.protobuf import Occurrence, Schema, Wire, fields_of
from modelcar.scanning.secrets import report_secrets_in_pieces

__all__ = ["FORMATS", "RULES"]

# Source: sentencepiece_model.proto of https://github.com/google/sentencepiece. Its extensions are in nobody's models.
_NORMALIZER: Final = (
    "1 name bytes, 2 precompiled_charsmap bytes, 3 add_dummy_prefix int, 4 remove_extra_whitespaces int,"
    "5 escape_whitespaces int, 6 normalization_rule_tsv bytes"
)
_SCHEMA: Final[Schema] = {
    "Model": fields_of(
        "1 pieces Piece, 2 trainer_spec Trainer, 3 normalizer_spec Normalizer, 4 self_test_data SelfTest,"
        "5 denormalizer_spec Normalizer"
    ),
    "Piece": fields_of("1 piece bytes, 2 score fixed32, 3 type int"),
    "Normalizer": fields_of(_NORMALIZER),
    "SelfTest": fields_of("1 samples Sample"),
    "Sample": fields_of("1 input bytes, 2 expected bytes"),
    "Trainer": fields_of(
        "1 input bytes, 2 model_prefix bytes, 3 model_type int, 4 vocab_size int, 5 accept_language bytes,"
        "6 self_test_sample_size int, 7 input_format bytes, 10 character_coverage fixed32, 11 input_sentence_size int,"
        "12 mining_sentence_size int, 13 training_sentence_size int, 14 seed_sentencepiece_size int,"
        "15 shrinking_factor fixed32, 16 num_threads int, 17 num_sub_iterations int, 18 max_sentence_length int,"
        "19 shuffle_input_sentence int, 20 max_sentencepiece_length int, 21 split_by_unicode_script int,"
        "22 split_by_whitespace int, 23 split_by_number int, 24 treat_whitespace_as_suffix int, 25 split_digits int,"
        "26 allow_whitespace_only_pieces int, 30 control_symbols bytes, 31 user_defined_symbols bytes,"
        "32 vocabulary_output_piece_score int, 33 hard_vocab_limit int, 34 use_all_vocab int, 35 byte_fallback int,"
        "36 required_chars bytes, 40 unk_id int, 41 bos_id int, 42 eos_id int, 43 pad_id int, 44 unk_surface bytes,"
        "45 unk_piece bytes, 46 bos_piece bytes, 47 eos_piece bytes, 48 pad_piece bytes,"
        "49 train_extremely_large_corpus int, 50 enable_differential_privacy int,"
        "51 differential_privacy_noise_level fixed32, 52 differential_privacy_clipping_threshold int,"
        "53 pretokenization_delimiter bytes, 54 seed_sentencepieces_file bytes"
    ),
}
_NAMES: Final = ("tokenizer.model", "spiece.model", "sentencepiece.model", "sentencepiece.bpe.model")
_NAME: Final = re.compile(r".*\.model(?:\.v[0-9]{1,3}(?:m[0-9])?)?")  # Mistral's have a version behind it


def _matches(probe: Probe) -> bool:
    if probe.name.endswith(".spm"):
        return True
    if probe.name in _NAMES:
        return not looks_like_ranks(probe.head)
    return _NAME.fullmatch(probe.name) is not None and _looks_like_pieces(probe.head)


def _looks_like_pieces(head: bytes) -> bool:
    """A piece in a piece, and after it another."""
    if len(head) < 4 or head[0] != 0x0A or head[2] != 0x0A or not head[3] + 2 <= head[1] < 0x80:
        return False
    return head[2 + head[1] : 3 + head[1]] in (b"\x0a", b"\x12", b"")


def _scan(scan: FileScan) -> None:
    wire = Wire(scan, _SCHEMA)
    pieces = 0
    for part in wire.fields("Model", 0, scan.size):
        kind = part.field.kind
        pieces += kind == "Piece"
        for field in wire.fields(kind, part.start, part.stop):
            if field.field.name == "precompiled_charsmap":
                _check_charsmap(scan, field)
            elif field.field.kind == "Sample":
                for _ in wire.fields("Sample", field.start, field.stop):
                    pass
    if not pieces:
        raise Malformed("it is no SentencePiece model: it has no pieces")
    report_secrets_in_pieces(scan, scan.content.pieces())
    scan.account_for_all()


def _check_charsmap(scan: FileScan, field: Occurrence) -> None:
    """u32 size of a trie ‖ the trie, made of u32 ‖ texts, each ended by a zero byte. Its reader trusts the size."""
    if field.size == 0:
        return
    data = scan.read(field.start, field.size)
    trie = struct.unpack("<I", data[:4])[0] if len(data) > 4 else 0
    if not 0 < trie < len(data) - 4 or trie % 4 or data[-1]:
        raise Malformed("a table of characters that is not in its form", field.start)


FORMATS: Final = (Format(name="sentencepiece", matches=_matches, scan=_scan),)
RULES: Final[tuple[Rule, ...]] = ()
