"""MessagePack objects one after the other, found without decoding them; msgspec decodes one object at a time.

Source: the MessagePack specification, "formats". The first byte of an object says what follows: a number of bytes, or
of objects. Objects in objects are counted, not followed, so depth costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Found", "StreamProblem", "objects"]

_CHUNK_BYTES = 1 << 20

_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4,
          0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17}  # fmt: skip
"""nil, false, true, floats, integers, fixext: bytes behind the first one."""
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1), 0xD9: (1, 0),
          0xDA: (2, 0), 0xDB: (4, 0)}  # fmt: skip
"""bin, ext, str: the width of their length, and bytes between it and the content."""
_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""array, map: the width of their length, and objects for each."""


class StreamProblem(Exception):
    """The bytes are no MessagePack; says why and from which byte on."""

    def __init__(self, problem: str, offset: int):
        super().__init__(problem)
        self.offset = offset


class Found(NamedTuple):
    """One object."""

    offset: int
    data: bytes


def objects(read: Callable[[int], bytes], bytes_max: int) -> Iterator[Found]:
    """Each object with the place of its first byte.

    Args:
        read: gives up to so many of the next bytes, none at the end.
        bytes_max: how large an object may be.

    Raises:
        StreamProblem: the bytes end in an object, are none, or the object is too large.
    """
    buffer, start, at_end = b"", 0, False
    base = 0
    while True:
        end = _end(buffer, start, base)
        if end is not None and end - start <= bytes_max:
            yield Found(base + start, buffer[start:end])
            start = end
            continue
        if len(buffer) - start > bytes_max or end is not None:
            raise StreamProblem(f"the object has more than {bytes_max} bytes", base + start)
        if at_end:
            if start < len(buffer):
                raise StreamProblem("the file ends in the middle of an object", base + start)
            return
        more = read(_CHUNK_BYTES)
        at_end = not more
        base, buffer, start = base + start, buffer[start:] + more, 0


def _end(data: bytes, start: int, base: int) -> int | None:
    """Where the object that begins at `start` ends; ``None`` when the bytes do not reach so far."""
    at, left = start, 1
    while left:
        if at >= len(data):
            return None
        first = data[at]
        left -= 1
        at += 1
        if first <= 0x7F or first >= 0xE0:
            continue
        if first <= 0x8F:
            left += 2 * (first & 0x0F)
        elif first <= 0x9F:
            left += first & 0x0F
        elif first <= 0xBF:
            at += first & 0x1F
        elif first in _FIXED:
            at += _FIXED[first]
        elif first == 0xC1:
            raise StreamProblem("the byte 0xc1 begins nothing in MessagePack", base + at - 1)
        else:
            width, more = _SIZED.get(first) or _COUNTED[first]
            if at + width > len(data):
                return None
            length = int.from_bytes(data[at : at + width], "big")
            at += width
            if first in _SIZED:
                at += more + length
            else:
                left += more * length
    return at if at <= len(data) else None
