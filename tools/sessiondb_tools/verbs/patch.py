"""Set and remove fields of a record; all its other fields stay. Durable when the command returns.

A change is FIELD=TEXT, or FIELD:=JSON for anything but text. Or all changes are one JSON object of fields and their
values: the only argument behind the key, or standard input when that is "-" or nothing is to be changed otherwise.
--unset FIELD removes a field. Nested objects and lists are replaced as a whole. The record as it is now is printed, as
`sessiondb get` does. Exit code 1 when the key is absent.

  sessiondb patch task-123 branch=main tries:=2 --unset pr --table sessions
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sessiondb import UNSET

from ..exit_codes import DAMAGE, FINE, USAGE, CommandError
from ..field_text import FORM, field_and_value, field_name
from ..json_text import JsonProblem, parse
from ..locations import WAIT_S_WRITING, add_store_options, add_table_option, open_for_writing, table_for_reading
from ..output import as_text, print_json, say_absent, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("changes", metavar="CHANGE", nargs="*", default=[], help=f"{FORM}; or one JSON object")
    parser.add_argument("--unset", metavar="FIELD", action="append", default=[], help="remove this field")
    add_table_option(parser)
    add_store_options(parser, wait_s=WAIT_S_WRITING)


def run(arguments: argparse.Namespace) -> int:
    """Change the record and print it."""
    key = arguments.key
    changes = _changes(arguments.changes, arguments.unset)
    with open_for_writing(arguments, create=False) as db:
        table = table_for_reading(db, arguments.table)
        try:
            record = table.patch(key, changes)
        except KeyError:
            say_absent("patch", key, table.name, db.location)
            return DAMAGE
    if arguments.json:
        print_json(record)
    else:
        print(as_text(record))
    return FINE


def _changes(words: list[str], unset: list[str]) -> dict[str, Any]:
    """What to change, before the store is touched.

    Raises:
        CommandError: a change of another form, or two changes of one field.
    """
    if words == ["-"] or not (words or unset):
        changes = _object(sys.stdin.buffer.read(), "standard input")
    elif len(words) == 1 and words[0].lstrip().startswith("{"):
        changes = _object(words[0], "the JSON argument")
    else:
        changes = {}
        for word in words:
            field, value = field_and_value(word)
            _once(field, changes)
            changes[field] = value
    for field in unset:
        _once(field_name(field), changes)
        changes[field] = UNSET
    return changes


def _once(field: str, changes: dict[str, Any]) -> None:
    if field in changes:
        raise CommandError(
            f"the field {shown(field)} is changed twice; next: leave one of them out; nothing was written", USAGE
        )


def _object(text: str | bytes, place: str) -> dict[str, Any]:
    try:
        made = parse(text)
    except JsonProblem as problem:
        raise CommandError(
            f"{place} is no JSON object: {problem}; next: correct it; nothing was written", USAGE
        ) from None
    if not isinstance(made, dict):
        raise CommandError(
            f"{place} is no JSON object of fields and their values; next: correct it; nothing was written", USAGE
        )
    return made
