"""The script for bash. It needs no package `bash-completion`, and knows that bash takes names apart at colons."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Final

from modelcar.cli.completion.names import names_command, store_folder
from modelcar.cli.completion.shape import Kind, Program, Verb, Word

__all__ = ["bash_script"]

_SCRIPT: Final = r"""# bash completion for @NAME@, as `@NAME@ completion bash` prints it

@F@_names() {
    @HOME@
    @NAMES@
}

# The words that may stand in a place of one kind, into COMPREPLY.
@F@_fill() {
    case "$1" in
        choice:*) COMPREPLY=($(compgen -W "${1#choice:}" -- "$2")) ;;
        file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$2") ;;
        image) COMPREPLY=($(compgen -W "$(@F@_names)" -- "$2"))
            case "$2" in
                oci:* | oci-archive:*)
                    compopt -o nospace 2>/dev/null
                    mapfile -t COMPREPLY < <(compgen -f -P "${2%%:*}:" -- "${2#*:}") ;;
                *) [ ${#COMPREPLY[@]} -gt 0 ] || { compopt -o filenames 2>/dev/null
                    mapfile -t COMPREPLY < <(compgen -f -- "$2"); } ;;
            esac ;;
    esac
}

# What stands behind an option of a verb.
@F@_value() {
    case "$1" in
@VALUES@
        *) kind="" ;;
    esac
}

# What a verb takes: its options, the words of verbs within it, and its arguments in their order.
@F@_verb() {
    case "$1" in
@VERBS@
        *) options="" verbs="" arguments=() rest="" ;;
    esac
}

@F@() {
    local IFS=$' \t\n' line="${COMP_LINE:0:COMP_POINT}" path="" kind="" position=0 ended="" word options verbs rest i
    local -a words arguments
    read -a words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local cur="${words[${#words[@]}-1]}"
    @F@_verb ""
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word="${words[i]}"
        if [[ -n $kind ]]; then kind=""
        elif [[ -z $ended && $word == -- ]]; then ended=1
        elif [[ -z $ended && $word == -* ]]; then [[ $word == --*=* ]] || @F@_value "$path $word"
        elif [[ -n $verbs ]]; then path="${path:+$path }$word"; @F@_verb "$path"
        else ((position++))
        fi
    done
    COMPREPLY=()
    if [[ -n $kind ]]; then @F@_fill "$kind" "$cur"
    elif [[ -z $ended && $cur == --*=* ]]; then
        @F@_value "$path ${cur%%=*}"
        @F@_fill "$kind" "${cur#*=}"
        COMPREPLY=("${COMPREPLY[@]/#/${cur%%=*}=}")
    elif [[ -z $ended && $cur == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$cur"))
    elif [[ -n $verbs ]]; then COMPREPLY=($(compgen -W "$verbs" -- "$cur"))
    else @F@_fill "${arguments[position]:-$rest}" "$cur"
    fi
    # bash replaces only what stands behind the last character at which it takes words apart
    local breaks="${COMP_WORDBREAKS//[^:=]/}" head=""
    [[ -n $breaks && $cur == *["$breaks"]* ]] && head="${cur%"${cur##*["$breaks"]}"}"
    [[ -n $head ]] && COMPREPLY=("${COMPREPLY[@]#"$head"}")
    return 0
}

complete -F @F@ @NAME@
"""


def bash_script(program: Program, home: Path | None) -> str:
    """The script that `program` completes by; `home` as in `store_folder`."""
    parts = {
        "@HOME@": store_folder(home),
        "@NAMES@": names_command('"$home/store/index.json"'),
        "@VALUES@": "\n".join(line for verb in program.verbs for line in _values(verb)),
        "@VERBS@": "\n".join(_verb(verb) for verb in program.verbs),
        "@F@": program.function,
        "@NAME@": program.name,
    }
    script = _SCRIPT
    for mark, text in parts.items():
        script = script.replace(mark, text)
    return script


def _values(verb: Verb) -> Iterator[str]:
    for option in verb.options:
        if option.value is not None:
            patterns = " | ".join(quote(f"{' '.join(verb.path)} {name}") for name in option.names)
            yield f"        {patterns}) kind={quote(_kind(option.value))} ;;"


def _verb(verb: Verb) -> str:
    options = " ".join(name for option in verb.options for name in option.names)
    arguments = " ".join(quote(_kind(word)) for word in verb.arguments)
    rest = quote(_kind(verb.rest)) if verb.rest is not None else '""'
    return (
        f"        {quote(' '.join(verb.path))}) options={quote(options)}"
        f" verbs={quote(' '.join(verb.verbs))} arguments=({arguments}) rest={rest} ;;"
    )


def _kind(word: Word) -> str:
    return f"choice:{' '.join(word.choices)}" if word.kind is Kind.CHOICE else word.kind.value
