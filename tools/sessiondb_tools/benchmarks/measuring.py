"""A benchmark run from its beginning to its result; when it ends early, what was measured until then is not lost."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import sessiondb
from sessiondb.errors import UsageError
from sessiondb_bench.driver import AbsentRecordError
from sessiondb_bench.environment import commit, environment, load
from sessiondb_bench.results import Run, load_run, save_run
from sessiondb_bench.running import Candidate, Plan, Running, WorkloadFailedError

from ..exit_codes import DAMAGE, NOT_DONE, USAGE, CommandError, exit_code
from ..masking import masked
from ..output import print_json
from ..progress import Progress
from .tables import print_run

__all__ = ["check_output", "measure"]

PARTIAL = ".partial"
"""What the name of a result gets that is not whole: a whole one of that name stays."""


def check_output(path: str) -> None:
    """Before anything is measured: the result can be written there, and replaces nothing but another result.

    Raises:
        CommandError: something else is there, or it cannot be written.
    """
    for each in (path, path + PARTIAL):
        try:
            info = os.stat(each)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CommandError(f"--output {each}: {error.strerror}; next: name another file", USAGE) from error
        try:
            if not stat.S_ISREG(info.st_mode):
                raise UsageError(f"{each} is no file")
            load_run(each)
        except UsageError as error:
            raise CommandError(f"--output is not overwritten: {error}; next: name another file", USAGE) from error
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise CommandError(f"--output {path}: there is no folder {folder}; next: make it", USAGE)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CommandError(f"--output {path}: nothing may be written in {folder}; next: name another file", NOT_DONE)


def measure(
    plan: Plan, candidates: Sequence[Candidate], folder: str, *,
    command: str, left_out: list[str], output: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run the plan, print the result and save it.

    Args:
        plan: what.
        candidates: with whom.
        folder: where, an empty one.
        command: does the same again.
        left_out: what is not measured at all, a sentence each.
        output: the file for the result.
        as_json: print JSON.

    Raises:
        CommandError: a workload failed; what was measured until then is printed and saved. Or nothing was measured.
        KeyboardInterrupt: it was interrupted; the same.
    """
    result = Run(
        command=command, suite="workloads", started=datetime.now(UTC).isoformat(timespec="seconds"),
        version=sessiondb.__version__, commit=commit(), environment=environment(folder), measurements=[],
    )  # fmt: skip
    progress = Progress()
    began, seconds = time.monotonic(), max(1, round(plan.seconds))

    def watch(what: str, done: int, total: int) -> None:
        spent = min(int(time.monotonic() - began), seconds)
        progress.show(f"{what} (workload {done + 1} of {total})", spent, seconds, "seconds")

    running = Running(plan, candidates, folder, watch)
    try:
        running.run()
    except WorkloadFailedError as error:
        result.problem = masked(str(error))
        raise _explained(error) from error
    except KeyboardInterrupt:
        result.problem = "it was interrupted"
        raise
    except BaseException as error:  # a mistake of ours
        result.problem = f"{type(error).__name__}: {error}"
        raise
    finally:
        progress.end()
        result.measurements = running.measurements
        result.left_out = [masked(sentence) for sentence in left_out + running.left_out]
        result.environment.load_after = load()
        if result.measurements or not result.problem:
            _publish(result, output, as_json)
    if not result.measurements:
        raise CommandError("nothing could be measured; next: look at what was left out, and why", NOT_DONE)


def _publish(result: Run, output: str | None, as_json: bool) -> None:
    """Save it, then print it, whatever became of that: nobody measures again because of a full disk or ``| head``."""
    path = "" if output is None else output + PARTIAL if result.problem else output
    problem: OSError | None = None
    if path:
        try:
            save_run(result, path)
        except OSError as error:
            problem = error
    if as_json:
        print_json(result)
    else:
        print_run(result)
    sys.stdout.flush()
    if problem is not None:
        raise CommandError(
            f"the result could not be written to {path}: {problem.strerror or problem}; next: keep what is printed "
            "above (all of it with --json)",
            NOT_DONE,
        ) from problem
    if path:
        what = "what was measured until then" if result.problem else "the result"
        print(f"wrote {what} to {path}", file=sys.stderr)


def _explained(failure: WorkloadFailedError) -> CommandError:
    """For people, with the exit code of the cause."""
    cause = failure.__cause__
    assert isinstance(cause, Exception)
    code = DAMAGE if isinstance(cause, AbsentRecordError) else exit_code(cause)
    step = "" if "; next: " in str(cause) else "; next: mend the cause and try again"
    return CommandError(f"{failure}{step}", code)
