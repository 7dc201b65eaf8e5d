"""A run file out of measurements."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable
from datetime import UTC, datetime

import sessiondb

from ..environment import commit, environment, load
from ..results import Measurement, Run

__all__ = ["check_places", "make_run"]


def check_places(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Before minutes of measuring: the folder is there, and the result can be written."""
    if options.dir is not None and not os.path.isdir(options.dir):
        parser.error(f"--dir: there is no folder {options.dir}")
    if options.output is not None and not os.access(os.path.dirname(os.path.abspath(options.output)), os.W_OK):
        parser.error(f"--output: nothing can be written to {options.output}")


def make_run(
    module: str,
    told: list[str],
    folder: str,
    measure: Callable[[], list[Measurement]],
    left_out: list[str] | None = None,
) -> Run:
    """Look at the machine, measure, and look at its load again.

    Args:
        module: what was run with ``python -m``.
        told: its arguments that others need to run it again: no folders, and no server's address.
        folder: where the stores are.
        measure: does it.
        left_out: what was not measured and why.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    place = environment(folder)
    measurements = measure()
    place.load_after = load()
    return Run(
        command=shlex.join(["python", "-m", module, *told]), suite="system", started=started,
        version=sessiondb.__version__, commit=commit(), environment=place, measurements=measurements,
        left_out=left_out or [],
    )  # fmt: skip
