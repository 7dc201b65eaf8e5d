"""Records and changes as JSON Lines: what one line is, and a file that is there as a whole or not at all.

A record's line is ``{"table": ..., "key": ..., "record": ...}``; of a table of bytes it has ``base64`` instead of
``record``. A change's line begins with ``lsn`` and ``time``, and says in ``op`` what happened, in the words of
`sessiondb log dump`: ``put``, ``put_bytes``, ``delete``, ``drop``, ``index``, ``unindex``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from sessiondb.backend import TableKind
from sessiondb.errors import CorruptionError
from sessiondb.files import Files
from sessiondb.wal.operations import Operation

from .exit_codes import USAGE, CommandError
from .frame_text import operation_json
from .output import as_time

__all__ = ["Write", "change_line", "opened", "record_line"]

Write = Callable[[dict[str, Any]], None]
"""Writes a line."""

BUFFER_BYTES = 1 << 20


def record_line(table: str, kind: TableKind, key: str, image: bytes) -> dict[str, Any]:
    """A record."""
    if kind == "bytes":
        return {"table": table, "key": key, "base64": image}
    return {"table": table, "key": key, "record": _in_one_line(table, key, image)}


def change_line(lsn: int, time_us: int, operation: Operation) -> dict[str, Any]:
    """A change; all changes with the same LSN are one transaction."""
    made = operation_json(operation)
    return {"lsn": lsn, "time": as_time(time_us), "table": made.pop("table"), **made}


def _in_one_line(table: str, key: str, image: bytes) -> msgspec.Raw:
    """The document as it is stored; people with SQL may have stored it in several lines."""
    if b"\n" not in image and b"\r" not in image:
        return msgspec.Raw(image)
    try:
        return msgspec.Raw(msgspec.json.format(image, indent=-1))
    except msgspec.DecodeError as error:
        raise CorruptionError(f"the record {key!r} is no JSON: {error}", path=f"table {table!r}") from error


@contextmanager
def opened(path: str | None) -> Iterator[Write]:
    """Where lines go: standard output, or a new file, which has its name and is durable when the block has ended.

    Raises:
        CommandError: something is at the path already.
        OSError: it cannot be written; nothing is left of it.
    """
    if path is None or path == "-":
        with _buffered(_write_stdout) as write:
            yield write
        sys.stdout.buffer.flush()
        return
    files, temporary = Files(), f"{path}.{os.getpid()}.tmp"
    _must_be_free(files, path)
    file = files.open(temporary, create=True, exclusive=True)
    try:
        end = [0]

        def append(data: bytes) -> None:
            file.pwrite(data, end[0])
            end[0] += len(data)

        with _buffered(append) as write:
            yield write
        file.fsync()
        _must_be_free(files, path)
        files.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            files.unlink(temporary)
        raise
    finally:
        file.close()
    # What was exported may be removed where it came from: the name has to outlive a power cut, too.
    files.sync_folder(os.path.dirname(os.path.abspath(path)))


def _must_be_free(files: Files, path: str) -> None:
    if files.stat(path) is not None:
        raise CommandError(
            f"there is something at {path} already, and it is kept; next: choose another --output", USAGE
        )


@contextmanager
def _buffered(out: Callable[[bytes], None]) -> Iterator[Write]:
    encoder, buffer = msgspec.json.Encoder(), bytearray()

    def write(line: dict[str, Any]) -> None:
        buffer.extend(encoder.encode(line))
        buffer.append(0x0A)
        if len(buffer) >= BUFFER_BYTES:
            out(bytes(buffer))
            buffer.clear()

    yield write
    out(bytes(buffer))


def _write_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
