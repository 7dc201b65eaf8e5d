"""Measure sessiondb and other stores on this disk, and on your server: how fast, under which guarantee.

The workloads are those that people know from YCSB (ycsb-a to ycsb-f) and db_bench (fillseq, fillrandom, fillsync,
overwrite, readrandom, readseq, readwhilewriting); `ycsb`, `db_bench` and `all` name several. sessiondb's backends are
measured beside the least that the work can cost (floors: a dict, bare writes and syncs of a file) and beside other
stores, where they are installed. What survives less is faster: compare only what stands under the same guarantee.

All stores are new ones, in a temporary folder that is removed again, and on a server in a schema of their own. Nothing
is kept but the result, with --output: for `sessiondb bench compare` and `sessiondb bench report`.

  sessiondb bench run
  sessiondb bench run --backends sqlite,lmdb --workloads ycsb --threads 1,8 --time 60 --output before.json
  sessiondb bench run --dsn postgresql://me@db.example/app --dir /srv --no-peers
"""

from __future__ import annotations

import argparse
import sys

from ..exit_codes import FINE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add = parser.add_argument
    add(
        "--backends", metavar="LIST", help="of memory, json, sqlite, lmdb, postgres (default: all; the last with --dsn)"
    )
    add("--sync", metavar="LIST", help="of always, interval, never (default: always,never; --full: all)")
    add("--workloads", metavar="LIST", help="names (default: fillrandom,readrandom,ycsb-a; --full: all)")
    add("--threads", metavar="LIST", help="numbers of threads at the same time (default: 1; --full: 1,4)")
    add("--records", metavar="LIST", help="numbers of records in a store (default: 5000; --full: 20000)")
    add("--size", type=int, default=300, metavar="BYTES", help="bytes of a record as JSON (default: %(default)s)")
    add("--time", type=float, metavar="SECONDS", help="about how long it takes (default: 30; --full: 1200)")
    add("--full", action="store_true", help="all workloads and sync levels, in about twenty minutes")
    add("--no-peers", action="store_true", help="measure no other stores, only sessiondb and the floors under it")
    add("--dsn", metavar="URL", help="a PostgreSQL server for the backend postgres, postgresql://...")
    add("--dir", metavar="DIR", help="the folder to work in (default: $TMPDIR, else /var/tmp)")
    add("--seed", type=int, default=1, metavar="N", help="of the choice of records (default: %(default)s)")
    add("--output", metavar="FILE", help="write the result there, as JSON (default: print it only)")
    add("--json", action="store_true", help="print the result as one JSON object instead of tables")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, save."""
    from ..benchmarks.measuring import check_output, measure
    from ..benchmarks.selection import available, candidates, choose, missing
    from ..benchmarks.workplace import on_server, warnings_for, workplace

    choice = choose(
        backends=arguments.backends, sync=arguments.sync, workloads=arguments.workloads, threads=arguments.threads,
        records=arguments.records, size=arguments.size, seconds=arguments.time, seed=arguments.seed,
        has_peers=not arguments.no_peers, has_server=arguments.dsn is not None, full=arguments.full,
    )  # fmt: skip
    if arguments.output is not None:
        check_output(arguments.output)
    with workplace(arguments.dir) as folder, on_server(arguments.dsn) as dsn:
        for warning in warnings_for(folder):
            print(f"sessiondb bench run: {warning}", file=sys.stderr)
        choice, left_out = available(choice, folder, dsn)
        measure(
            choice.plan, candidates(choice, dsn), folder, command=choice.command, left_out=left_out + missing(choice),
            output=arguments.output, as_json=arguments.json,
        )  # fmt: skip
    return FINE
