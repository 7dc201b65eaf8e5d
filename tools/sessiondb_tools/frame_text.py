"""Segments, frames and operations as a program's objects and as annotated text; all decoding is the engine's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from sessiondb.files import File
from sessiondb.wal.format import SEAL, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, decode_frame_header
from sessiondb.wal.operations import Delete, Index, Operation, Put, PutBytes, Unindex, decode_operations
from sessiondb.wal.reader import Frame, FrameReader, last_nonzero

from .output import as_time, shown

__all__ = [
    "Stop",
    "frame_json",
    "frame_lines",
    "operation_json",
    "read_segment",
    "segment_json",
    "segment_line",
    "stop_json",
    "stop_line",
]

IMAGE_CHARACTERS_MAX = 160
WINDOW_BYTES = 1 << 20
TYPES = {1: "TRANSACTION", SEAL: "SEAL"}


class Stop(NamedTuple):
    """Where reading a segment stops, for good or until a later frame."""

    offset: int
    reason: str
    bytes: int
    """Bytes that are not zero behind it (up to the next readable frame, if there is one)."""
    next: int | None
    """Offset of the next frame that can be read, ``None`` when there is none."""

    @property
    def is_end(self) -> bool:
        """Whether nothing but room for later frames is there."""
        return not self.bytes and self.next is None


def read_segment(file: File, header: SegmentHeader, limit: int | None) -> Iterator[Frame | Stop]:
    """All frames of a segment that can be read, also behind damage, and where and why reading stopped.

    Args:
        file: the segment.
        header: its header.
        limit: where it ends by its successor's header, ``None`` when it has no successor.
    """
    reader = FrameReader(file, header, limit)
    while True:
        yield from reader
        later = None if reader.sealed else _later_frame(file, reader)
        behind = _nonzero_bytes(file, reader.end, later)
        reason = reader.problem or ("SEAL" if reader.sealed else "the segment ends here, its successor says")
        yield Stop(reader.end, reason, behind, later)
        if later is None:
            return
        reader = _resume(file, header, limit, later)


def _resume(file: File, header: SegmentHeader, limit: int | None, offset: int) -> FrameReader:
    """A reader that takes the frame at an offset as the right one to go on with."""
    frame = decode_frame_header(file.pread(64, offset), 0, header.salt)
    assert frame is not None
    reader = FrameReader(file, header, limit)
    reader.end, reader.last_lsn, reader.last_crc = offset, frame.lsn - 1, frame.prev
    return reader


def _later_frame(file: File, reader: FrameReader) -> int | None:
    """The next offset behind where the reader stopped that has a frame header with a good checksum."""
    offset = reader.end + 8
    stop = min(reader.limit, last_nonzero(file, reader.end))
    while offset < stop:
        data = file.pread(WINDOW_BYTES + 64, offset)
        for at in range(0, min(WINDOW_BYTES, stop - offset), 8):
            if data[at : at + 4] != b"\0\0\0\0" and decode_frame_header(data, at, reader.salt) is not None:
                return offset + at
        offset += WINDOW_BYTES
    return None


def _nonzero_bytes(file: File, start: int, stop: int | None) -> int:
    return max(0, last_nonzero(file, start) - start) if stop is None else stop - start


# ---- for programs


def segment_json(name: SegmentName, size: int, role: str, header: SegmentHeader | None) -> dict[str, object]:
    """A segment's header."""
    made: dict[str, object] = {"kind": "segment", "segment": str(name), "bytes": size, "role": role}
    if header is not None:
        made |= header._asdict() | {"uuid": header.uuid.hex(), "header_bytes": SEGMENT_HEADER_BYTES}
    return made


def frame_json(name: SegmentName, frame: Frame) -> dict[str, object]:
    """A frame with its operations."""
    made: dict[str, object] = {"kind": "frame", "segment": str(name), "offset": frame.offset}
    made |= frame.header._asdict()
    made["type"] = TYPES[frame.header.type]
    if frame.header.type != SEAL:
        try:
            made["operations"] = [operation_json(operation) for operation in decode_operations(frame.payload)]
        except ValueError as error:
            made["problem"] = f"the payload does not decode: {error}"
    return made


