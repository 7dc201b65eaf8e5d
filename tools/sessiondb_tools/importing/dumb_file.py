"""The two files of `dbm.dumb`: ``NAME.dir`` says where in ``NAME.dat`` the values stand.

Python's own reader evaluates the lines of the first file with `ast.literal_eval`, which a bad line can make use up the
stack, and takes the second one's offsets as they are. Here a line is a quoted key, and two numbers that must fit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import partial

from .source import own_problem
from .values import ValueProblem

__all__ = ["DumbFile"]

LINE_BYTES_MAX = 1 << 20
"""A key of 480 bytes, the longest that can be stored, takes at most four times as many."""

_LINE = re.compile(rb"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"), \((\d{1,18}), (\d{1,18})\)\s*""")
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\\": b"\\", b"'": b"'", b'"': b'"'}


class DumbFile:
    """Keys and values; only the keys are in memory.

    Raises:
        CommandError: a line that nobody wrote.
        OSError: a file is missing, or cannot be read.
    """

    def __init__(self, base: str):
        self._index: dict[bytes, tuple[int, int]] = {}
        with open(f"{base}.dir", "rb") as lines:
            number = 0
            while line := lines.readline(LINE_BYTES_MAX):
                number += 1
                found = _LINE.fullmatch(line)
                key = None if found is None else _unescaped(found[1][1:-1])
                if found is None or key is None:
                    raise own_problem(
                        f"{base}.dir", f"line {number} is damaged: {line[:60]!r}", "restore the file from a backup"
                    )
                self._index[key] = int(found[2]), int(found[3])
        self._data = open(f"{base}.dat", "rb")  # noqa: SIM115 - closed by close
        self._size = os.fstat(self._data.fileno()).st_size

    def items(self) -> Iterator[tuple[bytes, partial[bytes]]]:
        """Each key, and what reads its value."""
        for key, (offset, size) in self._index.items():
            yield key, partial(self._value, offset, size)

    def _value(self, offset: int, size: int) -> bytes:
        if offset + size > self._size:
            raise ValueProblem(f"its value stands at {offset}, {size} bytes, behind the end of the .dat file")
        return os.pread(self._data.fileno(), size, offset)

    def close(self) -> None:
        """Close the file."""
        self._data.close()


def _unescaped(text: bytes) -> bytes | None:
    """What Python wrote as the inside of a quoted text, in Latin-1."""
    unknown = False

    def one(match: re.Match[bytes]) -> bytes:
        nonlocal unknown
        if match[1][:1] == b"x" and len(match[1]) == 3:
            return bytes.fromhex(match[1][1:].decode())
        unknown = unknown or match[1] not in _ESCAPED
        return _ESCAPED.get(match[1], b"")

    found = _ESCAPE.sub(one, text)
    return None if unknown else found
