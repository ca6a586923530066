"""Chat templates in the styles that models have, written for this corpus; each in a tokenizer's configuration."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.corpus.specimen import CLEAN, Specimen

CHATML: Final = """{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""

INSTRUCT: Final = """{%- if messages[0]['role'] == 'system' -%}
  {%- set system = '<<SYS>>\\n' ~ messages[0]['content'] ~ '\\n<</SYS>>\\n\\n' -%}
  {%- set turns = messages[1:] -%}
{%- else -%}
  {%- set system, turns = '', messages -%}
{%- endif -%}
{%- for turn in turns -%}
  {%- if (turn['role'] == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('user and assistant must take turns') -}}
  {%- elif turn['role'] == 'user' -%}
    {{- bos_token ~ '[INST] ' ~ (system if loop.first else '') ~ turn['content'].strip() ~ ' [/INST]' -}}
  {%- else -%}
    {{- ' ' ~ turn['content'].strip() ~ ' ' ~ eos_token -}}
  {%- endif -%}
{%- endfor -%}"""

HEADERS: Final = """{{- bos_token }}
{%- set today = strftime_now('%d %b %Y') if strftime_now is defined else '1 Jan 2026' %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- for message in messages %}
<|start_header_id|>{{ message.role }}<|end_header_id|>

{{ 'Today is ' + today + '.\\n' if loop.first and message.role == 'system' }}{{ message.content | trim }}<|eot_id|>
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""

TURNS: Final = """{{ bos_token }}
{%- if messages[0].role == 'system' %}{{ raise_exception('no system role here') }}{% endif %}
{%- for message in messages %}
{%- set role = 'model' if message.role == 'assistant' else message.role %}
<start_of_turn>{{ role }}
{{ message.content | trim }}<end_of_turn>
{%- endfor %}"""

TOOLS: Final = """{%- macro describe(tool) -%}
{{ '<tool>' ~ (tool.function if tool.function is defined else tool) | tojson(indent=2) ~ '</tool>' }}
{%- endmacro -%}
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ describe(tool) }}{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}<|im_end|>
{% endif %}
{%- set ns = namespace(last_query=messages | length - 1, in_step=false) %}
{%- for message in messages[::-1] %}
  {%- set index = messages | length - 1 - loop.index0 %}
  {%- if message.role == 'user' and message.content is string and not message.content.startswith('<result>') %}
    {%- set ns.last_query = index %}{%- break %}
  {%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}
<result>{{ message.content }}</result>
  {%- elif message.tool_calls %}
    {%- for call in message.tool_calls %}
<call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</call>
    {%- endfor %}
  {%- else %}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}
    {%- for part in message.content %}
      {%- if part.type == 'image' or 'image_url' in part %}<image>{% elif 'text' in part %}{{ part.text }}{% endif %}
    {%- endfor %}{% endif %}<|im_end|>
  {%- endif %}
{%- endfor %}"""

THINKING: Final = """{%- for message in messages %}
  {%- set content = message.content %}
  {%- if message.role == 'assistant' and '</think>' in content %}
    {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
    {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
  {%- endif %}
  {%- if loop.last and reasoning is defined and enable_thinking %}<think>{{ reasoning }}</think>{% endif %}
{{ '<|' + message.role + '|>' }}{{ content }}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{{ '<think>\\n' if enable_thinking is not defined }}{% endif %}"""

TRAINING: Final = """{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}
{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}
{%- else -%}{{ message['role'] | upper | replace('_', ' ') }}: {{ message['content'] }}
{%- endif -%}
{%- endfor -%}"""

COLUMNS: Final = """{#- Instruction and answer in blocks, for the smallest of models -#}
{%- set heads = {'user': '### Instruction', 'assistant': '### Response', 'system': '### Context'} -%}
{%- for message in messages | selectattr('role', 'in', ['user', 'assistant', 'system']) | list -%}
{{ heads.get(message.role, '### Note') }}:
{{ message.content | default('', true) | string }}

{% endfor -%}
{%- filter trim %}  {{ '### Response:' if add_generation_prompt else '' }}  {% endfilter -%}"""

FETCHED: Final = """{%- if documents is defined and documents | length > 0 %}
{%- for document in documents | sort(attribute='title') %}
[{{ loop.index }}] {% for key, value in document.items() if key not in ('id', 'score') %}{{ key | title }}: {{ value }}
{% endfor %}{%- endfor %}
{%- endif %}
{%- set questions = messages | map(attribute='content') | join('\\n') %}
{{- questions | truncate(4000, true) | indent(2) }}
{%- for a, b in [(1, 2), (3, 4)] %}{{ '%d-%d ' | format(a, b) }}{% endfor %}
{{- ' ' * 2 }}{{ 2 ** 3 // 2 % 3 }}{{ range(3) | sum }}"""

PLAIN: Final = (
    "{% for m in messages %}{{ m.role|capitalize ~ ': ' ~ m.content ~ '\\n' }}{% else %}(nothing){% endfor %}"
)


def specimens() -> list[Specimen]:
    styles = {
        "chatml": ("Markers around each turn", CHATML),
        "instruct": ("Instructions in brackets, with checks of whose turn it is", INSTRUCT),
        "headers": ("A header before each turn, and the date", HEADERS),
        "turns": ("Turns without a system's", TURNS),
        "tools": ("Tools, calls, results and pictures; macros and namespaces", TOOLS),
        "thinking": ("Reasoning that is cut out of earlier answers", THINKING),
        "training": ("Blocks that mark what is learnt", TRAINING),
        "columns": ("Headlines from a dictionary, a filter block, a comment", COLUMNS),
        "fetched": ("Documents that were looked up; arithmetic and formats", FETCHED),
        "plain": ("One line", PLAIN),
    }
    named = [{"name": name, "template": template} for name, (_, template) in styles.items()]
    in_configs = [
        _tokenizer(
            f"template-{name}", f"A chat template: {description.lower()}", {"tokenizer_config.json": _config(template)}
        )
        for name, (description, template) in styles.items()
    ]
    return [
        *in_configs,
        _tokenizer("templates-named", "All of them in one configuration", {"tokenizer_config.json": _config(named)}),
        _tokenizer(
            "templates-in-files",
            "In files of their own",
            {"chat_template.jinja": CHATML.encode(), "additional_chat_templates/rag.jinja": FETCHED.encode()},
        ),
    ]


def _config(template: Any) -> bytes:
    tokens = {"bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": "</s>", "special": True}}
    return json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", **tokens, "chat_template": template}, indent=2
    ).encode()


def _tokenizer(name: str, description: str, files: dict[str, bytes]) -> Specimen:
    return Specimen(
        name=name,
        category="template",
        reference="template",
        description=description,
        files=files,
        expected=CLEAN,
    )
