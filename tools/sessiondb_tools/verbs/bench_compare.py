"""Compare two results of `sessiondb bench run`: what became slower.

Compared are the ratios to the floor of the same run, which a busy machine disturbs less than times; where a run has
none, the medians; and of workloads with several kinds of operations the throughput. Only sessiondb's own figures are
judged.
Exit code 1 when one is more than --bound times as slow, 3 when nothing can be compared.

  sessiondb bench compare before.json after.json
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ..exit_codes import DAMAGE, FINE, NOT_DONE, USAGE, CommandError

if TYPE_CHECKING:
    from sessiondb_bench.comparing import Comparison
    from sessiondb_bench.results import Measurement


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("old", metavar="OLD", help="the result before")
    parser.add_argument("new", metavar="NEW", help="the result after")
    parser.add_argument(
        "--bound",
        type=float,
        default=1.25,
        metavar="FACTOR",
        help="so many times as slow is fine (default: %(default)s)",
    )
    parser.add_argument(
        "--p99-bound", type=float, metavar="FACTOR", help="the same of the 99th percentile (default: not judged)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print all as one JSON object, also floors and other stores"
    )


def run(arguments: argparse.Namespace) -> int:
    """Compare and print."""
    from sessiondb_bench.comparing import compare
    from sessiondb_bench.results import load_run

    from ..output import print_json

    for option, bound in (("--bound", arguments.bound), ("--p99-bound", arguments.p99_bound)):
        if bound is not None and not 1 <= bound < float("inf"):
            raise CommandError(f"{option} is {bound:g}; it must be at least 1", USAGE)
    found = compare(
        load_run(arguments.old), load_run(arguments.new), bound=arguments.bound, p99_bound=arguments.p99_bound
    )
    if arguments.json:
        print_json(_report(found, arguments.bound, arguments.p99_bound))
    else:
        from ..benchmarks.tables import print_comparison

        print_comparison(found, arguments.bound, arguments.p99_bound)
        sys.stdout.flush()
        for warning in found.warnings:
            print(f"sessiondb bench compare: {warning}", file=sys.stderr)
    if not any(change.is_ours for change in found.changes):
        raise CommandError(
            f"{arguments.old} and {arguments.new} have no figure of sessiondb in common; next: run both with the same "
            "options (the field `command` has them)",
            NOT_DONE,
        )
    return DAMAGE if found.regressions else FINE


def _report(found: Comparison, bound: float, p99_bound: float | None) -> dict[str, Any]:
    return {
        "bound": bound,
        "p99_bound": p99_bound,
        "regressions": len(found.regressions),
        "changes": [
            {
                **_identity(change.new), "by": change.basis, "factor": change.factor, "p99_factor": change.p99_factor,
                "judged": change.is_ours and not change.is_few, "regression": change.is_regression,
                "old": _figures(change.old), "new": _figures(change.new),
            }
            for change in found.changes
        ],
        "only_old": [_identity(each) for each in found.only_old],
        "only_new": [_identity(each) for each in found.only_new],
        "warnings": found.warnings,
    }  # fmt: skip


def _identity(each: Measurement) -> dict[str, Any]:
    return {
        "operation": each.operation, "store": each.store, "sync": each.sync, "kind": each.kind,
        "guarantee": each.guarantee, "record_bytes": each.record_bytes, "records": each.records,
        "threads": each.threads,
    }  # fmt: skip


def _figures(each: Measurement) -> dict[str, Any]:
    return {
        "median_us": each.median_us, "p99_us": each.p99_us, "per_second": each.per_second, "floor": each.floor,
        "ratio": each.ratio,
    }  # fmt: skip
