"""Print a record.

It is printed as indented JSON (with --json: in one line). A record of a bytes table is written as it is
(with --json: as base64). Exit code 1 when the key is absent.

  sessiondb get task-123 --table sessions
"""

from __future__ import annotations

import argparse
import sys

from ..exit_codes import DAMAGE, FINE
from ..locations import add_store_options, add_table_option, open_for_reading, table_for_reading
from ..output import as_text, print_json, say_absent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("key", metavar="KEY")
    add_table_option(parser)
    add_store_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the record."""
    with open_for_reading(arguments) as db:
        table = table_for_reading(db, arguments.table)
        if arguments.key not in table:
            say_absent("get", arguments.key, table.name, db.location)
            return DAMAGE
        record = table[arguments.key]
    if arguments.json:
        print_json(record)
    elif isinstance(record, bytes):
        sys.stdout.buffer.write(record)
    else:
        print(as_text(record))
    return FINE
