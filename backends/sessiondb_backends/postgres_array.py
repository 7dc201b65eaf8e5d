"""Arrays in PostgreSQL's binary form, made of bytes that are there already. Pure.

psycopg would look at each element to find out its type, and would decode and encode the texts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import ClassVar

from .postgres_driver import adapt, pq

__all__ = ["BytesArray", "JsonArray", "TextArray", "register"]

_HEADER = struct.Struct(">iiIii")
_length = struct.Struct(">i").pack


class BinaryArray:
    """An array of one dimension, without NULLs."""

    element_oid: ClassVar[int]
    oid: ClassVar[int]

    def __init__(self, items: Iterable[bytes]):
        self._parts: list[bytes] = []
        self.extend(items)

    def extend(self, items: Iterable[bytes]) -> None:
        """Add elements at the end."""
        self._parts += [part for item in items for part in (_length(len(item)), item)]

    def __len__(self) -> int:
        return len(self._parts) // 2

    def __bytes__(self) -> bytes:
        header = _HEADER.pack(1, 0, self.element_oid, len(self), 1)
        return header + b"".join(self._parts)


class TextArray(BinaryArray):
    """UTF-8 texts."""

    element_oid, oid = 25, 1009


class JsonArray(BinaryArray):
    """JSON texts."""

    element_oid, oid = 114, 199


class BytesArray(BinaryArray):
    """Raw bytes."""

    element_oid, oid = 17, 1001


class _Dumper(adapt.Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: BinaryArray) -> bytes:
        return bytes(obj)


class _TextDumper(_Dumper):
    oid = TextArray.oid


class _JsonDumper(_Dumper):
    oid = JsonArray.oid


class _BytesDumper(_Dumper):
    oid = BytesArray.oid


def register(adapters: adapt.AdaptersMap) -> None:
    """Let a connection take them as parameters."""
    adapters.register_dumper(TextArray, _TextDumper)
    adapters.register_dumper(JsonArray, _JsonDumper)
    adapters.register_dumper(BytesArray, _BytesDumper)
