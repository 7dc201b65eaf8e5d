"""The entry point of the `sessiondb` command: finds the verb's module, runs it, says what went wrong.

A verb's module is imported only when the verb is called, so that none pays for the others. It has `add_arguments`
and `run`, which returns the exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from .masking import Parser, masked

__all__ = ["VERBS", "main", "make_parser"]

USAGE_WIDTH = 100


class Verb(NamedTuple):
    """Where a verb is implemented, and what it does in a line."""

    module: str
    summary: str


VERBS = {
    "demo": Verb("demo", "kill a writer again and again and prove that nothing acknowledged is lost"),
    "status": Verb("status", "where the store is and how it is: positions, log, last recovery"),
    "get": Verb("get", "print a record"),
    "put": Verb("put", "store a record, durable when the command returns"),
    "patch": Verb("patch", "set and remove fields of a record"),
    "delete": Verb("delete", "remove records"),
    "find": Verb("find", "print the records whose fields hold what is asked for"),
    "search": Verb("search", "print the sessions that hold a text"),
    "list": Verb("list", "print the records of a table in key order"),
    "tables": Verb("tables", "print the tables with their kinds and counts"),
    "checkpoint": Verb("checkpoint", "move what is in the log into the backend"),
    "import": Verb("import_", "store what other programs left behind: JSON, CSV, sqlitedict, diskcache, shelve, ..."),
    "migrate": Verb("migrate", "make one store hold what another one holds, on any backend; a preview by default"),
    "init": Verb("init", "make the store; --print shows what a server needs"),
    "config show": Verb("config_show", "print each setting with its value and where it comes from"),
    "completion": Verb("completion", "print a script that completes the command in bash or zsh"),
    "export": Verb("export", "write records as JSON Lines; what another host's take-over left here"),
    "check": Verb("check", "read everything there is and say what is wrong, changing nothing"),
    "log dump": Verb("log_dump", "print the log's segments and frames"),
    "log verify": Verb("log_verify", "check log and backend, changing nothing"),
    "bench run": Verb("bench_run", "measure sessiondb and other stores on this disk, and on your server"),
    "bench compare": Verb("bench_compare", "say what became slower between two results"),
    "bench report": Verb("bench_report", "draw results: a page with charts, pictures, Markdown"),
}


class VerbModule(Protocol):
    """What a module in `sessiondb_tools.verbs` has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what the verb takes."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments behind the command's name; default `sys.argv`.

    Returns:
        The exit code, see `sessiondb_tools.exit_codes`.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    from . import exit_codes

    name, rest = _split(given)
    try:
        code = _without_verb(given) if name is None else _run(name, rest)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("sessiondb: interrupted", file=sys.stderr)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        _flush_stdout()
        return exit_codes.PIPE_CLOSED
    except Exception as error:
        message = _explain(error)
        if message is None:
            raise
        _flush_stdout()  # what was printed comes before the error
        print(f"sessiondb {name}: {masked(message)}", file=sys.stderr)
        return exit_codes.exit_code(error)


def _split(given: list[str]) -> tuple[str | None, list[str]]:
    """The verb, of one word or two, and what follows it; ``None`` when the first words are no verb."""
    for words in (1, 2):
        name = " ".join(given[:words])
        if len(given) >= words and name in VERBS:
            return name, given[words:]
    return None, given


def _run(name: str, rest: list[str]) -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # JSON is UTF-8 in every locale
    module = _module(name)
    try:
        arguments = _parse(make_parser(name, module, full_width="-h" in rest or "--help" in rest), rest)
    except SystemExit as error:  # argparse has said what is wrong, or printed the help
        return int(error.code or 0)
    from .messages import hide_messages, show_messages

    show_messages()
    try:
        return module.run(arguments)
    finally:
        hide_messages()


def _module(name: str) -> VerbModule:
    module: VerbModule = import_module(f".verbs.{VERBS[name].module}", __package__)
    return module


def make_parser(name: str, module: VerbModule | None = None, *, full_width: bool = True) -> argparse.ArgumentParser:
    """The parser of a verb.

    Args:
        name: the verb.
        module: its module, if that is at hand.
        full_width: use the terminal's width. Asking for it imports what unpacks archives, too much for every command.
    """
    module = module or _module(name)
    formatter: Any = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog=f"sessiondb {name}",
        description=module.__doc__,
        formatter_class=formatter if full_width else partial(formatter, width=USAGE_WIDTH),
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def _parse(parser: argparse.ArgumentParser, rest: list[str]) -> argparse.Namespace:
    """Parse in the ways that people expect and argparse has no answer for.

    Options may stand between the positional arguments: ``patch KEY --db x.json branch=main``. And an option's value may
    begin with a dash: ``--order-by -created``; but for -h every option of ours has two, so it cannot be another one.
    Behind ``--`` everything is positional, which only argparse's plain way knows.
    """
    stop = rest.index("--") if "--" in rest else len(rest)
    joined: list[str] = []
    for word in rest[:stop]:
        before = joined[-1] if joined else ""
        opens = before.startswith("--") and "=" not in before
        if opens and len(word) > 1 and word[0] == "-" and word[1] != "-" and word != "-h":
            joined[-1] = f"{before}={word}"
        else:
            joined.append(word)
    if stop < len(rest):
        return parser.parse_args(joined + rest[stop:])
    return parser.parse_intermixed_args(joined)


def _explain(error: Exception) -> str | None:
    """What to say of an error: cause, place, next step; ``None`` for a mistake in this program."""
    from sessiondb.errors import SessionDBError

    from .exit_codes import CommandError

    if isinstance(error, (SessionDBError, CommandError)):
        return str(error)
    if isinstance(error, OSError):
        place = "" if error.filename is None else f" ({error.filename})"
        return f"{error.strerror or error}{place}; next: mend the cause and try again"
    return None


def _flush_stdout() -> None:
    """Print what is still buffered; if nobody reads it any more, let it go nowhere, also at the interpreter's exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)


# ---- without a verb


def _without_verb(given: list[str]) -> int:
    if given and given[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if given and given[0] == "--version":
        import sessiondb

        print(f"sessiondb {sessiondb.__version__}")
        return 0
    print(f"sessiondb: {masked(_unknown(given))}; next: sessiondb --help" if given else _usage(), file=sys.stderr)
    return 2


def _unknown(given: list[str]) -> str:
    from difflib import get_close_matches

    if given[0].startswith("-"):
        return f"the verb comes first, then its options: sessiondb VERB {given[0]} ..."
    near = get_close_matches(" ".join(given[:2]), VERBS) or get_close_matches(given[0], VERBS)
    family = [name for name in VERBS if name.startswith(f"{given[0]} ")]
    near = family or near
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"there is no verb {given[0]!r}{hint}"


def _usage() -> str:
    lines = [
        "usage: sessiondb VERB [--db LOCATION] [--table NAME] [--json] ...",
        "",
        "Durable records: every change is in a write-ahead log before the command returns.",
        "",
    ]
    lines += [f"  {name:<13} {verb.summary}" for name, verb in VERBS.items()]
    lines += [
        "",
        "sessiondb VERB --help says what a verb takes.",
        "Without --db: what SESSIONDB_URL or SESSIONDB_BACKEND mean, else what the configuration file means (--config,",
        "SESSIONDB_CONFIG, ~/.config/sessiondb/config.toml), else ~/.local/state/sessiondb/sessions.json.",
        "`sessiondb config show` says which it is, and why.",
        "Exit codes: 0 fine, 1 damage, a difference or a regression found, 2 wrong usage, 3 could not look or act.",
    ]
    return "\n".join(lines)
