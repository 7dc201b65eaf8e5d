"""Move what is in the log into the backend.

Everything committed so far is moved from the log into the backend, in one atomic step. A store does this by itself;
the verb is for the moment before a file is copied or looked at.

  sessiondb checkpoint --db sessions.json
"""

from __future__ import annotations

import argparse

from ..exit_codes import FINE
from ..locations import WAIT_S_WRITING, add_store_options, open_for_writing
from ..output import count, print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_store_options(parser, wait_s=WAIT_S_WRITING)


def run(arguments: argparse.Namespace) -> int:
    """Checkpoint."""
    with open_for_writing(arguments, create=False) as db:
        before = db.stats()
        db.checkpoint()
        stats = db.stats()
        moved = stats.applied_lsn - before.applied_lsn
        if arguments.json:
            print_json({"moved": moved, "applied_lsn": stats.applied_lsn, "epoch": stats.epoch})
        else:
            print(
                f"moved {count(moved, 'transaction')} into {db.location}, which is at {stats.epoch}:{stats.applied_lsn}"
            )
    return FINE
