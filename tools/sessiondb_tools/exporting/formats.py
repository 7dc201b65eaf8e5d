"""The formats by name. Each is a function from `Records` to pieces of bytes, made as they are written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from sessiondb.errors import CorruptionError

from ..exit_codes import USAGE, CommandError
from .lines import as_lines, one_line
from .records import Records
from .rows import as_rows

__all__ = ["FORMATS", "as_json", "as_msgpack", "format_of"]

Format = Callable[[Records], Iterator[bytes]]


def as_json(records: Records) -> Iterator[bytes]:
    """One document: an object of tables, each an object of records by key, a record a line.

    A record of a table of bytes is ``{"base64": ...}``.
    """
    encode = msgspec.json.Encoder().encode
    before = b"{\n"
    for name, kind in records.tables.items():
        yield before + encode(name) + b": {"
        before = b"\n"
        for key, image in records.of(name):
            value = encode({"base64": image}) if kind == "bytes" else one_line(name, key, image)
            yield before + encode(key) + b": " + value
            before = b",\n"
        yield b"\n}"
        before = b",\n"
    yield b"\n}\n" if records.tables else b"{}\n"


def as_msgpack(records: Records) -> Iterator[bytes]:
    """A stream of MessagePack objects, one after the other: ``{"table": ..., "key": ..., "record": ...}``.

    A record of a table of bytes has ``bytes``, a bin, instead of ``record``. Read it with ``msgpack.Unpacker``.
    """
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.json.Decoder().decode
    for table, kind, key, image in records:
        made: dict[str, Any] = {"table": table, "key": key}
        if kind == "bytes":
            made["bytes"] = image
        else:
            try:
                made["record"] = decode(image)
            except msgspec.DecodeError as error:
                raise CorruptionError(f"the record {key!r} is no JSON: {error}", path=f"table {table!r}") from error
        yield encode(made)


FORMATS: dict[str, Format] = {"jsonl": as_lines, "json": as_json, "msgpack": as_msgpack, "csv": as_rows}

_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".msgpack": "msgpack", ".mpk": "msgpack",
            ".csv": "csv"}  # fmt: skip


def format_of(named: str | None, path: str | None) -> str:
    """The format that was named, or the one that the ending of the file names; else JSON Lines.

    Raises:
        CommandError: the two contradict each other.
    """
    ending = _ENDINGS.get(os.path.splitext(path or "")[1].lower())
    if named is None:
        return ending or "jsonl"
    if ending is not None and ending != named:
        raise CommandError(
            f"--format {named} and the name {path} do not agree; next: choose another name, or leave out --format",
            USAGE,
        )
    return named
