"""What is known of a session file: the bytes of ``MARK`` in the log's folder. Pure. See docs/format/session-layouts.md.

A session file belongs to another program: it has no room for a uuid, a position or a checksum. They stand in ``MARK``,
and name the file by the SHA-256 of its bytes. ``MARK`` is one line::

    {"session_file":{"format":1,"uuid":"…","layout":"array","now":{…},"next":{…},"adopting":false,"prev":"…"},"crc":"…"}

1. ``uuid`` is that of the log. ``layout`` names the shape the file had last; only ``keyed`` is ever asked for.
2. ``now`` and ``next`` say of a file: ``epoch`` and ``lsn`` of the applied position, ``digest``, how many ``records``
   it holds, and which fields are ``indexes``. ``next`` is ``null`` but while the file is being replaced (or adopted).
3. ``adopting``: ``next`` is a file that another program wrote, and its transaction may not be in the log yet.
4. ``prev`` is the digest of ``<file>.prev``, the file before the last replacement; ``null`` when there is none.
5. ``crc`` is the crc32, in 8 hex digits, of the line up to the comma before it.

``MARK`` is replaced as a whole, and durable before the step that it announces.
"""

from __future__ import annotations

import re
from zlib import crc32

import msgspec

from sessiondb.backend import Position
from sessiondb.errors import UnsupportedFormatError

__all__ = ["FORMAT_VERSION", "Known", "Mark", "decode_mark", "encode_mark"]

FORMAT_VERSION = 1
_TAIL = re.compile(rb',"crc":"([0-9a-f]{8})"\}\n')
_TAIL_BYTES = len(b',"crc":"00000000"}\n')
_VERSION = re.compile(rb'\{"session_file":\{"format":(\d{1,9})[,}]')


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file whose position is known."""

    epoch: int
    lsn: int
    digest: str
    """SHA-256 of all its bytes, in hex."""
    records: int
    indexes: list[str]

    @property
    def position(self) -> Position:
        """The applied position."""
        return Position(self.epoch, self.lsn)


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a session file."""

    format: int
    uuid: str
    layout: str
    now: Known
    next: Known | None
    adopting: bool
    prev: str | None


class _Line(msgspec.Struct):
    session_file: Mark


def encode_mark(mark: Mark) -> bytes:
    """The line."""
    text = msgspec.json.encode(_Line(mark))[:-1]
    return text + b',"crc":"%08x"}\n' % crc32(text)


def decode_mark(data: bytes) -> Mark | None:
    """Read the line.

    Returns:
        ``None`` when it is damaged.

    Raises:
        UnsupportedFormatError: a later version wrote it.
    """
    tail = _TAIL.fullmatch(data[-_TAIL_BYTES:])
    text = data[:-_TAIL_BYTES]
    if tail is None or int(tail[1], 16) != crc32(text):
        return None
    version = _VERSION.match(text)
    if version is not None and int(version[1]) > FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"the session file's MARK is of format version {int(version[1])}, this sessiondb reads version "
            f"{FORMAT_VERSION}: upgrade sessiondb"
        )
    try:
        return msgspec.json.decode(text + b"}", type=_Line).session_file
    except ValueError:
        return None
