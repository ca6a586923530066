"""JSON is strict, and what configurations make programs run is found whatever the file is called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelcar.scanning.findings import Outcome
from tests.support.scanning import findings_in, outcome, rules_found


def document(**members: Any) -> bytes:
    return json.dumps(members).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'\xef\xbb\xbf{"a": 1}',
        b'{"model": {"vocab": {"auto_map": 7, "chat_template": 8, "type": 9}, "merges": [["a", "b"]]}}',
        document(architectures=["BertModel"], quantization_config={"quant_method": "gptq"}, hidden_act="gelu"),
        document(tokenizer_class="LlamaTokenizer", chat_template="{{ messages[0]['content'] }}", auto_map=None),
        document(attn_implementation="flash_attention_2", trust_remote_code=False, megatron_core="megatron.core"),
        document(auto_mapping={"base_model_class": "X", "parent_library": "transformers.models.bert.modeling_bert"}),
        document(
            _class_name="A", _diffusers_version="1", unet=["diffusers", "U"], safety_checker=["stable_diffusion", "S"]
        ),
        b'[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]',
        document(activation_function="torch.nn.modules.activation.Tanh"),
        document(activation_function="gelu_new"),
        document(_target_=None),
        document(prompt_template="{ {{question}} | not Jinja"),
    ],
)
def test_ordinary_documents_are_clean(data: bytes) -> None:
    assert findings_in("config.json", data) == ()


def test_lines_are_documents_of_their_own() -> None:
    assert outcome("data.jsonl", b'{"a": 1}\n\n{"a": 2}') is Outcome.CLEAN
    (finding,) = findings_in("data.jsonl", b'{"a": 1}\n{"a": }\n')
    assert (finding.rule.id, finding.offset) == ("file.malformed", 15)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{} {}",
        b'{"a": 1,}',
        b"{'a': 1}",
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": "\x01"}',
        b'{"a": 1}\0',
    ],
)
def test_what_is_not_strict_is_malformed(data: bytes) -> None:
    assert rules_found("config.json", data) == {"file.malformed"}


def test_the_same_key_twice() -> None:
    assert rules_found("a.json", b'{"a": 1, "\\u0061": 2}') == {"json.duplicate-key"}


def test_numbers_that_json_has_not() -> None:
    assert rules_found("a.json", b'{"a": [NaN, -Infinity]}') == {"json.not-a-number"}
    assert outcome("a.json", b'{"a": NaN}') is Outcome.CLEAN


def test_bounds() -> None:
    assert rules_found("a.json", b"[" * 100_000) == {"scan.limit-exceeded"}
    assert rules_found("a.json", b"[" + b"0," * 5_000_000 + b"0]") == {"scan.limit-exceeded"}


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (document(auto_map={"AutoModel": "modeling_x.XModel"}), "'modeling_x.XModel' in 'modeling_x.py'"),
        (
            document(a=[{"auto_map": {"AutoTokenizer": ["tokenization_x.X", None]}}]),
            "'tokenization_x.X' in 'tokenization_x.py'",
        ),
        (document(auto_map=[1]), "auto_map, in a form of its own"),
        (document(custom_pipelines={"task": {"impl": "pipe.Pipe"}}), "'pipe.Pipe' in 'pipe.py'"),
        (document(auto_mapping={"parent_library": "transformers_modules.x"}), "auto_mapping: 'transformers_modules.x'"),
        (document(_class_name=["pipeline", "P"]), "_class_name: 'pipeline', 'P'"),
        (document(_class_name="A", _diffusers_version="1", unet=["my_unet", "U"]), "'unet': 'my_unet'"),
        (b'[{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}]', "'custom_st.Transformer'"),
        (document(activation_fn="custom.Activation"), "'custom.Activation'"),
    ],
)
def test_code_of_the_checkpoint_is_named(data: bytes, detail: str) -> None:
    assert [(f.rule.id, f.detail) for f in findings_in("anything.json", data)] == [("config.custom-code", detail)]


@pytest.mark.parametrize(
    "data",
    [
        document(auto_map={"AutoModel": "someone/else--modeling_x.XModel"}),
        document(attn_implementation="kernels-community/flash-attn3"),
        document(attn_implementation={"text": "someone/kernel"}),
        b'{"idx": 0, "name": "0", "path": "", "type": "someone/else--custom_st.Transformer"}',
    ],
)
def test_code_of_other_repositories_is_worse(data: bytes) -> None:
    assert rules_found("config.json", data) == {"config.remote-code"}


@pytest.mark.parametrize(
    "data",
    [
        document(a={"_target_": "os.system", "command": "id"}),
        document(_target_="builtins.exec"),
        document(_target_="torch.serialization.os.system"),
        document(**{"py/reduce": [{"py/type": "subprocess.Popen"}, {"py/tuple": ["id"]}]}),
        document(_class_name="A", _diffusers_version="1", unet=["subprocess", "run"]),
        document(_class_name="APipeline", unet=["subprocess", "run"]),
        document(model={"target": "subprocess.Popen", "params": {"args": ["id"]}}),
        document(target="os.system"),
        document(pipeline={"name": "subprocess.Popen", "params": {"args": ["id"]}}),
        document(class_path="os.system", init_args={}),
        document(a={"()": "subprocess.Popen", "args": ["id"]}),
        document(a={"type": "os.system", "init_parameters": {}}),
        document(net="$__import__('os').system('id')"),
        document(net="$'a' and __import__('os').system('id')"),
        document(net="@").replace(b"@", b"\\u0024__import__('os').system('id')"),
        document(__kind__="instance", **{"class": "os.system"}, args=["id"]),
        document(__module__="os", __class__="system", __loader__="FunctionNode"),
        document(types={"a": "os.system"}, structure={"a": ["a"]}),
        document(activation_fn="os.system"),
    ],
)
def test_a_call_that_no_model_needs_is_malicious(data: bytes) -> None:
    assert outcome("config.json", data) is Outcome.MALICIOUS
    assert "config.dangerous-call" in rules_found("config.json", data)


@pytest.mark.parametrize("name", ["nemo.collections.asr.models.Model", "os.path.join", "builtins.dict"])
def test_other_call_targets_are_unverified(name: str) -> None:
    assert rules_found("config.json", document(_target_=name)) == {"config.call-target"}
    assert rules_found("config.json", document(target=name, params={})) == {"config.call-target"}


def test_words_that_name_no_object_are_no_call_targets() -> None:
    members = document(name="a.b", target="text", a={"name": "relu", "params": {}}, b={"class": "a.b"}, structure="x")
    assert rules_found("vocab.json", document(**{"$f(": 1, "1": "$", "2": "$x", "3": ["$f(", 0.1]})) == set()
    assert rules_found("config.json", document(net="$monai.networks.Net(1)")) == {"config.call-target"}
    assert rules_found("config.json", document(imports=["$import glob"])) == {"config.call-target"}
    assert rules_found("config.json", members) == set()


def test_a_model_that_trusts_itself() -> None:
    assert rules_found("sentence_bert_config.json", document(model_args={"trust_remote_code": True})) == {
        "config.trusts-code"
    }


def test_serialised_functions() -> None:
    layer = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wAA"}}}}
    assert rules_found("model.json", document(layers=[layer])) == {"config.serialised-function"}


@pytest.mark.parametrize(
    "data",
    [
        document(chat_template="{{ x.__class__ }}"),
        document(chat_template=[{"name": "a", "template": "{{ x }}"}, {"name": "b", "template": "{{ x.__class__ }}"}]),
        document(chat_template={"default": "{{ x.__class__ }}"}),
        document(processor={"chat_template": "{{ x.__class__ }}"}),
        document(prompt_template="{{ x.__class__ }}"),
    ],
)
def test_templates_are_judged_wherever_they_are(data: bytes) -> None:
    assert rules_found("anything.json", data) == {"template.attack"}


def test_other_templates_need_not_be_jinja_but_chat_templates_must() -> None:
    assert outcome("a.json", document(template="{{ .System }}")) is Outcome.CLEAN
    assert rules_found("a.json", document(chat_template="{{ .System }}")) == {"template.unreadable"}


TOKEN = "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmPoIuYtRe"


def test_secrets_are_found_in_whatever_way_they_are_written() -> None:
    data = document(token=TOKEN)
    (finding,) = findings_in("config.json", data)
    assert (finding.rule.id, finding.offset) == ("secret.found", data.index(b"hf_"))
    assert rules_found("config.json", data.replace(b"hf_Q", b"hf\\u005fQ")) == {"secret.found"}
    assert rules_found("data.jsonl", b'{"a": 1}\n' + data) == {"secret.found"}


def test_an_attack_is_reported_even_after_many_milder_findings() -> None:
    many = [{"auto_map": {"a": f"m{i}.X"}} for i in range(500)]
    assert outcome("config.json", document(a=many, b={"_target_": "os.system"})) is Outcome.MALICIOUS


def test_numbers_that_only_some_pythons_read() -> None:
    assert rules_found("config.json", b"9" * 5000) == {"scan.limit-exceeded"}
    assert rules_found("config.json", b'{"a": %b}' % (b"1" * 4000)) == set()
    assert rules_found("config.json", b'{"a": %b, "b": {"_target_": "os.system"}}' % (b"1" * 4001)) == {
        "scan.limit-exceeded"
    }
