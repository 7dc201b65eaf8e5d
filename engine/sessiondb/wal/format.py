r"""The bytes of the log's files. Pure: no files, no clock. Specified in docs/format/log.md; all little endian.

Segment header, `SEGMENT_HEADER_BYTES` = 128, at offset 0 of every segment::

     1   0  magic          8  b"SDBWAL\r\n" (a text-mode copy destroys it)
     2   8  version      u16  1
     3  10  header_len   u16  128
     4  12  flags        u32  0
     5  16  uuid          16  the store
     6  32  epoch        u32
     7  36  salt         u32  random; seeds every CRC of the segment's frames
     8  40  first_lsn    u64  LSN of the first frame
     9  48  prev_epoch   u32  the predecessor's epoch, and
    10  52  prev_crc     u32  the header CRC of its last frame (of its segment header when it has none),
    11  56  prev_first   u64  its first LSN (0: there is no predecessor, the log starts here),
    12  64  prev_end     u64  and the offset where it ends: *a segment ends where its successor says*
    13  72  created_us   u64  microseconds since 1970; for people, never for decisions
    14  80  zero          44
    15 124  crc          u32  crc32 of bytes 0..124, in every version of this format

Frame header, `FRAME_HEADER_BYTES` = 40, then the payload, then zeros up to a multiple of 8::

     1   0  crc          u32  crc32 of bytes 4..40, seeded with the salt: checked before `length` is trusted
     2   4  length       u32  payload bytes, at most `PAYLOAD_BYTES_MAX`
     3   8  lsn          u64
     4  16  payload_crc  u32  crc32 of the payload, seeded with the salt
     5  20  type          u8  1 TRANSACTION, 2 SEAL; 0 is never valid
     6  21  flags         u8  0
     7  22  zero         u16
     8  24  prev         u32  `crc` of the frame before (of the segment header: its `crc`)
     9  28  undurable    u32  lsn - (highest LSN known durable when this was written), at most 2**32-1
    10  32  time_us      u64  microseconds since 1970; for people, never for order

A frame is valid if and only if (1) its header CRC is good, (2) its LSN is the previous one + 1, (3) `prev` is the
previous frame's CRC, (4) `length` is within the limit and the file, (5) the payload CRC is good. A SEAL frame
closes a segment: it carries the LSN that the next transaction will get, and the next segment's first frame has it.

HEAD, `HEAD_BYTES` = 16,384: four pages of 4,096 bytes, never synced while a store is open::

    page 0, 1   append slots A and B, written in turn by the holder of LOCK when something besides the end changes::
         0  magic          8  b"SDBHEAD1"
         8  uuid          16
        24  boot_id       16
        40  epoch        u32
        44  state        u32  1 OPEN, 2 CLEAN, 3 POISONED
        48  segment      u32 u32 u64   the active segment's epoch, zero, first LSN
        64  applied      u64  the backend's applied LSN
        72  sequence     u64  the slot with the higher one is the newer
        80  end          u64  end of the last frame in the active segment, as of this slot
        88  last_lsn     u64  as of this slot
        96  crc          u32  crc32 of bytes 0..96
    page 2      aligned 8-byte words:
         0  owner        u32 pid, u32 start time (clock ticks since boot, low bits): non-zero while LOCK is held
         8  last LSN     u64  what a reader peeks at; written with every frame, together with
        16  end          u64  the end of the last frame in the active segment, and
        24  check        u64  last LSN ^ end ^ (first 8 bytes of the uuid) ^ epoch: else the two say nothing
        32  generation   u64  epoch * 256 + state
    page 3      256 durable entries of 16 bytes, one for each process:
         0  lsn          u64  the durable word: the last LSN known appended before a successful fdatasync began
         8  epoch        u32
        12  crc          u32  crc32 of (uuid, entry number u32, lsn u64, epoch u32); else the entry says nothing

Only durable entries are witnesses. Slots and words of pages 0 to 2 are hints: they may be older or newer than
the log after a power cut.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple
from zlib import crc32

from ..errors import UnsupportedFormatError

__all__ = [
    "DURABLE_ENTRIES",
    "FRAME_HEADER_BYTES",
    "GENERATION_OFFSET",
    "HEAD_BYTES",
    "OWNER_OFFSET",
    "PAYLOAD_BYTES_MAX",
    "POSITION_OFFSET",
    "POSITION_WORDS",
    "SEAL",
    "SEGMENT_HEADER_BYTES",
    "STATE_CLEAN",
    "STATE_OPEN",
    "STATE_POISONED",
    "TRANSACTION",
    "WORD",
    "FrameHeader",
    "HeadSlot",
    "SegmentHeader",
    "SegmentName",
    "decode_durable",
    "decode_frame_header",
    "decode_position",
    "decode_segment_header",
    "decode_slot",
    "durable_offset",
    "encode_durable",
    "encode_frame",
    "encode_segment_header",
    "encode_slot",
    "frame_bytes",
    "is_good_salt",
    "position_key",
    "slot_offset",
]

FORMAT_VERSION = 1
SEGMENT_MAGIC = b"SDBWAL\r\n"
HEAD_MAGIC = b"SDBHEAD1"

SEGMENT_HEADER_BYTES = 128
FRAME_HEADER_BYTES = 40
PAYLOAD_BYTES_MAX = 1 << 30

TRANSACTION = 1
SEAL = 2

_SEGMENT = Struct("<8sHHI16sIIQIIQQQ")
_CRC = Struct("<I")
_FRAME = Struct("<IIQIBBHIIQ")
_FRAME_BODY = Struct("<IQIBBHIIQ")
assert _SEGMENT.size == 80
assert _FRAME.size == FRAME_HEADER_BYTES == _FRAME_BODY.size + 4
_PADDING = [b"\0" * (-n % 8) for n in range(8)]


class SegmentName(NamedTuple):
    """A segment's file name: ``<epoch 8 hex>-<first LSN 16 hex>.seg``. Tuple order is the log's order."""

    epoch: int
    first_lsn: int

    def __str__(self) -> str:
        return f"{self.epoch:08x}-{self.first_lsn:016x}.seg"

    @classmethod
    def parse(cls, name: str) -> SegmentName | None:
        """The name's parts; ``None`` when it is not exactly of this form."""
        try:
            parsed = cls(int(name[:8], 16), int(name[9:25], 16))
        except ValueError:
            return None
        return parsed if str(parsed) == name else None


