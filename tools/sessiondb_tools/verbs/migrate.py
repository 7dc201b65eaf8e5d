"""Make one store hold exactly what another one holds, on any backend.

Without --execute nothing is changed: everything is read and judged, and it is said what would be done, or why it would
be refused. SOURCE is never changed, and everything in it is verified before TARGET is touched. The new store is made
apart from TARGET's place, read back and compared record by record, and then takes the place in one step. If that is
interrupted, both stores are whole: run it again.

A TARGET that holds records is refused unless --replace says otherwise; then it is copied aside first, and the output
says where to. A record that TARGET would not give back byte for byte stops it; the preview lists all of them.

  sessiondb migrate sessions.json sessions.db
  sessiondb migrate sessions.json sessions.db --execute
  sessiondb migrate sessions.db postgresql://app@db.example/app?namespace=team --execute
  sessiondb migrate sessions.db session-db.json --layout array --execute
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sessiondb.migration.run import migrate

from ..exit_codes import FINE, USAGE
from ..output import count, indexes_of, print_fields, print_json, shown
from ..progress import Progress

if TYPE_CHECKING:
    from sessiondb import MigrationResult
    from sessiondb.migration.result import StoreContent

WAIT_S = 10.0
DIGITS = 16
"""Of a digest that people see."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("source", metavar="SOURCE", help="path or URL of the store that is read")
    parser.add_argument("target", metavar="TARGET", help="path or URL of the store that is made or replaced")
    parser.add_argument("--execute", action="store_true", help="do it")
    parser.add_argument("--dry-run", action="store_true", help="do nothing, also with --execute")
    parser.add_argument("--replace", action="store_true", help="TARGET may hold records: copy it aside and replace it")
    parser.add_argument("--layout", metavar="LAYOUT", help="write a JSON file as a session file: array or sessions")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    wait_help = "longest wait for a busy store (default: %(default)s)"
    parser.add_argument("--wait", type=float, default=WAIT_S, metavar="SECONDS", help=wait_help)


def run(arguments: argparse.Namespace) -> int:
    """Migrate, or say what that would do."""
    progress = Progress()
    try:
        result = migrate(
            arguments.source,
            arguments.target,
            execute=arguments.execute and not arguments.dry_run,
            replace=arguments.replace,
            layout=arguments.layout,
            lock_timeout=arguments.wait,
            progress=lambda step: progress.show(step.what, step.done, step.total),
        )
    finally:
        progress.end()
    if arguments.json:
        print_json(result)
    else:
        print_fields(_rows(result))
    sys.stdout.flush()
    for refusal in result.refusals:
        print(f"sessiondb migrate: {refusal}; nothing was changed", file=sys.stderr)
    return USAGE if result.refusals else FINE


# ---- for people


def _rows(result: MigrationResult) -> list[tuple[str, str]]:
    rows = [*_store("source", result.source), *_target(result)]
    for number, misfit in enumerate(result.misfits):
        text = f"table {shown(misfit.table)}, key {shown(misfit.key)}: {misfit.problem}"
        rows.append(("" if number else "misfits", text))
    rows += [("notice", notice) for notice in result.notices]
    return [*rows, ("result", _outcome(result))]


def _store(name: str, store: StoreContent) -> list[tuple[str, str]]:
    rows = [
        (name, store.location),
        ("", f"{store.backend}, {count(store.records, 'record')} in {count(len(store.tables), 'table')}, "
         f"digest {store.digest[:DIGITS]}"),
    ]  # fmt: skip
    for table, content in store.tables.items():
        what = f"{count(content.records, 'record')} ({content.kind}){indexes_of(content.indexes)}"
        rows.append(("", f"{shown(table)}: {what}"))
    return rows


def _target(result: MigrationResult) -> list[tuple[str, str]]:
    if result.replaced is not None and not result.executed:
        return _store("target", result.replaced)
    layout = "" if result.layout is None else f", layout {result.layout}"
    there = "holds the same" if result.executed or result.outcome == "already there" else "no records are there"
    return [("target", result.target), ("", f"{result.target_backend}{layout}, {there}")]


def _outcome(result: MigrationResult) -> str:
    if result.outcome == "already there":
        return "nothing is to be done: the target holds all of it already"
    if result.refusals:
        return "refused: nothing was changed"
    what = count(result.source.records, "record")
    if not result.executed:
        aside = "" if result.replaced is None else "; what is there would be copied aside first"
        return f"a preview: {what} would be moved{aside}; nothing was changed; next: --execute"
    if result.backup is None:
        return f"moved {what}, each read back and compared"
    return f"moved {what}, each read back and compared; what was there is in {result.backup}"
