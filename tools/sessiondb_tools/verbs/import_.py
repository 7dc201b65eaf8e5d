"""Store what another program left behind: JSON, JSON Lines, CSV, and the files of key-value stores.

--from says what PATH is; left out, it is found out where the content is unmistakable:

  json        with --id FIELD an array of objects, without it one object whose names are the keys
  jsonl       JSON Lines, an object a line; --id FIELD holds the key
  csv         a line of names, then rows; --id FIELD holds the key
  tinydb      the JSON file of a TinyDB
  sqlitedict  a database of sqlitedict
  diskcache   a folder of diskcache
  shelve      a shelf, on any dbm
  dbm         a dbm; --values says what its values hold
  redis       a dump of Redis as JSON
  export      what `sessiondb export` wrote, one table of it
  sessions    the session files of the predecessor, and backups of them

Pickles are read without running anything: plain data comes out, anything else is named and stops the import. Nothing of
the source is changed.

The whole input is checked before the first record is written. A key that the store has already is an error, and then
nothing is written, unless --replace says to overwrite it. Records are written in batches of up to 1,000; each batch is
durable as a whole or not there. After a crash in between, run the import again with --replace. "-" is standard input.

  sessiondb import sessions.jsonl --id session --table sessions
  sessiondb import --from sqlitedict cache.sqlite --convert tuples,times
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from sessiondb.errors import ValidationError

from ..exit_codes import FINE, USAGE, CommandError, exit_code
from ..importing.checking import Verdict, accepted, check_source
from ..importing.kinds import KINDS, kind_of, open_kind
from ..importing.plain import CONVERSIONS, Plainer
from ..importing.source import Choices, Source, Unreadable, printable
from ..importing.values import ENCODINGS, check_encoding, makes_bytes
from ..locations import WAIT_S_WRITING, add_store_options, open_for_writing
from ..output import count, print_json, shown

if TYPE_CHECKING:
    from sessiondb import Database, Table

BATCH_RECORDS_MAX = 1_000
BATCH_BYTES_MAX = 4 << 20
TABLE = "records"
TEXT_MAX = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("input", metavar="PATH")
    parser.add_argument("--from", dest="kind", choices=KINDS, metavar="KIND", help="what PATH is: see above")
    parser.add_argument("--id", metavar="FIELD", help="the field that holds a record's key")
    parser.add_argument("--source-table", metavar="NAME", help="which table of PATH, where it has more than one")
    values_help = f"how values are encoded: {', '.join(ENCODINGS)}, zlib+json and the like"
    parser.add_argument("--values", metavar="ENCODING", help=values_help)
    convert_help = f"change what JSON has no form for: {', '.join(CONVERSIONS)}, or all"
    parser.add_argument("--convert", metavar="KIND,...", help=convert_help)
    parser.add_argument("--delimiter", metavar="CHARACTER", help='between the fields of CSV, "tab" for a tab')
    parser.add_argument("--ignore-expiry", action="store_true", help="store for ever what would have expired later")
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out what cannot be read, and list it")
    parser.add_argument("--replace", action="store_true", help="overwrite records that exist")
    parser.add_argument("--table", metavar="NAME", help=f"the table (default: {TABLE}, or that of the source)")
    add_store_options(parser, wait_s=WAIT_S_WRITING)


def run(arguments: argparse.Namespace) -> int:
    """Check, then write."""
    choices = _choices(arguments)
    kind = kind_of(arguments.input) if arguments.kind is None else arguments.kind
    source = open_kind(kind, arguments.input, choices, _given(arguments))
    try:
        # An export knows the name of its table, and what that holds; sessions have their table.
        name = arguments.table or getattr(source, "table", None) or ("sessions" if kind == "sessions" else TABLE)
        holds_bytes = makes_bytes(arguments.values) or getattr(source, "holds_bytes", False)
        record_type: Any = bytes if holds_bytes else Any
        verdict = check_source(source, name, record_type, skip=arguments.skip_unreadable, report=_report)
        _must_be_good(arguments, source, verdict, "convert" in KINDS[kind or "json"].options)
        with open_for_writing(arguments, create=True) as db:
            table: Table[Any] = db.table(name, record_type)
            existing = [key for key in verdict.keys if key in table]
            if existing and not arguments.replace:
                raise _exists(db.location, name, min(existing), len(existing))
            written, batches = _write(source, verdict, table)
            _say(arguments, db, name, source, verdict, (written, batches, len(existing)))
    finally:
        source.close()
    return FINE


# ---- the command line


def _choices(arguments: argparse.Namespace) -> Choices:
    if arguments.values is not None:
        check_encoding(arguments.values)
    delimiter = "\t" if arguments.delimiter in ("tab", "\\t") else arguments.delimiter or ","
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise CommandError(f"--delimiter {arguments.delimiter!r} is not one character", USAGE)
    return Choices(
        Plainer(_conversions(arguments.convert)), time.time(), arguments.id, arguments.values, arguments.source_table,
        delimiter, arguments.skip_unreadable,
    )  # fmt: skip


def _conversions(given: str | None) -> list[str]:
    names = [] if given is None else given.split(",")
    if names == ["all"]:
        return list(CONVERSIONS)
    for name in names:
        if name not in CONVERSIONS:
            known = "; ".join(f"{each}: {what}" for each, what in CONVERSIONS.items())
            raise CommandError(f"--convert {name!r} is unknown; next: choose among them ({known}), or all", USAGE)
    return names


def _given(arguments: argparse.Namespace) -> set[str]:
    """The options that have a meaning for some kinds only."""
    options = ("id", "source_table", "values", "convert", "delimiter", "ignore_expiry")
    return {name.replace("_", "-") for name in options if getattr(arguments, name) not in (None, False)}


# ---- before writing


def _report(unreadable: Unreadable) -> None:
    key = "" if unreadable.key is None else f", key {shown(_short(unreadable.key))}"
    print(f"unreadable: {unreadable.place}{key}: {printable(_short(unreadable.problem))}", file=sys.stderr)


def _short(text: str) -> str:
    """Both ends of a text that is very long, as one with a key that is."""
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX // 2]}...{text[-TEXT_MAX // 2 :]}"


def _must_be_good(arguments: argparse.Namespace, source: Source, verdict: Verdict, converts: bool) -> None:
    if verdict.unreadable and not arguments.skip_unreadable:
        convert = ", --convert changes what JSON has no form for" if converts else ""
        raise CommandError(
            f"{source.name}: {_entries(verdict.unreadable)} cannot be stored, {len(verdict.keys):,} can; nothing was "
            f"written; next: --skip-unreadable leaves them out{convert}", USAGE,
        )  # fmt: skip
    if verdict.example is not None and not arguments.ignore_expiry:
        raise CommandError(
            f"{source.name}: {_entries(verdict.expiring)} would expire, as {shown(verdict.example.key)} "
            f"{verdict.example.expires}, and records do not expire here; nothing was written; next: --ignore-expiry "
            "stores them for ever", USAGE,
        )  # fmt: skip


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"


def _exists(location: str, table: str, key: str, number: int) -> CommandError:
    others = f" and {count(number - 1, 'other')}" if number > 1 else ""
    return CommandError(
        f"the key {shown(key)}{others} exists already in table {table!r} of {location}; nothing was written; "
        "next: --replace overwrites existing records, --table chooses another table",
        USAGE,
    )


# ---- writing


def _write(source: Source, verdict: Verdict, table: Table[Any]) -> tuple[int, int]:
    """Write all records in atomic batches; how many records and batches."""
    batch: dict[str, Any] = {}
    size = written = batches = 0
    try:
        for entry in accepted(source, verdict):
            batch[entry.key] = entry.record
            size += entry.size
            if len(batch) >= BATCH_RECORDS_MAX or size >= BATCH_BYTES_MAX:
                table.put_many(batch)
                written, batches = written + len(batch), batches + 1
                batch, size = {}, 0
        if batch:
            table.put_many(batch)
            written, batches = written + len(batch), batches + 1
    except (CommandError, ValidationError, OSError) as error:
        what = f"{count(written, 'record')} had been written" if written else "nothing was written"
        problem = str(error).partition("; nothing was written")[0]
        raise CommandError(
            f"{problem}; {what} when the input changed; next: run the import again with --replace", exit_code(error)
        ) from None
    return written, batches


def _say(
    arguments: argparse.Namespace, db: Database, table: str, source: Source, verdict: Verdict,
    done: tuple[int, int, int],
) -> None:  # fmt: skip
    written, batches, replaced = done
    position = db.position()
    if arguments.json:
        print_json(
            {"written": written, "replaced": replaced, "batches": batches, "table": table, "location": db.location,
             "position": str(position), "unreadable": verdict.unreadable, "expired": verdict.expired,
             "expiring": verdict.expiring, "remarks": source.remarks()}
        )  # fmt: skip
        return
    behind = f" ({replaced:,} replaced)" if replaced else ""
    print(
        f"wrote {count(written, 'record')}{behind} in {count(batches, 'batch')} to table "
        f"{table!r} of {db.location}, which is at {position}"
    )
    for number, what in (
        (verdict.unreadable, "left out: cannot be stored"),
        (verdict.expired, "left out: expired"),
        (verdict.expiring, "stored for ever: the time to expire is not kept"),
    ):
        if number:
            print(f"{_entries(number)} {what}")
    for remark in source.remarks():
        print(remark)
