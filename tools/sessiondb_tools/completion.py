"""Completion scripts, made of the verbs' own parsers.

The scripts hold all words, so that pressing TAB starts no Python. Where they know no word, the shell completes files.
"""

from __future__ import annotations

import argparse
import re
from typing import NamedTuple

from .main import VERBS, make_parser

__all__ = ["bash_script", "zsh_script"]

FILES = {"LOCATION", "FILE", "DIR"}
"""What a value is called where it is a path."""


class Option(NamedTuple):
    """An option of a verb."""

    name: str
    help: str
    value: str
    """What its value is called; empty for a switch."""
    values: int
    repeatable: bool


class Words(NamedTuple):
    """What may follow a verb."""

    options: list[Option]
    choices: list[str]
    """Fixed words for its argument."""


def _words() -> dict[str, Words]:
    return {name: _words_of(make_parser(name)) for name in VERBS}


def _words_of(parser: argparse.ArgumentParser) -> Words:
    options: list[Option] = []
    choices: list[str] = []
    for action in parser._actions:
        if not action.option_strings:
            choices += [str(choice) for choice in action.choices or ()]
            continue
        values = 0 if action.nargs == 0 else action.nargs if isinstance(action.nargs, int) else 1
        names = action.metavar if isinstance(action.metavar, tuple) else (action.metavar or action.dest.upper(),)
        repeatable = type(action).__name__ == "_AppendAction"
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        options += [
            Option(name, text, names[0] if values else "", values, repeatable)
            for name in action.option_strings
            if name.startswith("--")
        ]
    return Words(options, choices)


def _families() -> dict[str, list[str]]:
    """First word to the second ones, of verbs of two words."""
    families: dict[str, list[str]] = {}
    for name in VERBS:
        first, _, second = name.partition(" ")
        if second:
            families.setdefault(first, []).append(second)
    return families


def _first_words() -> list[str]:
    return list(dict.fromkeys(name.partition(" ")[0] for name in VERBS))


# ---- bash

BASH = """\
# Completion of the command sessiondb in bash, made by `sessiondb completion bash`.
_sessiondb() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" verb="${COMP_WORDS[1]}"
    local words= options= valued=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "@VERBS@ --help --version" -- "$cur"))
        return
    fi
    case "$verb" in
@FAMILIES@
    esac
    case "$verb" in
@CASES@
    esac
    case " $valued " in
        *" $prev "*) return ;;
    esac
    case "$cur" in
        -*) COMPREPLY=($(compgen -W "$options" -- "$cur")) ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
    esac
}
complete -o bashdefault -o default -F _sessiondb sessiondb
"""

BASH_FAMILY = """\
        @FIRST@)
            if [ "$COMP_CWORD" -eq 2 ]; then
                COMPREPLY=($(compgen -W "@SECONDS@" -- "$cur"))
                return
            fi
            verb="@FIRST@ ${COMP_WORDS[2]}" ;;"""

BASH_CASE = """\
        '@NAME@') options="@OPTIONS@" valued="@VALUED@" words="@WORDS@" ;;"""


def bash_script() -> str:
    """For bash 3.2 and later."""
    families = [_filled(BASH_FAMILY, FIRST=first, SECONDS=" ".join(words)) for first, words in _families().items()]
    cases = [
        _filled(
            BASH_CASE,
            NAME=name,
            OPTIONS=" ".join(option.name for option in words.options),
            VALUED=" ".join(option.name for option in words.options if option.value),
            WORDS=" ".join(words.choices),
        )
        for name, words in _words().items()
    ]
    return _filled(BASH, VERBS=" ".join(_first_words()), FAMILIES="\n".join(families), CASES="\n".join(cases))


# ---- zsh

ZSH = """\
#compdef sessiondb
# Completion of the command sessiondb in zsh, made by `sessiondb completion zsh`.
_sessiondb() {
    local -a verbs
    local verb="$words[2]"
    if (( CURRENT == 2 )); then
        verbs=(@VERBS@)
        _describe verb verbs
        return
    fi
    case "$verb" in
@FAMILIES@
    esac
    shift words
    (( CURRENT-- ))
    case "$verb" in
@CASES@
    esac
}
if [ "$funcstack[1]" = _sessiondb ]; then
    _sessiondb "$@"
else
    compdef _sessiondb sessiondb
fi
"""

ZSH_FAMILY = """\
        @FIRST@)
            if (( CURRENT == 3 )); then
                verbs=(@SECONDS@)
                _describe verb verbs
                return
            fi
            verb="$verb $words[3]"
            shift words
            (( CURRENT-- )) ;;"""

ZSH_CASE = """\
        '@NAME@') _arguments @SPECS@ ;;"""


def zsh_script() -> str:
    """To be sourced when completion has been set up, or to lie in a folder of ``fpath`` as ``_sessiondb``."""
    summaries = {name: verb.summary for name, verb in VERBS.items()}
    verbs = [f"{first}:{summaries.get(first) or ', '.join(_families()[first])}" for first in _first_words()]
    families = []
    for first, words in _families().items():
        seconds = [f"{word}:{summaries[f'{first} {word}']}" for word in words]
        families.append(_filled(ZSH_FAMILY, FIRST=first, SECONDS=" ".join(map(_quoted, seconds))))
    cases = [_filled(ZSH_CASE, NAME=name, SPECS=" ".join(_specs(words))) for name, words in _words().items()]
    return _filled(ZSH, VERBS=" ".join(map(_quoted, verbs)), FAMILIES="\n".join(families), CASES="\n".join(cases))


def _specs(words: Words) -> list[str]:
    """What ``_arguments`` of zsh is told."""
    specs = [_quoted(_spec(option)) for option in words.options]
    return [*specs, _quoted(f"*:word:({' '.join(words.choices)})" if words.choices else "*:file:_files")]


def _spec(option: Option) -> str:
    text = re.sub(r"([\[\]:\\])", r"\\\1", option.help)
    value = f":{option.value.replace(':', ' ')}:{'_files' if option.value in FILES else ' '}"
    return f"{'*' if option.repeatable else ''}{option.name}[{text}]{value * option.values}"


def _quoted(text: str) -> str:
    """As one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _filled(template: str, **parts: str) -> str:
    return re.sub(r"@([A-Z]+)@", lambda match: parts[match[1]], template)
