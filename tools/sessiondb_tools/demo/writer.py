"""The demo's child process: writes by the plan until it is killed, and acknowledges each write through its stdout.

Run as ``python -m sessiondb_tools.demo.writer LOCATION RECORDS STEP...``: LOCATION may be ``-``, and is in the
environment then; RECORDS is a file of JSON Lines, each a pair of key and record; STEP is where each thread goes on. A
line ``ready`` comes first, then the number of each write, after the call that wrote it has returned.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

import sessiondb

from .plan import Plan

if TYPE_CHECKING:
    from sessiondb import Table

__all__ = ["CHECKPOINT_RECORDS", "LOCATION_VARIABLE", "TABLE", "read_records"]

LOCATION_VARIABLE = "SESSIONDB_DEMO_LOCATION"

TABLE = "records"
CHECKPOINT_RECORDS = 500
"""So few, that checkpoints are under way in many a kill."""


def read_records(path: str) -> list[tuple[str, Any]]:
    """The pairs in a RECORDS file."""
    with open(path, "rb") as file:
        return [msgspec.json.decode(line, type=tuple[str, Any]) for line in file]


def _work(table: Table[Any], plan: Plan, thread: int, step: int) -> None:
    try:
        while True:
            write = plan.write(thread, step)
            if write.is_batch:
                table.put_many(write.records)
            else:
                for key, record in write.records.items():
                    table.put(key, record)
            os.write(1, b"%d\n" % write.number)
            step += 1
    except BrokenPipeError:
        os._exit(0)  # nobody is there any more to acknowledge to
    except (sessiondb.SessionDBError, OSError) as error:
        print(f"thread {thread}, step {step}: {error}", file=sys.stderr, flush=True)
        os._exit(3)


def _main(arguments: Sequence[str]) -> None:
    location, records, *steps = arguments
    if location == "-":
        location = os.environ[LOCATION_VARIABLE]
    plan = Plan(read_records(records))
    db = sessiondb.open(location, checkpoint_records=CHECKPOINT_RECORDS)
    table = db.table(TABLE)
    os.write(1, b"ready\n")
    threads = [
        threading.Thread(target=_work, args=(table, plan, thread, int(step))) for thread, step in enumerate(steps)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    _main(sys.argv[1:])