class SegmentHeader(NamedTuple):
    """A segment header's fields, numbered in the module's docstring."""

    uuid: bytes
    epoch: int
    salt: int
    first_lsn: int
    prev_epoch: int
    prev_crc: int
    prev_first: int
    prev_end: int
    created_us: int
    crc: int = 0
    """Set by encode and decode."""

    @property
    def name(self) -> SegmentName:
        """The file name that belongs to this header."""
        return SegmentName(self.epoch, self.first_lsn)

    @property
    def predecessor(self) -> SegmentName | None:
        """The file name of the segment before, or ``None`` where the log starts."""
        return SegmentName(self.prev_epoch, self.prev_first) if self.prev_first else None


def is_good_salt(salt: int) -> bool:
    """Whether zeros are no valid frame header under this salt."""
    return crc32(bytes(FRAME_HEADER_BYTES - 4), salt) != 0


def encode_segment_header(header: SegmentHeader) -> tuple[bytes, SegmentHeader]:
    """The header's 128 bytes, and the header with its `crc` set."""
    fields = _SEGMENT.pack(
        SEGMENT_MAGIC,
        FORMAT_VERSION,
        SEGMENT_HEADER_BYTES,
        0,
        header.uuid,
        header.epoch,
        header.salt,
        header.first_lsn,
        header.prev_epoch,
        header.prev_crc,
        header.prev_first,
        header.prev_end,
        header.created_us,
    )
    data = fields.ljust(SEGMENT_HEADER_BYTES - 4, b"\0")
    crc = crc32(data)
    return data + _CRC.pack(crc), header._replace(crc=crc)


def decode_segment_header(data: bytes) -> SegmentHeader | None:
    """Read a segment header.

    Returns:
        ``None`` when `data` is no whole header with a good checksum.

    Raises:
        UnsupportedFormatError: a good header of a later version.
    """
    if len(data) < SEGMENT_HEADER_BYTES or not data.startswith(SEGMENT_MAGIC):
        return None
    (crc,) = _CRC.unpack_from(data, SEGMENT_HEADER_BYTES - 4)
    if crc32(data[: SEGMENT_HEADER_BYTES - 4]) != crc:
        return None
    _, version, _, _, *fields = _SEGMENT.unpack_from(data)
    if version != FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"the log is of format version {version}, this sessiondb reads version {FORMAT_VERSION}: upgrade sessiondb"
        )
    uuid, epoch, salt, first_lsn, prev_epoch, prev_crc, prev_first, prev_end, created_us = fields
    return SegmentHeader(uuid, epoch, salt, first_lsn, prev_epoch, prev_crc, prev_first, prev_end, created_us, crc)


class FrameHeader(NamedTuple):
    """A frame header's fields, numbered in the module's docstring."""

    crc: int
    length: int
    lsn: int
    payload_crc: int
    type: int
    flags: int
    zero: int
    prev: int
    undurable: int
    time_us: int


def frame_bytes(length: int) -> int:
    """The size of a whole frame whose payload has `length` bytes."""
    return FRAME_HEADER_BYTES + length + (-length % 8)


def encode_frame(
    kind: int, lsn: int, payload: bytes, prev: int, undurable: int, time_us: int, salt: int
) -> tuple[bytes, int]:
    """A whole frame and its header CRC (the next frame's `prev`)."""
    length = len(payload)
    if undurable > 0xFFFFFFFF:
        undurable = 0xFFFFFFFF
    body = _FRAME_BODY.pack(length, lsn, crc32(payload, salt), kind, 0, 0, prev, undurable, time_us)
    crc = crc32(body, salt)
    return _CRC.pack(crc) + body + payload + _PADDING[length & 7], crc


