"""Print the tables.

A line for each table: name, kind (json or bytes), number of records.

  sessiondb tables --db sessions.json
"""

from __future__ import annotations

import argparse

from ..exit_codes import FINE
from ..locations import add_store_options, open_for_reading, table_for_reading
from ..output import count, print_json, print_table, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_store_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the tables."""
    with open_for_reading(arguments) as db:
        found = [(name, kind, table_for_reading(db, name).count()) for name, kind in db.tables().items()]
        if arguments.json:
            for name, kind, records in found:
                print_json({"table": name, "kind": kind, "records": records})
        elif found:
            print_table([(shown(name), kind, count(records, "record")) for name, kind, records in found], right=[2])
        else:
            print(f"{db.location} has no tables")
    return FINE
