"""Cold start: what a person waits for the command, beside what Python itself takes. The commands take turns."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import sessiondb

from ..records import key_of, session_record
from ..results import Measurement
from .figures import from_latencies, median
from .plan import Plan

__all__ = ["measure"]

BARE = "python -c pass"
RECORDS = 100


def command() -> list[str]:
    """The `sessiondb` command of this Python."""
    script = os.path.join(os.path.dirname(sys.executable), "sessiondb")
    return [script] if os.path.exists(script) else [sys.executable, "-m", "sessiondb_tools"]


def measure(plan: Plan) -> list[Measurement]:
    """Bare Python, an import of msgspec, and the command: its version, and a store's status and record."""
    commands: dict[tuple[str, str], list[str]] = {
        (BARE, "python"): [sys.executable, "-c", "pass"],
        ("python -c 'import msgspec'", "python"): [sys.executable, "-c", "import msgspec"],
        ("python -c 'import sessiondb'", "python"): [sys.executable, "-c", "import sessiondb"],
        ("sessiondb --version", "none"): [*command(), "--version"],
    }
    for backend in plan.backends:
        if backend == "postgres":
            continue  # a server's answer is no start of a command
        location = plan.location(backend, plan.new_folder())
        with sessiondb.open(location) as database:
            database.table("records").put_many(
                (key_of(number), session_record(number, plan.record_bytes)) for number in range(RECORDS)
            )
        place = ["--db", location]
        commands["sessiondb get", backend] = [*command(), "get", *place, "--table", "records", key_of(7)]
        commands["sessiondb status", backend] = [*command(), "status", *place]
    taken = _in_turns(plan, commands)
    bare = taken[BARE, "python"]
    return [_measurement(plan, name, store, times, bare) for (name, store), times in taken.items()]


def _in_turns(plan: Plan, commands: dict[tuple[str, str], list[str]]) -> dict[tuple[str, str], list[int]]:
    home = plan.new_folder()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SESSIONDB_", "XDG_"))}
    environment["HOME"] = home
    # As it is after an installation: compiled. The first start compiles, into a folder that goes with the run.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = plan.new_folder()
    taken: dict[tuple[str, str], list[int]] = {name: [] for name in commands}
    for number in range(plan.starts + 1):
        for name, words in commands.items():
            began = time.perf_counter_ns()
            done = subprocess.run(words, capture_output=True, check=False, env=environment)
            elapsed = time.perf_counter_ns() - began
            if done.returncode:
                raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr.decode()}")
            if number:  # the first start compiles, and reads from the disk
                taken[name].append(elapsed)
    return taken


def _measurement(plan: Plan, name: str, store: str, times: list[int], bare: list[int]) -> Measurement:
    own = store == "python"
    one = from_latencies(
        name if own else f"start: {name}", store, times, kind="floor" if own else "sessiondb", guarantee="nothing",
        counts={}, record_bytes=plan.record_bytes, records=0 if own or store == "none" else RECORDS, unit="starts",
    )  # fmt: skip
    if name != BARE:
        one.floor = BARE
        one.ratio = median(mine / below for mine, below in zip(times, bare, strict=True))
        one.counts = {"ms_beyond_python": median((mine - below) / 1e6 for mine, below in zip(times, bare, strict=True))}
    return one
