"""JSON Lines: records and changes, an object a line.

A record's line is ``{"table": ..., "key": ..., "record": ...}``; of a table of bytes it has ``base64`` instead of
``record``. A change's line begins with ``lsn`` and ``time``, and says in ``op`` what happened, in the words of
`sessiondb log dump`: ``put``, ``put_bytes``, ``delete``, ``drop``, ``index``, ``unindex``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sessiondb.backend import TableKind
from sessiondb.errors import CorruptionError
from sessiondb.wal.operations import Operation

from ..frame_text import operation_json
from ..output import as_time
from .records import Records

__all__ = ["as_lines", "change_line", "one_line", "record_line"]

_encode = msgspec.json.Encoder().encode


def as_lines(records: Records) -> Iterator[bytes]:
    """The records."""
    for table, kind, key, image in records:
        yield record_line(table, kind, key, image)


def record_line(table: str, kind: TableKind, key: str, image: bytes) -> bytes:
    """A record, in the bytes in which it is stored."""
    if kind == "bytes":
        return _encode({"table": table, "key": key, "base64": image}) + b"\n"
    return _encode({"table": table, "key": key, "record": msgspec.Raw(one_line(table, key, image))}) + b"\n"


def change_line(lsn: int, time_us: int, operation: Operation) -> bytes:
    """A change; all changes with the same LSN are one transaction."""
    made: dict[str, Any] = operation_json(operation)
    return _encode({"lsn": lsn, "time": as_time(time_us), "table": made.pop("table"), **made}) + b"\n"


def one_line(table: str, key: str, image: bytes) -> bytes:
    """The document as it is stored; people with SQL may have stored it in several lines.

    Raises:
        CorruptionError: it is no JSON.
    """
    if b"\n" not in image and b"\r" not in image:
        return image
    try:
        return msgspec.json.format(image, indent=-1)
    except msgspec.DecodeError as error:
        raise CorruptionError(f"the record {key!r} is no JSON: {error}", path=f"table {table!r}") from error
