"""``python -m sessiondb_bench.system``: measure, print, and write a run file."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable

from ..results import Measurement, save_run
from . import disk, memory, pauses, replay, starting, syncs
from .counting import resident
from .figures import lines
from .plan import BACKENDS, Plan
from .running import check_places, make_run

__all__ = ["PARTS", "main"]

PARTS: dict[str, Callable[[Plan], list[Measurement]]] = {
    "replay": replay.measure,
    "pauses": pauses.measure,
    "syncs": syncs.measure,
    "disk": disk.measure,
    "memory": memory.measure,
    "start": starting.measure,
}


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sessiondb_bench.system", description="Replay, pauses, syncs, disk, memory, start."
    )
    parser.add_argument("--dir", help="where the stores go (default: a new folder for temporary files)")
    parser.add_argument("--backend", choices=[*BACKENDS, "postgres"], action="append", help="default: those on disk")
    parser.add_argument("--dsn", metavar="URL", help="a PostgreSQL database where schemas may be made")
    parser.add_argument("--part", choices=list(PARTS), action="append", help="default: all")
    parser.add_argument("--quick", action="store_true", help="less of everything: half a minute")
    parser.add_argument("--output", metavar="FILE", help="write the run there, as JSON")
    options = parser.parse_args(arguments)
    options.backend = options.backend or [*BACKENDS, *(["postgres"] if options.dsn else [])]
    check_places(parser, options)
    if "postgres" in options.backend and not options.dsn:
        parser.error("the backend postgres needs --dsn URL")
    return options


def measure(plan: Plan, parts: list[str]) -> list[Measurement]:
    """Part by part, telling on the error output which one runs."""
    measurements = []
    for name in parts:
        print(f"measuring: {name}", file=sys.stderr)
        measurements += PARTS[name](plan)
    return measurements


def _told(options: argparse.Namespace) -> list[str]:
    """The arguments without folders, and without the server's address, which may hold a password."""
    words = [word for name in options.backend for word in ("--backend", name)]
    words += [word for name in options.part or [] for word in ("--part", name)]
    words += ["--dsn", "URL"] if options.dsn else []
    return words + (["--quick"] if options.quick else [])


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        make = Plan.quick if options.quick else Plan
        plan = make(folder=folder, backends=tuple(options.backend), dsn=options.dsn)
        parts = options.part or list(PARTS)
        left_out = []
        if "memory" in parts and resident() is None:
            parts = [name for name in parts if name != "memory"]
            left_out = ["memory: this system does not tell the resident memory of a process"]
        try:
            run = make_run("sessiondb_bench.system", _told(options), folder, lambda: measure(plan, parts), left_out)
        finally:
            if "postgres" in plan.backends:
                plan.drop_schema()
    print(f"stores on: {run.environment.file_system}")
    print("\n".join([*lines(run.measurements), *(f"not measured: {sentence}" for sentence in left_out)]))
    if options.output:
        save_run(run, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
