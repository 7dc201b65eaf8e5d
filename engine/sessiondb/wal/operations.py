"""The payload of a transaction frame: a MessagePack array of operations. Pure. Specified in docs/format/log.md.

Each operation is an array whose first item is its tag::

    [1, table, key, image]   put    the record's compact JSON text, as MessagePack bin
    [2, table, key, image]   put    raw bytes, into a ``bytes`` table
    [3, table, key]          delete
    [4, table]               drop   the table goes with all its records and indexes; later operations may make it anew
    [5, table, field]        index    from now on the backend keeps an index on this field of a table of JSON records
    [6, table, field]        unindex  from now on it does not

Operations hold final values, never increments, so replaying one twice gives the same state. A table exists from
its first put, whose tag tells its kind, or from its first index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

__all__ = [
    "Delete",
    "Drop",
    "Index",
    "Operation",
    "Put",
    "PutBytes",
    "Unindex",
    "decode_operations",
    "encode_operations",
]


class Put(msgspec.Struct, array_like=True, tag=1, gc=False):
    """Store a JSON record."""

    kind: ClassVar[str | None] = "json"
    table: str
    key: str
    image: bytes


class PutBytes(msgspec.Struct, array_like=True, tag=2, gc=False):
    """Store raw bytes."""

    kind: ClassVar[str | None] = "bytes"
    table: str
    key: str
    image: bytes


class Delete(msgspec.Struct, array_like=True, tag=3, gc=False):
    """Remove a record; harmless where it is absent."""

    kind: ClassVar[str | None] = None
    table: str
    key: str


class Drop(msgspec.Struct, array_like=True, tag=4, gc=False):
    """Remove a table."""

    kind: ClassVar[str | None] = None
    table: str


class Index(msgspec.Struct, array_like=True, tag=5, gc=False):
    """Keep an index on a field."""

    kind: ClassVar[str | None] = "json"
    table: str
    field: str


class Unindex(msgspec.Struct, array_like=True, tag=6, gc=False):
    """Keep no index on a field; harmless where there is none."""

    kind: ClassVar[str | None] = None
    table: str
    field: str


Operation = Put | PutBytes | Delete | Drop | Index | Unindex

encode_operations = msgspec.msgpack.Encoder().encode
"""A sequence of operations as a payload."""

_decoder = msgspec.msgpack.Decoder(list[Operation])


def decode_operations(payload: bytes) -> Sequence[Operation]:
    """The operations of a payload.

    Raises:
        ValueError: it is none (msgspec's errors are ValueErrors); under a good checksum that is a damaged or a
            newer writer.
    """
    return _decoder.decode(payload)
