"""Remove records.

All keys are removed together, durably, or none is. Exit code 1 when one was absent; the others are removed.

  sessiondb delete task-123 task-124 --table sessions
"""

from __future__ import annotations

import argparse
import sys

from ..exit_codes import DAMAGE, FINE
from ..locations import WAIT_S_WRITING, add_store_options, add_table_option, open_for_writing, table_for_reading
from ..output import count, print_json, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("keys", metavar="KEY", nargs="+")
    add_table_option(parser)
    add_store_options(parser, wait_s=WAIT_S_WRITING)


def run(arguments: argparse.Namespace) -> int:
    """Remove the records."""
    with open_for_writing(arguments, create=False) as db:
        table = table_for_reading(db, arguments.table)
        keys = list(dict.fromkeys(arguments.keys))
        absent = [key for key in keys if key not in table]
        deleted = table.delete_many([key for key in keys if key not in absent])
        if arguments.json:
            print_json({"deleted": deleted, "absent": absent})
        else:
            print(f"deleted {count(deleted, 'record')} from table {table.name!r} of {db.location}", flush=True)
    if absent:
        names = ", ".join(shown(key) for key in absent)
        print(f"sessiondb delete: not there: {names} (table {table.name!r})", file=sys.stderr)
    return DAMAGE if absent else FINE
