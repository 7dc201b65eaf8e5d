"""Files of a store as text for people: every byte with its offset, its field and its value.

The values come from the engine's own decoders. Where a field is comes from the tables here, written a second time
on purpose: a field that the decoder takes from elsewhere than its table says is an error. The tables of
``docs/format`` are compared with them as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sessiondb.files import File
from sessiondb.lock import Holder
from sessiondb.wal import format as log_format
from sessiondb.wal.format import decode_durable, decode_frame_header, decode_segment_header, decode_slot
from sessiondb.wal.operations import decode_operations
from sessiondb.wal.reader import FrameReader
from sessiondb_backends.json_format import HEADER_BYTES, decode_header

__all__ = ["DURABLE", "FRAME", "SEGMENT", "SLOT", "WORDS", "Field", "annotate"]


class Field(NamedTuple):
    """Where a field is, counted from the start of its structure."""

    offset: int
    width: int
    name: str


def _table(text: str) -> list[Field]:
    rows = [line.split() for line in text.strip().splitlines()]
    return [Field(int(offset), int(width), name) for offset, width, name in rows]


SEGMENT = _table("""
    0   8   magic
    8   2   version
    10  2   header_len
    12  4   flags
    16  16  uuid
    32  4   epoch
    36  4   salt
    40  8   first_lsn
    48  4   prev_epoch
    52  4   prev_crc
    56  8   prev_first
    64  8   prev_end
    72  8   created_us
    80  44  zero
    124 4   crc
""")
FRAME = _table("""
    0   4   crc
    4   4   length
    8   8   lsn
    16  4   payload_crc
    20  1   type
    21  1   flags
    22  2   zero
    24  4   prev
    28  4   undurable
    32  8   time_us
""")
SLOT = _table("""
    0   8   magic
    8   16  uuid
    24  16  boot_id
    40  4   epoch
    44  4   state
    48  4   segment_epoch
    52  4   zero
    56  8   segment_first
    64  8   applied
    72  8   sequence
    80  8   end
    88  8   last_lsn
    96  4   crc
""")
WORDS = _table("""
    0   4   owner_pid
    4   4   owner_start
    8   8   last_lsn
    16  8   end
    24  8   check
    32  8   generation
""")
DURABLE = _table("""
    0   8   lsn
    8   4   epoch
    12  4   crc
""")
KINDS = {log_format.TRANSACTION: "TRANSACTION", log_format.SEAL: "SEAL"}
STATE_NAMES = {log_format.STATE_OPEN: "OPEN", log_format.STATE_CLEAN: "CLEAN", log_format.STATE_POISONED: "POISONED"}
HEX_FIELDS = {"crc", "payload_crc", "prev", "prev_crc", "salt", "check"}


class _Bytes(File):
    """Bytes in memory, for the engine's reader."""

    def __init__(self, data: bytes):
        super().__init__(-1, "memory")
        self._data = data

    def pread(self, length: int, offset: int) -> bytes:
        return self._data[offset : offset + length]

    def size(self) -> int:
        return len(self._data)


def annotate(path: Path) -> str:
    """The file as annotated text, by the kind of file that its name says."""
    data = path.read_bytes()
    if path.suffix == ".seg":
        lines = _segment(data)
    elif path.name == "HEAD":
        lines = _head(data)
    elif path.name == "OPEN":
        lines = _open(data)
    elif path.suffix == ".json":
        lines = _json(data)
    else:
        lines = _raw(data, 0, "bytes")
    return "\n".join([f"{path.name}: {len(data)} bytes", *lines, ""])


def _segment(data: bytes) -> Iterator[str]:
    header = decode_segment_header(data)
    assert header is not None
    yield "\nsegment header"
    fixed = {"magic": log_format.SEGMENT_MAGIC, "version": 1, "header_len": 128, "flags": 0, "zero": bytes(44)}
    yield from _fields(data, 0, SEGMENT, header._asdict() | fixed)
    reader = FrameReader(_Bytes(data), header)
    for frame in reader:
        again = decode_frame_header(data, frame.offset, header.salt)
        assert again == frame.header
        yield f"\nframe: {KINDS[frame.header.type]}, LSN {frame.header.lsn}"
        yield from _fields(data, frame.offset, FRAME, frame.header._asdict())
        start = frame.offset + log_format.FRAME_HEADER_BYTES
        yield from _raw(frame.payload, start, "payload")
        if frame.payload:
            yield from (f"{'':16}= {_operation(operation)}" for operation in decode_operations(frame.payload))
        padding = log_format.frame_bytes(frame.header.length) - log_format.FRAME_HEADER_BYTES - frame.header.length
        yield from _raw(bytes(padding), start + frame.header.length, "padding")
    yield f"\nend: {reader.problem or 'SEAL'}"
    yield from _rest(data, reader.end)


def _operation(operation: Any) -> str:
    parts = {field: getattr(operation, field) for field in operation.__struct_fields__}
    return f"{type(operation).__name__}({', '.join(f'{name}={value!r}' for name, value in parts.items())})"


