"""Print the records of a table in key order.

A line for each record: the key, a tab, the record as JSON; with --json an object {"key": ..., "record": ...}.

  sessiondb list --table sessions --prefix task- --limit 10
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from ..exit_codes import FINE
from ..locations import add_store_options, add_table_option, open_for_reading, table_for_reading
from ..output import print_record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("--prefix", default="", help="only keys that begin with this")
    parser.add_argument("--limit", type=int, metavar="N", help="at most this many")
    parser.add_argument("--keys", action="store_true", help="only the keys")
    add_table_option(parser)
    add_store_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the records."""
    with open_for_reading(arguments) as db:
        table = table_for_reading(db, arguments.table)
        records: Iterator[tuple[str, object]] = table.scan(arguments.prefix, limit=arguments.limit)
        for key, record in records:
            print_record(key, record, keys_only=arguments.keys, as_json=arguments.json)
    return FINE
