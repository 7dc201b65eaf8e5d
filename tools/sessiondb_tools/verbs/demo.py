"""Kill a writer again and again and prove that nothing acknowledged is lost.

On each backend (JSON file, SQLite, and LMDB where its package is installed) a child process writes real records (yours
with --input, else a sample) durably into a new store, from several threads, put by put and batch by batch, with
checkpoints in between. It acknowledges each write through a pipe after the call has returned. At a random moment it is
killed with SIGKILL. Then the store is opened, which recovers it, and compared with the acknowledgements: every
acknowledged record must be there with its last value, every batch as a whole or not at all, and nothing else. Exit
code 1 if that does not hold; the stores are then kept. A table of latencies of each backend follows.

--input takes what `sessiondb import` takes; without --id the records of an array or of JSON Lines are numbered.

With --db it runs on a server instead of on files: in a namespace of its own, which is removed again, with the log on
this machine. No store that is there is touched.

  sessiondb demo
  sessiondb demo --dir .
  sessiondb demo --db postgresql://me@db.example/app
"""

from __future__ import annotations

import argparse

from ..exit_codes import USAGE, CommandError

SECONDS_MIN, SECONDS_MAX = 1.0, 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument(
        "--input", metavar="FILE", help="records to write (default: a sample that comes with sessiondb)"
    )
    parser.add_argument("--id", metavar="FIELD", help="the field of the input that holds a record's key")
    parser.add_argument("--db", metavar="URL", help="run on this PostgreSQL server, in a namespace of its own")
    parser.add_argument("--dir", metavar="DIR", help="keep the stores, in a new folder in this one")
    parser.add_argument("--seconds", type=float, default=20.0, help="about how long it takes (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often to kill on each backend, in time (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print no progress, and the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    if not SECONDS_MIN <= arguments.seconds <= SECONDS_MAX:
        raise CommandError(
            f"--seconds is {arguments.seconds}; it must be from {SECONDS_MIN:g} to {SECONDS_MAX:g}", USAGE
        )
    if arguments.rounds < 1:
        raise CommandError(f"--rounds is {arguments.rounds}; it must be at least 1", USAGE)
    from ..demo.run import run_demo
    from ..demo.server import OnServer

    return run_demo(
        input_path=arguments.input,
        id_field=arguments.id,
        folder=arguments.dir,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
        as_json=arguments.json,
        server=None if arguments.db is None else OnServer(arguments.db),
    )
