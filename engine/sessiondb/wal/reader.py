"""Reading a segment: its valid frames in order, and what stands where they end.

The rule of validity is in `sessiondb.wal.format`; what a bad frame *means* is decided in `sessiondb.wal.verdict`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from ..files import File
from .format import (
    FRAME_HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    SEAL,
    SEGMENT_HEADER_BYTES,
    TRANSACTION,
    FrameHeader,
    SegmentHeader,
    decode_frame_header,
    frame_bytes,
)

__all__ = ["Frame", "FrameReader", "find_later_frame", "last_nonzero"]

WINDOW_BYTES = 1 << 20
_new = tuple.__new__  # half the cost of Frame(...), once for every frame


class Frame(NamedTuple):
    """One valid frame."""

    offset: int
    header: FrameHeader
    payload: bytes


class FrameReader:
    """Iterates the valid frames of one segment; stops at the first that is not valid, or behind a SEAL.

    Attributes (of the position reached so far; final when the iteration has ended):
        end: offset behind the last valid frame.
        last_lsn: the last transaction's LSN; the segment's first LSN - 1 when there is none.
        last_crc: what the next frame's `prev` must be.
        sealed: whether a SEAL was the last frame.
        problem: why the next frame is not valid; "" behind a SEAL or at the given end.
    """

    def __init__(self, file: File, header: SegmentHeader, limit: int | None = None):
        """Read `file` from its first frame up to offset `limit` (default: the end of the file)."""
        self.file = file
        self.salt = header.salt
        self.size = file.size()
        self.limit = self.size if limit is None else limit
        self._whole = limit is None
        self.end = SEGMENT_HEADER_BYTES
        self.last_lsn = header.first_lsn - 1
        self.last_crc = header.crc
        self.sealed = False
        self.problem = ""

    def __iter__(self) -> Iterator[Frame]:
        salt, limit = self.salt, self.limit
        buffer = b""
        base = self.end
        while not self.sealed and (self.end != limit or self._whole):
            at = self.end - base
            start = at + FRAME_HEADER_BYTES
            if len(buffer) < start:
                buffer, base, at, start = self._read(FRAME_HEADER_BYTES), self.end, 0, FRAME_HEADER_BYTES
            fields = decode_frame_header(buffer, at, salt)  # rule 1: before it no field is trusted
            if fields is None:
                self.problem = self._describe(buffer, at)
                return
            crc, length, lsn, payload_crc, kind, _, _, prev, _, _ = fields
            if (
                kind > SEAL
                or lsn != self.last_lsn + 1  # rule 2
                or prev != self.last_crc  # rule 3
                or length > PAYLOAD_BYTES_MAX  # rule 4
                or self.end + FRAME_HEADER_BYTES + length > limit
            ):
                self.problem = self._why_not(fields)
                return
            if len(buffer) < start + length:
                buffer, base, start = self._read(FRAME_HEADER_BYTES + length), self.end, FRAME_HEADER_BYTES
            payload = buffer[start : start + length]
            if len(payload) != length or crc32(payload, salt) != payload_crc:  # rule 5
                self.problem = "the payload's checksum is wrong"
                return
            offset = self.end
            self.end = offset + frame_bytes(length)
            self.last_crc = crc
            if kind == SEAL:
                self.sealed = True
            else:
                self.last_lsn = lsn
            yield _new(Frame, (offset, fields, payload))

    def _read(self, length: int) -> bytes:
        return self.file.pread(min(max(WINDOW_BYTES, length), max(self.limit - self.end, 0)), self.end)

    def _why_not(self, header: FrameHeader) -> str:
        if header.type not in (TRANSACTION, SEAL):
            return f"the frame's type {header.type} is unknown"
        if header.lsn != self.last_lsn + 1:
            return f"the frame has LSN {header.lsn}, not {self.last_lsn + 1}"
        if header.prev != self.last_crc:
            return "the frame does not follow the one before it"
        if header.length > PAYLOAD_BYTES_MAX:
            return f"the frame's length {header.length} is over the limit"
        return f"the frame's length {header.length} passes the end of the segment"

    def _describe(self, buffer: bytes, at: int) -> str:
        chunk = buffer[at : at + FRAME_HEADER_BYTES]
        if not chunk:
            return "the file ends"
        if not chunk.strip(b"\0"):
            return "zeros"
        return (
            "the frame header's checksum is wrong" if len(chunk) == FRAME_HEADER_BYTES else "the file ends in a frame"
        )


def last_nonzero(file: File, start: int) -> int:
    """The offset behind the file's last non-zero byte at or behind `start`; `start` when all is zero."""
    found = start
    offset = start
    while data := file.pread(WINDOW_BYTES, offset):
        kept = len(data.rstrip(b"\0"))
        if kept:
            found = offset + kept
        offset += len(data)
    return found


def find_later_frame(file: File, salt: int, start: int, missing_lsn: int) -> tuple[int, FrameHeader] | None:
    """A frame header with a good checksum behind `start` that proves `missing_lsn` durable.

    Proof is ``lsn - undurable >= missing_lsn``: when that frame was written, the missing one had been synced.
    Frames start at multiples of 8, and an LSN below ``missing_lsn + bytes / 40`` is all that fits: comparing
    each 8-byte word with that range leaves few places to look at closely.
    """
    size = file.size()
    highest = missing_lsn + (size - start) // FRAME_HEADER_BYTES + 1
    overlap = FRAME_HEADER_BYTES
    offset = start
    while offset < size:
        data = file.pread(WINDOW_BYTES + overlap, offset)
        words = memoryview(data[: len(data) & ~7]).cast("Q")
        for index, word in enumerate(words):
            if missing_lsn < word <= highest and index:
                header = decode_frame_header(data, index * 8 - 8, salt)
                if header is not None and header.lsn - header.undurable >= missing_lsn:
                    return offset + index * 8 - 8, header
        offset += WINDOW_BYTES
    return None
