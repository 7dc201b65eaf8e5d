"""A bar on stderr that says how far a long piece of work has come; only for a person who watches."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

__all__ = ["Progress"]

WIDTH = 24
QUIET_S = 0.5
"""What takes less needs no bar."""
PAUSE_S = 0.1


class Progress:
    """Draws one line, over and over; plain characters, no colours. Nothing at all unless the stream is a terminal.

    Args:
        stream: where to.
        clock: seconds.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._is_on = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._next = clock() + QUIET_S
        self._shown = 0

    def show(self, what: str, done: int, total: int, noun: str = "records") -> None:
        """So many of so many records, or whatever is counted, are done."""
        if not self._is_on or not total or (now := self._clock()) < self._next:
            return
        self._next = now + PAUSE_S
        filled = WIDTH * done // total
        self._write(f"{what}  [{'#' * filled}{'.' * (WIDTH - filled)}]  {done:,} of {total:,} {noun}")

    def end(self) -> None:
        """Remove the line."""
        if self._shown:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._shown))
        self._stream.flush()
        self._shown = len(line)
