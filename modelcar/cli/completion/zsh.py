"""The script for zsh: one function a verb, each with its `_arguments`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Final

from modelcar.cli.completion.names import names_command, store_folder
from modelcar.cli.completion.shape import Kind, Option, Program, Verb, Word

__all__ = ["zsh_script"]

_HEAD: Final = """#compdef @NAME@
# zsh completion for @NAME@, as `@NAME@ completion zsh` prints it

@F@_names() {
    if compset -P '(oci|oci-archive):'; then
        _files
        return
    fi
    @HOME@
    local -a names
    names=(${(f)"$(@NAMES@)"})
    compadd -a names || _files
}
"""
_TAIL: Final = """
if [ "$funcstack[1]" = "@F@" ]; then
    @F@ "$@"
else
    compdef @F@ @NAME@
fi
"""


def zsh_script(program: Program, home: Path | None) -> str:
    """The script that `program` completes by; `home` as in `store_folder`. It can be sourced, or lie in `fpath`."""
    head = _HEAD.replace("@HOME@", store_folder(home)).replace("@NAMES@", names_command('"$home/store/index.json"'))
    texts = {verb.path: verb.help for verb in program.verbs}
    functions = [_function(program, verb, texts) for verb in reversed(program.verbs)]
    script = "\n".join([head, *functions, _TAIL])
    return script.replace("@F@", program.function).replace("@NAME@", program.name)


def _function(program: Program, verb: Verb, texts: dict[tuple[str, ...], str]) -> str:
    name = _name(program, verb.path)
    specs = [spec for option in verb.options for spec in _specs(program, option)]
    if not verb.verbs:
        specs += [quote(f":{_plain(word.name)}:{_action(program, word)}") for word in verb.arguments]
        if verb.rest is not None:
            specs.append(quote(f"*:{_plain(verb.rest.name)}:{_action(program, verb.rest)}"))
        body = " \\\n        ".join(["_arguments -S", *specs])
        return f"{name}() {{\n    {body}\n}}\n"
    specs += [quote("1:command:->verb"), quote("*::argument:->rest")]
    inner = "\n".join(f"            {quote(f'{word}:{_plain(texts[(*verb.path, word)])}')}" for word in verb.verbs)
    calls = "\n".join(f"            {word}) {_name(program, (*verb.path, word))} ;;" for word in verb.verbs)
    body = " \\\n        ".join(["_arguments -C -S", *specs])
    return f"""{name}() {{
    local state line curcontext="$curcontext"
    {body}
    case $state in
    verb)
        local -a verbs
        verbs=(
{inner}
        )
        _describe command verbs ;;
    rest)
        case $line[1] in
{calls}
        esac ;;
    esac
}}
"""


def _specs(program: Program, option: Option) -> Iterator[str]:
    others = "*" if option.repeatable else f"({' '.join(option.names)})"
    for name in option.names:
        sign = "=" if option.value is not None and name.startswith("--") else ""
        value = f":{_plain(option.value.name)}:{_action(program, option.value)}" if option.value is not None else ""
        yield quote(f"{others}{name}{sign}[{_plain(option.help)}]{value}")


def _action(program: Program, word: Word) -> str:
    if word.kind is Kind.CHOICE:
        return f"({' '.join(word.choices)})"
    return {Kind.FILE: "_files", Kind.IMAGE: f"{program.function}_names"}.get(word.kind, " ")


def _name(program: Program, path: tuple[str, ...]) -> str:
    return "_".join([program.function, *(word.replace("-", "_") for word in path)])


def _plain(text: str) -> str:
    """What stands in a specification must not end its part of it."""
    for mark in "\\[]:":
        text = text.replace(mark, f"\\{mark}")
    return text
