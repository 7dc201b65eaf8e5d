r"""The bytes of the JSON file (native layout). Pure. Specified in docs/format/json.md.

The file is one JSON object, in UTF-8, a record a line, so that people, ``grep`` and ``diff`` can read it::

    {"sessiondb":{"format":1,"uuid":"…","epoch":1,"lsn":42,"digest":"…","crc":"…"},            \n
    "tables":{
    "sessions":{
    "task-123":{"session":"task-123","branch":"main"},
    "task-124":{"session":"task-124","branch":"fix"}
    }
    },
    "bytes_tables":{
    "blobs":{
    "logo":"iVBORw0KGgo="
    }
    },
    "indexes":{
    "sessions":["branch"]
    }
    }

1. The first line is the header, padded with spaces to `HEADER_BYTES` = 256, its ``\n`` included. ``uuid`` is 32 hex
   digits; ``epoch`` and ``lsn`` are the applied position; ``digest`` is the SHA-256, in hex, of every byte behind
   the first line; ``crc`` is the crc32, in 8 hex digits, of the line up to the comma before it, so that a flipped bit
   in the position is noticed too.
2. ``tables`` holds the JSON tables, ``bytes_tables`` the tables of raw bytes (base64, RFC 4648 section 4). A name is
   in one of the two.
3. A record stands as the compact JSON text that was logged. Tables and keys are in key order.
4. ``indexes`` names the fields that have an index, a table a line, tables and fields in order. Tables without an index
   are not in it, and without any index in the file it is not there. Only the declaration is stored; the index itself
   is made in memory.

The file is valid if and only if the header line is of this form, its CRC and the digest are right, and the rest
parses. Position and data are bound together in one file: kept apart, a crash between two renames loses data.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from zlib import crc32

import msgspec

from sessiondb.backend import Identity, Position, TableKind
from sessiondb.errors import UnsupportedFormatError

from .resident import ResidentTable

__all__ = [
    "FORMAT_VERSION",
    "HEADER_BYTES",
    "Header",
    "decode_body",
    "decode_header",
    "encode_body",
    "encode_header",
]

FORMAT_VERSION = 1
HEADER_BYTES = 256

_HEADER = re.compile(
    rb'\{"sessiondb":\{"format":(\d{1,9}),"uuid":"([0-9a-f]{32})","epoch":(\d{1,10}),"lsn":(\d{1,20}),'
    rb'"digest":"([0-9a-f]{64})","crc":"([0-9a-f]{8})"\}, *\n'
)
_VERSION = re.compile(rb'\{"sessiondb":\{"format":(\d{1,9})[,}]')
_encode = msgspec.json.Encoder().encode


class Header(msgspec.Struct, frozen=True):
    """The first line's fields."""

    identity: Identity
    position: Position
    digest: str


def encode_header(header: Header) -> bytes:
    """The first line, `HEADER_BYTES` long."""
    text = (
        f'{{"sessiondb":{{"format":{header.identity.format_version},"uuid":"{header.identity.uuid.hex()}",'
        f'"epoch":{header.position.epoch},"lsn":{header.position.lsn},"digest":"{header.digest}"'
    ).encode()
    return (text + b',"crc":"%08x"},' % crc32(text)).ljust(HEADER_BYTES - 1) + b"\n"


def decode_header(data: bytes) -> Header | None:
    """Read the first line.

    Returns:
        ``None`` when `data` does not begin with a whole header.

    Raises:
        UnsupportedFormatError: a later version wrote it.
    """
    match = _HEADER.fullmatch(data[:HEADER_BYTES])
    whole = match is not None and len(match[0]) == HEADER_BYTES
    if match is not None and int(match[6], 16) != crc32(data[: match.start(6) - len(b',"crc":"')]):
        return None  # before the version is trusted: a flipped bit there is damage, not a later version
    version = _VERSION.match(data)
    if version is not None and int(version[1]) > FORMAT_VERSION:
        raise UnsupportedFormatError(
            f"the JSON file is of format version {int(version[1])}, this sessiondb reads version {FORMAT_VERSION}: "
            "upgrade sessiondb"
        )
    if match is None or not whole:
        return None
    version_number, uuid, epoch, lsn, digest, _ = match.groups()
    identity = Identity(bytes.fromhex(uuid.decode()), int(version_number))
    return Header(identity, Position(int(epoch), int(lsn)), digest.decode())


def encode_body(state: dict[str, ResidentTable], slice_records: int) -> Iterator[bytes]:
    """Everything behind the first line, in pieces of about `slice_records` records."""
    kinds: list[tuple[bytes, TableKind]] = [(b'"tables":{', "json"), (b'},\n"bytes_tables":{', "bytes")]
    for opening, kind in kinds:
        yield opening + b"\n"
        separator = b""
        for name in sorted(state):
            table = state[name]
            if table.kind == kind:
                yield separator + _encode(name) + b":{\n"
                yield from _encode_records(table, slice_records)
                yield b"}"
                separator = b",\n"
        yield b"\n" if separator else b""
    yield b"}" + _encode_indexes(state) + b"\n}\n"


def _encode_indexes(state: dict[str, ResidentTable]) -> bytes:
    lines = [
        _encode(name) + b":" + _encode(sorted(table.indexes)) for name, table in sorted(state.items()) if table.indexes
    ]
    return b',\n"indexes":{\n' + b",\n".join(lines) + b"\n}" if lines else b""


def _encode_records(table: ResidentTable, slice_records: int) -> Iterator[bytes]:
    records = table.records
    keys = table.sorted_keys()
    binary = table.kind == "bytes"
    for start in range(0, len(keys), slice_records):
        lines = []
        for key in keys[start : start + slice_records]:
            image = records[key]
            if binary:
                image = b'"' + binascii.b2a_base64(image, newline=False) + b'"'
            lines.append(_encode(key) + b":" + image)
        yield (b",\n" if start else b"") + b",\n".join(lines)
    if keys:
        yield b"\n"


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    tables: dict[str, dict[str, msgspec.Raw]]
    bytes_tables: dict[str, dict[str, bytes]]
    indexes: dict[str, list[str]] = {}


_decode_body = msgspec.json.Decoder(_Body).decode


def decode_body(data: bytes) -> dict[str, ResidentTable]:
    """The tables in what stands behind the first line.

    Raises:
        ValueError: it is not of this form.
    """
    body = _decode_body(b"{" + data)
    state = {
        name: ResidentTable(
            "json",
            {key: bytes(raw) for key, raw in records.items()},
            indexes=dict.fromkeys(body.indexes.get(name, ())),
        )
        for name, records in body.tables.items()
    }
    for name, fields in body.indexes.items():
        if name not in state or not fields or fields != sorted(set(fields)):
            raise ValueError(f"the indexes of {name!r} are not those of a table of JSON records")
    for name, blobs in body.bytes_tables.items():
        if name in state:
            raise ValueError(f"the table {name!r} is there twice")
        state[name] = ResidentTable("bytes", blobs)
    return state
