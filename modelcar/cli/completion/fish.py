"""The script for fish: a line for each verb and each option."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modelcar.cli.completion.names import names_command
from modelcar.cli.completion.shape import Kind, Option, Program, Verb, Word

__all__ = ["fish_script"]

_HEAD: Final = """# fish completion for @NAME@, as `@NAME@ completion fish` prints it

function _@F@_names
    set -l token (commandline -ct)
    if string match -qr '^(oci|oci-archive):' -- $token
        set -l parts (string split -m 1 : -- $token)
        string replace -r '^' "$parts[1]:" -- (__fish_complete_path $parts[2])
        return
    end
    set -l home $MODELCAR_HOME
    if test -z "$home"
        @HOME@
    end
    set -l names (@NAMES@)
    if string match -qr -- "^"(string escape --style=regex -- $token) $names; or test -z "$token"
        printf '%s\\n' $names
    else
        __fish_complete_path $token
    end
end

# The words of the command line so far that are no options.
function _@F@_said
    for word in (commandline -opc)[2..-1]
        if not string match -q -- '-*' $word
            printf '%s\\n' $word
        end
    end
end

# Whether these are the verbs of the command line so far.
function _@F@_at
    set -l said (_@F@_said)
    set -l wanted $argv
    test (count $said) -ge (count $wanted); or return 1
    for i in (seq (count $wanted))
        test "$said[$i]" = "$wanted[$i]"; or return 1
    end
end

# Whether exactly these are, and the next word is a verb, too.
function _@F@_before
    set -l said (_@F@_said)
    test "$said" = "$argv"
end

complete -c @NAME@ -f
"""


def fish_script(program: Program, home: Path | None) -> str:
    """The script that `program` completes by; `home` is where the configuration says the store lies, if it says so."""
    place = (
        f"set home {_quoted(str(home))}"
        if home is not None
        else "set -q XDG_DATA_HOME; and set home $XDG_DATA_HOME/modelcar; or set home $HOME/.local/share/modelcar"
    )
    head = _HEAD.replace("@HOME@", place).replace("@NAMES@", names_command("$home/store/index.json"))
    texts = {verb.path: verb.help for verb in program.verbs}
    lines = [line for verb in program.verbs for line in _lines(verb, texts)]
    function = program.name.replace("-", "_")
    return "\n".join([head, *lines, ""]).replace("@F@", function).replace("@NAME@", program.name)


def _lines(verb: Verb, texts: dict[tuple[str, ...], str]) -> Iterator[str]:
    words = " ".join(verb.path)
    here = f"complete -c @NAME@ -n {_quoted(f'_@F@_at {words}'.strip() if words else '_@F@_before')}"
    for word in verb.verbs:
        before = f"_@F@_before {words}".strip()
        yield f"complete -c @NAME@ -n {_quoted(before)} -a {word} -d {_quoted(texts[(*verb.path, word)])}"
    for option in verb.options:
        yield f"{here} {_option(option)}"
    for kind in dict.fromkeys(word.kind for word in (*verb.arguments, *((verb.rest,) if verb.rest else ()))):
        if kind is Kind.FILE:
            yield f"{here} -F"
        elif kind is Kind.IMAGE:
            yield f"{here} -a '(_@F@_names)'"
    for word in (*verb.arguments, *((verb.rest,) if verb.rest else ())):
        if word.kind is Kind.CHOICE:
            yield f"{here} -a {_quoted(' '.join(word.choices))}"


def _option(option: Option) -> str:
    names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
    return " ".join(filter(None, (names, _value(option.value), f"-d {_quoted(option.help)}")))


def _value(word: Word | None) -> str:
    if word is None:
        return ""
    if word.kind is Kind.CHOICE:
        return f"-x -a {_quoted(' '.join(word.choices))}"
    return {Kind.FILE: "-r -F", Kind.IMAGE: "-x -a '(_@F@_names)'"}.get(word.kind, "-x")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
