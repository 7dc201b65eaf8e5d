"""Completion scripts: tried in a shell, as far as there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sessiondb_tools.main import VERBS, make_parser

FIRST_WORDS = {name.split()[0] for name in VERBS}
needs_zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")


def options_of(verb: str) -> set[str]:
    return {name for action in make_parser(verb)._actions for name in action.option_strings if name.startswith("--")}


@pytest.fixture
def complete(run: Any, tmp_path: Path) -> Any:
    """What bash offers for the last of the words."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    done = run("completion", "bash")
    assert (done.code, done.err) == (0, "")
    script = tmp_path / "completion.bash"
    script.write_text(done.out)

    def offered(*words: str) -> list[str]:
        program = (
            'source "$1" || exit 9; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sessiondb; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        ended = subprocess.run(
            ["bash", "--norc", "-uc", program, "bash", str(script), "sessiondb", *words],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert ended.stderr == ""
        return ended.stdout.split()

    return offered


def test_verbs_are_completed(complete: Any) -> None:
    assert set(complete("")) == FIRST_WORDS | {"--help", "--version"}
    assert complete("ge") == ["get"]
    assert complete("check") == ["checkpoint", "check"]
    assert complete("nosuch") == []


def test_verbs_of_two_words_are_completed(complete: Any) -> None:
    assert complete("log", "") == ["dump", "verify"]
    assert complete("config", "s") == ["show"]
    assert set(complete("log", "dump", "--")) == options_of("log dump")


@pytest.mark.parametrize("verb", VERBS)
def test_the_options_of_every_verb_are_completed(complete: Any, verb: str) -> None:
    assert set(complete(*verb.split(), "--")) == options_of(verb)
    assert "--help" in complete(*verb.split(), "KEY", "--he")


def test_fixed_words_are_completed(complete: Any) -> None:
    assert complete("completion", "") == ["bash", "zsh"]
    assert complete("completion", "z") == ["zsh"]


@pytest.mark.parametrize(
    "words", [("get", "--db", ""), ("get", "--db", "x"), ("get", "--table", "--"), ("put", ""), ("nosuch", "--")]
)
def test_where_no_word_is_known_the_shell_completes_files(complete: Any, words: tuple[str, ...]) -> None:
    assert complete(*words) == []


@pytest.mark.parametrize("word", ["$(touch pwned)", "`touch pwned`", "'", '"', "*", "a b", ";touch pwned"])
def test_what_was_typed_is_not_run(complete: Any, word: str, tmp_path: Path) -> None:
    complete("get", word)
    complete(word, "x")
    complete("get", word, "--")
    assert not (tmp_path / "pwned").exists()


def test_bash_is_told_what_to_complete(run: Any) -> None:
    assert run("completion", "bash").out.endswith("complete -o bashdefault -o default -F _sessiondb sessiondb\n")


def test_the_script_for_zsh_knows_every_verb_and_option(run: Any) -> None:
    done = run("completion", "zsh")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("#compdef sessiondb\n")
    for verb in VERBS:
        (line,) = [line for line in done.out.splitlines() if line.strip().startswith(f"'{verb}') _arguments ")]
        assert [option for option in options_of(verb) if f"{option}[" not in line] == []


@needs_zsh
def test_zsh_takes_the_script(run: Any, tmp_path: Path) -> None:
    script = tmp_path / "_sessiondb"
    script.write_text(run("completion", "zsh").out)
    program = 'compdef() { print "$@" }; source "$1"; whence -w _sessiondb'
    ended = subprocess.run(
        ["zsh", "-f", "-c", program, "zsh", str(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stderr == ""
    assert ended.stdout == "_sessiondb sessiondb\n_sessiondb: function\n"


def test_another_shell_is_wrong_usage(run: Any) -> None:
    assert run("completion", "fish").code == 2
    assert run("completion").code == 2