def decode_frame_header(data: bytes, offset: int, salt: int) -> FrameHeader | None:
    """The frame header at `offset`; ``None`` when its CRC or type is bad or `data` ends before it does.

    Only rules 1 and the type are judged here: whoever knows the previous frame judges the others.
    """
    if len(data) - offset < FRAME_HEADER_BYTES:
        return None
    header = tuple.__new__(FrameHeader, _FRAME.unpack_from(data, offset))
    if crc32(data[offset + 4 : offset + FRAME_HEADER_BYTES], salt) != header[0] or not header[4]:
        return None
    return header


HEAD_BYTES = 16_384
_PAGE = 4_096
OWNER_OFFSET = 2 * _PAGE
POSITION_OFFSET = OWNER_OFFSET + 8
GENERATION_OFFSET = OWNER_OFFSET + 32
DURABLE_ENTRIES = 256

STATE_OPEN = 1
STATE_CLEAN = 2
STATE_POISONED = 3

WORD = Struct("<Q")
POSITION_WORDS = Struct("<QQQ")
_SLOT = Struct("<8s16s16sIIIIQQQQQ")
_SLOT_BYTES = _SLOT.size + 4
_DURABLE = Struct("<QII")
_DURABLE_CHECKED = Struct("<16sIQI")
assert _SLOT_BYTES == 100


class HeadSlot(NamedTuple):
    """An append slot's fields, as in the module's docstring."""

    uuid: bytes
    boot_id: bytes
    epoch: int
    state: int
    segment: SegmentName
    applied: int
    sequence: int
    end: int
    last_lsn: int


def slot_offset(sequence: int) -> int:
    """Where the slot with this sequence number goes: the two slots take turns."""
    return (sequence & 1) * _PAGE


def encode_slot(slot: HeadSlot) -> bytes:
    """The slot's 100 bytes."""
    data = _SLOT.pack(
        HEAD_MAGIC, slot.uuid, slot.boot_id, slot.epoch, slot.state, slot.segment.epoch, 0,
        slot.segment.first_lsn, slot.applied, slot.sequence, slot.end, slot.last_lsn,
    )  # fmt: skip
    return data + _CRC.pack(crc32(data))


def decode_slot(data: bytes, offset: int) -> HeadSlot | None:
    """The slot at `offset`; ``None`` when there is none with a good checksum."""
    chunk = data[offset : offset + _SLOT_BYTES]
    if len(chunk) < _SLOT_BYTES or not chunk.startswith(HEAD_MAGIC):
        return None
    if crc32(chunk[:-4]) != _CRC.unpack_from(chunk, _SLOT_BYTES - 4)[0]:
        return None
    fields = _SLOT.unpack_from(chunk)
    _, uuid, boot_id, epoch, state, segment_epoch, _, segment_first, applied, sequence, end, last_lsn = fields
    segment = SegmentName(segment_epoch, segment_first)
    return HeadSlot(uuid, boot_id, epoch, state, segment, applied, sequence, end, last_lsn)


def position_key(uuid: bytes, epoch: int) -> int:
    """What the check word of the position words is made with, for one store and epoch."""
    value: int = WORD.unpack_from(uuid)[0]
    return value ^ epoch


def decode_position(data: bytes, uuid: bytes, epoch: int) -> tuple[int, int] | None:
    """(last LSN, end) by the position words; ``None`` when they are not of this store and epoch."""
    if len(data) < POSITION_OFFSET + POSITION_WORDS.size:
        return None
    last_lsn, end, check = POSITION_WORDS.unpack_from(data, POSITION_OFFSET)
    return (last_lsn, end) if last_lsn ^ end ^ position_key(uuid, epoch) == check else None


def durable_offset(entry: int) -> int:
    """Where durable entry number `entry` is in HEAD."""
    return 3 * _PAGE + entry * _DURABLE.size


def encode_durable(uuid: bytes, entry: int, lsn: int, epoch: int) -> bytes:
    """A durable entry's 16 bytes."""
    return _DURABLE.pack(lsn, epoch, crc32(_DURABLE_CHECKED.pack(uuid, entry, lsn, epoch)))


def decode_durable(data: bytes, uuid: bytes) -> dict[int, int]:
    """The highest LSN that HEAD witnesses as durable, for each epoch that it speaks of."""
    highest: dict[int, int] = {}
    page = data[durable_offset(0) : durable_offset(DURABLE_ENTRIES)]
    for entry, (lsn, epoch, crc) in enumerate(_DURABLE.iter_unpack(page[: len(page) // _DURABLE.size * _DURABLE.size])):
        if lsn > highest.get(epoch, 0) and crc == crc32(_DURABLE_CHECKED.pack(uuid, entry, lsn, epoch)):
            highest[epoch] = lsn
    return highest