def operation_json(operation: Operation) -> dict[str, object]:
    """An operation, with the record as it was logged."""
    if isinstance(operation, Put):
        return {"op": "put", "table": operation.table, "key": operation.key, "record": msgspec.Raw(operation.image)}
    if isinstance(operation, PutBytes):
        return {"op": "put_bytes", "table": operation.table, "key": operation.key, "base64": operation.image}
    if isinstance(operation, Delete):
        return {"op": "delete", "table": operation.table, "key": operation.key}
    if isinstance(operation, (Index, Unindex)):
        return {"op": _name(operation), "table": operation.table, "field": operation.field}
    return {"op": "drop", "table": operation.table}


def stop_json(name: SegmentName, stop: Stop) -> dict[str, object]:
    """Where reading stopped."""
    kind = "end" if stop.is_end else "gap" if stop.next is not None else "stop"
    return {"kind": kind, "segment": str(name), **stop._asdict()}


# ---- for people


def segment_line(name: SegmentName, size: int, role: str) -> str:
    """The line above a segment."""
    return f"{name}  {size:,} bytes{f'  ({role})' if role else ''}"


def header_lines(header: SegmentHeader) -> list[str]:
    """A segment header's fields."""
    before = header.predecessor
    follows = "follows nothing" if before is None else f"follows {before} up to offset {header.prev_end}"
    return [
        f"{0:>10}  segment header  epoch {header.epoch}  first LSN {header.first_lsn}  salt {header.salt:08x}  "
        f"crc {header.crc:08x}  {as_time(header.created_us)}",
        f"{'':>10}  uuid {header.uuid.hex()}  {follows}",
    ]


def frame_lines(frame: Frame) -> list[str]:
    """A frame's header fields, and its operations below."""
    header = frame.header
    first = (
        f"{frame.offset:>10}  {TYPES[header.type]:<11}  LSN {header.lsn:<8}  length {header.length:<7}  "
        f"undurable {header.undurable:<4}  {as_time(header.time_us)}  crc {header.crc:08x}  prev {header.prev:08x}  "
        f"payload {header.payload_crc:08x}"
    )
    if header.type == SEAL:
        return [first]
    try:
        return [first, *(f"{'':>10}    {_operation_text(operation)}" for operation in decode_operations(frame.payload))]
    except ValueError as error:
        return [first, f"{'':>10}    the payload does not decode: {error}"]


def _operation_text(operation: Operation) -> str:
    if isinstance(operation, Put):
        image = _cut(operation.image.decode(errors="replace"))
        return f"put     {shown(operation.table)}  {shown(operation.key)}  {image}"
    if isinstance(operation, PutBytes):
        image = _cut(operation.image.hex(" "))
        return f"put     {shown(operation.table)}  {shown(operation.key)}  {len(operation.image)} bytes: {image}"
    if isinstance(operation, Delete):
        return f"delete  {shown(operation.table)}  {shown(operation.key)}"
    if isinstance(operation, (Index, Unindex)):
        return f"{_name(operation):<7} {shown(operation.table)}  {shown(operation.field)}"
    return f"drop    {shown(operation.table)}"


def _name(operation: Index | Unindex) -> str:
    return "index" if isinstance(operation, Index) else "unindex"


def stop_line(stop: Stop) -> str:
    """Why reading stopped, and what is behind."""
    if stop.is_end:
        return f"{stop.offset:>10}  end ({stop.reason})"
    more = f"; the next readable frame is at {stop.next}" if stop.next is not None else "; nothing readable behind it"
    return f"{stop.offset:>10}  STOP: {stop.reason}; {stop.bytes:,} bytes cannot be read{more}"


def _cut(text: str) -> str:
    if len(text) <= IMAGE_CHARACTERS_MAX:
        return text
    return f"{text[:IMAGE_CHARACTERS_MAX]}... ({len(text):,} characters)"
