"""The bytes of a store in LMDB, version 1. Pure: no I/O, no clock. Specified in ``docs/format/lmdb.md``.

The environment holds named databases:

1. ``sessiondb``: the key ``state`` with `State`; for each table the key ``t:<name>`` with `TableRecord`;
2. ``t<id>``: the records of a table, key to image and checksum (`encode_value`);
3. ``i<id>``: an index of a table, field's value (`index_key`) to the keys of the records that hold it.

Integers are little-endian. Everything but index entries ends in a CRC.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import frexp, isfinite
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from sessiondb.backend import Identity, Position, TableKind
from sessiondb.query import ABSENT

__all__ = [
    "DIRECTORY",
    "FORMAT_VERSION",
    "INDEX_KEY_BYTES_MAX",
    "RESIDUE",
    "State",
    "TableRecord",
    "decode_state",
    "decode_table",
    "encode_state",
    "encode_table",
    "encode_value",
    "index_database",
    "index_key",
    "is_cut",
    "table_database",
    "table_key",
]

FORMAT_VERSION = 1
DIRECTORY = b"sessiondb"
"""The named database that makes an environment a store of ours."""
STATE_KEY = b"state"
TABLE_PREFIX = b"t:"
MAGIC = b"sdblmdb\n"

CRC_BYTES = 4
RESIDUE = 0x2144DF1C
"""What `zlib.crc32` gives for any bytes followed by their own CRC: one call checks a value."""

_STATE = Struct("<8sI16sQQ")
assert _STATE.size == 44


# ---- the directory


class State(NamedTuple):
    """Which store this is and where it stands."""

    identity: Identity
    position: Position


def encode_state(state: State) -> bytes:
    """The bytes of a state: magic, format version u32, uuid, epoch u64, LSN u64, CRC."""
    identity, position = state
    body = _STATE.pack(MAGIC, identity.format_version, identity.uuid, position.epoch, position.lsn)
    return body + crc32(body).to_bytes(CRC_BYTES, "little")


def decode_state(data: bytes) -> State | None:
    """The state; ``None`` when the bytes are damaged. A later version is told by its number alone."""
    if crc32(data) != RESIDUE or data[:8] != MAGIC:
        return None
    version = int.from_bytes(data[8:12], "little")
    if version != FORMAT_VERSION:
        return State(Identity(bytes(16), version), Position(0, 0))
    if len(data) != _STATE.size + CRC_BYTES:
        return None
    _, _, uuid, epoch, lsn = _STATE.unpack_from(data)
    return State(Identity(uuid, version), Position(epoch, lsn))


class TableRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table's entry in the directory."""

    id: int
    kind: TableKind
    indexes: Mapping[str, int] = {}
    """Field to the number of its index database."""


_decode_table = msgspec.json.Decoder(TableRecord).decode


def table_key(name: str) -> bytes:
    """The directory's key for a table."""
    return TABLE_PREFIX + name.encode()


def table_name(key: bytes) -> str:
    """The table that a directory's key names."""
    return key[len(TABLE_PREFIX) :].decode()


def encode_table(key: bytes, record: TableRecord) -> bytes:
    """The bytes of a table's entry: compact JSON, and the CRC over key and JSON: a name that rots is noticed too."""
    body = msgspec.json.encode(record)
    return body + crc32(body, crc32(key)).to_bytes(CRC_BYTES, "little")


def decode_table(key: bytes, data: bytes) -> TableRecord | None:
    """A table's entry; ``None`` when key or bytes are damaged."""
    if crc32(data, crc32(key)) != RESIDUE:
        return None
    try:
        return _decode_table(data[:-CRC_BYTES])
    except msgspec.DecodeError:
        return None


def table_database(number: int) -> bytes:
    """The named database of a table's records."""
    return b"t%d" % number


def index_database(number: int) -> bytes:
    """The named database of an index."""
    return b"i%d" % number


# ---- records


def encode_value(table_id: int, key: bytes, image: bytes) -> bytes:
    """What is stored for a record: the image, then the CRC over table, key and image.

    The CRC starts from the table's number and runs over the key first, so that a value which turns up under another
    key or in another table is noticed.
    """
    return image + crc32(image, crc32(key, table_id)).to_bytes(CRC_BYTES, "little")


def decode_value(table_id: int, key: bytes, value: bytes) -> bytes | None:
    """The image; ``None`` when it is damaged. Readers have these two lines of their own, for speed."""
    if crc32(value, crc32(key, table_id)) != RESIDUE:
        return None
    return value[:-CRC_BYTES]


# ---- index keys

INDEX_KEY_BYTES_MAX = 511
"""LMDB's limit. A text's key of this length may have been cut: others may share it."""

NULL_KEY = b"\x01"
ABSENT_KEY = b"\x02"
FALSE_KEY, TRUE_KEY = b"\x10\x00", b"\x10\x01"
NUMBER, TEXT, OTHER = b"\x20", b"\x30", b"\x40"
FIRST_VALUE = b"\x10"
"""Null and absent sort below this, all values at or above it."""
BEHIND_VALUES = b"\x50"

_NUMBER = Struct(">HQB")
_NUMBER_BYTES = 13
_EXPONENT_BIAS = 0x4000
_ZERO, _POSITIVE, _NEGATIVE, _OVER, _UNDER = b"\x80", b"\x81", b"\x7f", b"\x82", b"\x7e"
_COMPLEMENT = bytes(range(255, -1, -1))
assert len(NUMBER + _POSITIVE) + _NUMBER.size == _NUMBER_BYTES


def index_key(value: Any) -> bytes:
    """A field's value, `ABSENT` included, as bytes that sort as `sessiondb.query` says."""
    if isinstance(value, str):
        return (TEXT + value.encode("utf-8", "surrogatepass"))[:INDEX_KEY_BYTES_MAX]
    if value is ABSENT:
        return ABSENT_KEY
    if value is None:
        return NULL_KEY
    if isinstance(value, bool):
        return TRUE_KEY if value else FALSE_KEY
    if isinstance(value, (int, float)):
        return NUMBER + _number(value)
    return (OTHER + msgspec.json.encode(value))[:INDEX_KEY_BYTES_MAX]


def is_cut(key: bytes) -> bool:
    """Whether different values may have this index key."""
    if key >= TEXT:
        return len(key) == INDEX_KEY_BYTES_MAX
    return len(key) == _NUMBER_BYTES and key[-1] in (1, 254)


def _number(value: int | float) -> bytes:
    """Sign, exponent and 64 bits of mantissa: every double and every 64-bit integer exactly, in order of value.

    Integers that need more bits are cut: a last byte of 1 puts them behind the number that they were cut to.
    """
    if not value:
        return _ZERO
    if isinstance(value, float):
        if not isfinite(value):
            return _OVER if value > 0 else _UNDER
        fraction, exponent = frexp(abs(value))
        mantissa, rest = int(fraction * 2.0**64), 0
    else:
        size = abs(value)
        exponent = size.bit_length()
        shift = exponent - 64
        mantissa = size << -shift if shift <= 0 else size >> shift
        rest = int(shift > 0 and size != mantissa << shift)
    if exponent + _EXPONENT_BIAS > 0xFFFF:
        exponent, mantissa, rest = 0xFFFF - _EXPONENT_BIAS, (1 << 64) - 1, 1
    data = _NUMBER.pack(exponent + _EXPONENT_BIAS, mantissa, rest)
    return _POSITIVE + data if value > 0 else _NEGATIVE + data.translate(_COMPLEMENT)