def _head(data: bytes) -> Iterator[str]:
    uuid = b""
    done = 0
    for turn in (0, 1):
        offset = log_format.slot_offset(turn)
        yield from _rest(data[:offset], done)
        slot = decode_slot(data, offset)
        if slot is None:
            done = offset
            continue
        uuid = slot.uuid
        values = slot._asdict() | {
            "magic": log_format.HEAD_MAGIC,
            "segment_epoch": slot.segment.epoch,
            "segment_first": slot.segment.first_lsn,
            "zero": 0,
            "crc": int.from_bytes(data[offset + 96 : offset + 100], "little"),
        }
        yield f"\npage {turn}: append slot {'AB'[turn]}"
        yield from _fields(data, offset, SLOT, values)
        done = offset + SLOT[-1].offset + SLOT[-1].width
    offset = log_format.OWNER_OFFSET
    yield from _rest(data[:offset], done)
    yield "\npage 2: words"
    yield from _fields(data, offset, WORDS, _words(data))
    yield from _rest(data[: log_format.durable_offset(0)], offset + WORDS[-1].offset + WORDS[-1].width)
    offset = log_format.durable_offset(0)
    yield "\npage 3: durable entry 0"
    lsn, epoch = (int.from_bytes(data[offset + at : offset + at + width], "little") for at, width, _ in DURABLE[:2])
    assert decode_durable(data, uuid) == ({epoch: lsn} if lsn else {})
    crc = int.from_bytes(log_format.encode_durable(uuid, 0, lsn, epoch)[-4:], "little")
    yield from _fields(data, offset, DURABLE, {"lsn": lsn, "epoch": epoch, "crc": crc})
    yield from _rest(data, log_format.durable_offset(1))


def _words(data: bytes) -> dict[str, int]:
    slot = max(filter(None, (decode_slot(data, log_format.slot_offset(turn)) for turn in (0, 1))), key=_sequence)
    position = log_format.decode_position(data, slot.uuid, slot.epoch)
    assert position is not None
    last_lsn, end = position
    start = log_format.OWNER_OFFSET
    return {
        "owner_pid": int.from_bytes(data[start : start + 4], "little"),
        "owner_start": int.from_bytes(data[start + 4 : start + 8], "little"),
        "last_lsn": last_lsn,
        "end": end,
        "check": last_lsn ^ end ^ log_format.position_key(slot.uuid, slot.epoch),
        "generation": slot.epoch * 256 + slot.state,
    }


def _sequence(slot: log_format.HeadSlot) -> int:
    return slot.sequence


def _open(data: bytes) -> Iterator[str]:
    holder = msgspec.json.decode(data, type=Holder)
    yield "\nwho holds the store"
    text = data.rstrip()
    yield _line(0, len(text), "holder", text.decode())
    yield _line(len(text), len(data) - len(text), "padding", "spaces and a line feed")
    assert msgspec.json.encode(holder) == text


def _json(data: bytes) -> Iterator[str]:
    header = decode_header(data)
    assert header is not None
    yield "\nheader line"
    text = data[:HEADER_BYTES].rstrip()
    yield _line(0, len(text), "header", text.decode())
    yield _line(len(text), HEADER_BYTES - len(text), "padding", "spaces and a line feed")
    yield f"{'':16}= uuid {header.identity.uuid.hex()}"
    yield f"{'':16}= position {header.position}"
    yield "\nbody (the digest's bytes)"
    offset = HEADER_BYTES
    for row in data[HEADER_BYTES:].splitlines(keepends=True):
        yield _line(offset, len(row), "line", row.rstrip(b"\n").decode())
        offset += len(row)
    assert offset == len(data)


# ---- lines


def _line(offset: int, width: int, name: str, value: str) -> str:
    return f"{offset:08x} {width:6}  {name:<14} {value}".rstrip()


def _fields(data: bytes, start: int, table: list[Field], values: dict[str, Any]) -> Iterator[str]:
    for at, width, name in table:
        stored = data[start + at : start + at + width]
        value = values[name]
        encoded = value if isinstance(value, bytes) else int(value).to_bytes(width, "little")
        assert stored == encoded, f"{name} at {start + at} is {stored.hex()}, the decoder says {value!r}"
        shown = f"{width} zero bytes" if width > 16 else stored.hex(" ")
        yield _line(start + at, width, name, f"{shown:<48} {_show(name, value)}")


def _show(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        return repr(value) if name == "magic" else ""
    if name in HEX_FIELDS:
        return f"0x{value:x}"
    if name == "state":
        return f"{value} {STATE_NAMES[value]}"
    if name == "type":
        return f"{value} {KINDS[value]}"
    return str(value)


def _raw(data: bytes, offset: int, name: str) -> Iterator[str]:
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        yield _line(offset + at, len(piece), name, f"{piece.hex(' '):<48} {text}")


def _rest(data: bytes, start: int) -> Iterator[str]:
    """What no decoder knows: the bytes that are not zero, and how many zeros there are."""
    kept = len(data.rstrip(b"\0"))
    if kept > start:
        yield from _raw(data[start:kept], start, "unknown")
    start = max(start, kept)
    if start < len(data):
        yield _line(start, len(data) - start, "zero", "")
