"""``python -m sessiondb_bench.targets``: measure, print the table, and write a run file."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable

from ..results import Measurement, save_run
from ..subjects.peers import missing_peers
from ..system.plan import Plan
from ..system.running import check_places, make_run
from .puts import PEERS, batches, durable_puts, large_files
from .reads import hot_gets
from .target import Target, table_of
from .whole import checkpoints, replay, shared_syncs

__all__ = ["main", "measure"]


def measure(plan: Plan, *, quick: bool = False) -> list[Target]:
    """All of them, told on the error output."""
    rounds, block = (4, 10) if quick else (40, 25)
    parts: dict[str, Callable[[], list[Target]]] = {
        "puts": lambda: durable_puts(plan, rounds, block),
        "gets": lambda: hot_gets(plan, rounds, 500 if quick else 2_000),
        "batches": lambda: batches(plan, rounds, max(2, block // 5)),
        "replay": lambda: replay(plan),
        "checkpoints": lambda: checkpoints(plan),
        "large JSON files": lambda: large_files(plan, rounds, 100 if quick else 1_000, 10_000 if quick else 100_000),
        "syncs": lambda: shared_syncs(plan),
    }
    targets = []
    for name, part in parts.items():
        print(f"measuring: {name}", file=sys.stderr)
        targets += part()
    return targets


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m sessiondb_bench.targets", description="Asked, measured, reached?")
    parser.add_argument("--dir", help="where the stores go (default: a new folder for temporary files)")
    parser.add_argument("--quick", action="store_true", help="less of everything: figures of no great worth")
    parser.add_argument("--output", metavar="FILE", help="write the run there, as JSON")
    options = parser.parse_args(arguments)
    check_places(parser, options)
    missing = [f"{name}: {reason}" for name, reason in missing_peers().items() if name.startswith(PEERS)]
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        plan = Plan.quick(folder=folder) if options.quick else Plan(folder=folder, rounds=9)

        def work() -> list[Measurement]:
            targets.extend(measure(plan, quick=options.quick))
            return [one.measurement() for one in targets]

        told = ["--quick"] if options.quick else []
        run = make_run("sessiondb_bench.targets", told, folder, work, missing)
    print(table_of(targets))
    print(f"stores on: {run.environment.file_system}")
    print(f"load of the machine: {run.environment.load_before} before, {run.environment.load_after} after")
    print("\n".join(f"not measured: {sentence}" for sentence in missing), end="\n" if missing else "")
    if options.output:
        save_run(run, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
