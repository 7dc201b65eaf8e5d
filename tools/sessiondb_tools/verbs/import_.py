"""Store the records of a JSON or JSON Lines file.

Three forms: with --id FIELD a JSON array of objects, or JSON Lines (an object a line, read in bounded memory: only
the keys are kept); without --id one object whose names are the keys. "-" is standard input.

The whole input is checked before the first record is written. A key that the store has already is an error, and then
nothing is written, unless --replace says to overwrite it. Records are written in batches of up to 1,000; each batch is
durable as a whole or not there. After a crash in between, run the import again with --replace.

  sessiondb import sessions.jsonl --id session --table sessions
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..exit_codes import FINE, USAGE, CommandError
from ..locations import WAIT_S_WRITING, add_store_options, add_table_option, open_for_writing
from ..output import count, print_json, shown
from ..records_input import RecordsInput, check_all

if TYPE_CHECKING:
    from sessiondb import Table

BATCH_RECORDS_MAX = 1_000
BATCH_BYTES_MAX = 4 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("input", metavar="FILE")
    parser.add_argument("--id", metavar="FIELD", help="the field that holds a record's key")
    parser.add_argument("--replace", action="store_true", help="overwrite records that exist")
    add_table_option(parser)
    add_store_options(parser, wait_s=WAIT_S_WRITING)


def run(arguments: argparse.Namespace) -> int:
    """Check, then write."""
    with RecordsInput(arguments.input, arguments.id) as source:
        keys = check_all(source, arguments.table)
        with open_for_writing(arguments, create=True) as db:
            table: Table[Any] = db.table(arguments.table, Any)
            existing = [key for key in keys if key in table]
            if existing and not arguments.replace:
                raise _exists(db.location, arguments.table, min(existing), len(existing))
            written, batches = _write(source, table)
            position = db.position()
            if arguments.json:
                print_json(
                    {"written": written, "replaced": len(existing), "batches": batches, "table": arguments.table,
                     "location": db.location, "position": str(position)}
                )  # fmt: skip
            else:
                replaced = f" ({len(existing):,} replaced)" if existing else ""
                print(
                    f"wrote {count(written, 'record')}{replaced} in {count(batches, 'batch')} to table "
                    f"{arguments.table!r} of {db.location}, which is at {position}"
                )
    return FINE


def _write(source: RecordsInput, table: Table[Any]) -> tuple[int, int]:
    """Write all records in atomic batches; how many records and batches."""
    batch: dict[str, Any] = {}
    size = written = batches = 0
    for _, key, record, bytes_ in source:
        batch[key] = record
        size += bytes_
        if len(batch) >= BATCH_RECORDS_MAX or size >= BATCH_BYTES_MAX:
            table.put_many(batch)
            written, batches = written + len(batch), batches + 1
            batch, size = {}, 0
    if batch:
        table.put_many(batch)
        written, batches = written + len(batch), batches + 1
    return written, batches


def _exists(location: str, table: str, key: str, number: int) -> CommandError:
    others = f" and {count(number - 1, 'other')}" if number > 1 else ""
    return CommandError(
        f"the key {shown(key)}{others} exists already in table {table!r} of {location}; nothing was written; "
        "next: --replace overwrites existing records, --table chooses another table",
        USAGE,
    )
