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


def _sealed(body: bytes) -> bytes:
    return body + crc32(body).to_bytes(CRC_BYTES, "little")


def encode_state(state: State) -> bytes:
    """The bytes of a state: magic, format version u32, uuid, epoch u64, LSN u64, CRC."""
    identity, position = state
    return _sealed(_STATE.pack(MAGIC, identity.format_version, identity.uuid, position.epoch, position.lsn))


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


def encode_table(record: TableRecord) -> bytes:
    """The bytes of a table's entry: compact JSON, CRC."""
    return _sealed(msgspec.json.encode(record))


def decode_table(data: bytes) -> TableRecord | None:
    """A table's entry; ``None`` when the bytes are damaged."""
    if crc32(data) != RESIDUE:
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
"""LMDB's limit. A key of this length was cut: other values may share it."""
TEXT_BYTES_MAX = INDEX_KEY_BYTES_MAX - 2
"""Longer texts are cut to one byte more, so that a cut key is told by its length."""

NULL_KEY = b"\x01"
ABSENT_KEY = b"\x02"
FALSE_KEY, TRUE_KEY = b"\x10\x00", b"\x10\x01"
NUMBER, TEXT, OTHER = b"\x20", b"\x30", b"\x40"
FIRST_VALUE = b"\x10"
"""Null and absent sort below this, all values at or above it."""
BEHIND_VALUES = b"\x50"

_NUMBER = Struct(">HQB")
_EXPONENT_BIAS = 0x4000
_ZERO, _POSITIVE, _NEGATIVE, _OVER, _UNDER = b"\x80", b"\x81", b"\x7f", b"\x82", b"\x7e"


class IndexKey(NamedTuple):
    """A field's value as bytes that sort as `sessiondb.query` says."""

    key: bytes
    exact: bool
    """False: different values may have this key."""


def index_key(value: Any) -> IndexKey:
    """The index key of a field's value, `ABSENT` included."""
    if value is ABSENT:
        return IndexKey(ABSENT_KEY, True)
    if value is None:
        return IndexKey(NULL_KEY, True)
    if isinstance(value, bool):
        return IndexKey(TRUE_KEY if value else FALSE_KEY, True)
    if isinstance(value, (int, float)):
        return _number_key(value)
    if isinstance(value, str):
        return _cut(TEXT, value.encode("utf-8", "surrogatepass"))
    return _cut(OTHER, msgspec.json.encode(value))


def _cut(tag: bytes, data: bytes) -> IndexKey:
    exact = len(data) <= TEXT_BYTES_MAX
    return IndexKey(tag + (data if exact else data[: TEXT_BYTES_MAX + 1]), exact)


def _number_key(value: int | float) -> IndexKey:
    """Sign, exponent and 64 bits of mantissa: every double and every 64-bit integer exactly, in order of value.

    Integers that need more bits are cut: a last byte of 1 puts them behind the number that they were cut to.
    """
    if not value:
        return IndexKey(NUMBER + _ZERO, True)
    if isinstance(value, float):
        if not isfinite(value):
            return IndexKey(NUMBER + (_OVER if value > 0 else _UNDER), True)
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
    if value > 0:
        return IndexKey(NUMBER + _POSITIVE + data, not rest)
    return IndexKey(NUMBER + _NEGATIVE + bytes(255 - byte for byte in data), not rest)
