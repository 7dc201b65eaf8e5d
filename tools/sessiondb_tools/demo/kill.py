"""One round: start the writer, let it write for a while, kill it with SIGKILL, and tell what it acknowledged."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import IO, NamedTuple

from ..exit_codes import NOT_DONE, CommandError
from .writer import LOCATION_VARIABLE

__all__ = ["Killed", "run_and_kill"]

START_S_MAX = 30.0


class Killed(NamedTuple):
    """A writer that was killed."""

    acknowledged: list[int]
    """Numbers of the writes whose calls had returned, in the order of the pipe."""
    seconds: float
    """How long it wrote."""


def run_and_kill(location: str, records: str, steps: Sequence[int], seconds: float) -> Killed:
    """Run the writer, and kill it `seconds` after its first acknowledgement.

    Raises:
        CommandError: the writer did not start, or ended by itself.
    """
    command = [sys.executable, "-m", "sessiondb_tools.demo.writer", "-", records, *map(str, steps)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        LOCATION_VARIABLE: location,  # not an argument, which everybody could read: it may hold a password
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            lines = _Lines(child.stdout)
            first = lines.read_until(time.monotonic() + START_S_MAX, enough=2)
            if len(first) < 2 or first[0] != "ready":
                raise _failed(child, "did not start" if not first else "ended by itself")
            acknowledged = first[1:]
            began = time.monotonic()
            acknowledged += lines.read_until(began + seconds)
            child.kill()
            wrote = time.monotonic() - began
            acknowledged += lines.read_until(None)  # what it had acknowledged before it died is in the pipe
            if child.wait() != -signal.SIGKILL:
                raise _failed(child, "ended by itself")
        finally:
            child.kill()
    return Killed([int(line) for line in acknowledged], wrote)


def _failed(child: subprocess.Popen[bytes], what: str) -> CommandError:
    child.kill()
    assert child.stderr is not None
    said = child.stderr.read().decode(errors="replace").strip().splitlines()
    return CommandError(f"the demo's writer {what}: {said[-1] if said else 'it said nothing'}", NOT_DONE)


class _Lines:
    """Whole lines from a pipe, read as they come, so that the writer never waits for its reader."""

    def __init__(self, pipe: IO[bytes]):
        self._descriptor = pipe.fileno()
        self._rest = b""

    def read_until(self, deadline: float | None, *, enough: int | None = None) -> list[str]:
        """Lines until the deadline (``None``: the end of the pipe), or until there are `enough`."""
        lines: list[str] = []
        while enough is None or len(lines) < enough:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._descriptor], [], [], wait)
            data = os.read(self._descriptor, 1 << 16) if ready else b""
            if not data:
                break
            *whole, self._rest = (self._rest + data).split(b"\n")
            lines += [line.decode() for line in whole]
            if deadline is not None and time.monotonic() >= deadline:
                break
        return lines
