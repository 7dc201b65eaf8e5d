"""Store a record, durable when the command returns.

The record is JSON text: the second argument, or standard input when that is missing or "-". The store is made when
nothing is there. An existing record is replaced as a whole.

  sessiondb put task-123 '{"branch": "main"}' --table sessions
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..exit_codes import FINE, USAGE, CommandError
from ..json_text import JsonProblem, parse
from ..locations import WAIT_S_WRITING, add_store_options, add_table_option, open_for_writing
from ..output import print_json, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("record", metavar="JSON", nargs="?", default="-")
    add_table_option(parser, may_be_new=True)
    add_store_options(parser, wait_s=WAIT_S_WRITING)


def run(arguments: argparse.Namespace) -> int:
    """Store the record."""
    record = _read(arguments.record)
    with open_for_writing(arguments, create=True) as db:
        position = db.table(arguments.table, Any).put(arguments.key, record)
        if arguments.json:
            print_json({"key": arguments.key, "position": str(position)})
        else:
            print(f"stored {shown(arguments.key)} in table {arguments.table!r} of {db.location} at {position}")
    return FINE


def _read(given: str) -> Any:
    text: str | bytes = sys.stdin.buffer.read() if given == "-" else given
    place = "standard input" if given == "-" else "the JSON argument"
    try:
        return parse(text)
    except JsonProblem as problem:
        raise CommandError(f"{place} is no record: {problem}; next: correct it; nothing was written", USAGE) from None
