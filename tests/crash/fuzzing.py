"""What is fuzzed: bytes from a disk that nobody has checked yet.

Each target takes arbitrary bytes and lets the engine read them; only documented errors may come out. Random bytes do
not get past a checksum, so the first byte chooses: the bytes as they are, or good checksums around them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random

from sessiondb.backend import Identity, Position
from sessiondb.errors import SessionDBError
from sessiondb.memtable import Memtable
from sessiondb.recovery import survey
from sessiondb.wal import format as wal_format
from sessiondb.wal.operations import Delete, Drop, Index, Put, PutBytes, Unindex, encode_operations
from sessiondb_backends.json_file import JsonFileBackend
from sessiondb_backends.json_format import HEADER_BYTES, Header, encode_header

from .damage import HEAD_PATH, prepare, put_on_disk
from .oracle import FOLDER_PATH, STORE_PATH, recover_once

__all__ = ["TARGETS", "seeds", "smoke"]

UUID = bytes(range(16))
PAYLOADS = [
    encode_operations(operations)
    for operations in (
        [Put("t", "k", b"1"), Delete("t", "k")],
        [PutBytes("b", "k", b"x"), Drop("b")],
        [Index("t", "f"), Unindex("t", "f"), Index("t", "g")],
    )
]
"""Every kind of operation, as in the frames of transactions."""


def _segment_header(data: bytes, salt: int) -> tuple[str, bytes, int]:
    """A good header; from the data, where it is long enough, what it says of its predecessor."""
    fields = [int.from_bytes(data[place : place + 4], "little") for place in (0, 4, 8, 12)]
    previous = fields if len(data) > 16 and data[16] & 1 else [0, 0, 0, 0]
    header = wal_format.SegmentHeader(UUID, 1, salt, 1, *previous, 0)
    encoded, header = wal_format.encode_segment_header(header)
    return f"{FOLDER_PATH}/{header.name}", encoded, header.crc


def segment(data: bytes) -> None:
    """The frames of a segment, and what stands behind them."""
    path, encoded, crc = _segment_header(data[1:], 7)
    mode, rest = data[:1], data[1:]
    if mode < b"\x55":
        body = rest
    else:
        body, lsn, previous = b"", 1, crc
        for part in rest.split(b"\xfe"):
            undurable = part[0] if part and mode > b"\xaa" else 1
            frame, previous = wal_format.encode_frame(wal_format.TRANSACTION, lsn, part[1:], previous, undurable, 0, 7)
            body += frame
            lsn += 1
        if rest[-1:] > b"\x80":
            place = int.from_bytes(rest[:2], "little") % (len(body) or 1)
            body = body[:place] + rest[:8] + body[place + 8 :]
    _survey({path: encoded + body}, b"")


def head(data: bytes) -> None:
    """HEAD, as it is or with good checksums, beside a log of one frame."""
    path, encoded, crc = _segment_header(b"", 7)
    frame, _ = wal_format.encode_frame(wal_format.TRANSACTION, 1, b"\x90", crc, 1, 0, 7)
    if data[:1] > b"\x80":
        lsn, epoch = int.from_bytes(data[1:9], "little"), int.from_bytes(data[9:13], "little")
        entry = wal_format.encode_durable(UUID, data[13] if len(data) > 13 else 0, lsn, epoch)
        content = bytearray(wal_format.HEAD_BYTES)
        offset = wal_format.durable_offset(data[13] if len(data) > 13 else 0)
        content[offset : offset + len(entry)] = entry
        content[: len(data[14:])] = data[14 : 14 + wal_format.HEAD_BYTES]
        data = bytes(content[: wal_format.HEAD_BYTES])
    _survey({path: encoded + frame}, data)


def _survey(segments: dict[str, bytes], head_bytes: bytes) -> None:
    disk = put_on_disk({**segments, f"{FOLDER_PATH}/HEAD": head_bytes})
    try:
        found = survey(disk, FOLDER_PATH, UUID, 0)
        assert isinstance(found.memtable, Memtable)
        assert isinstance(found.memtable.changes(lambda: None), dict)
    except SessionDBError:
        return


def json_file(data: bytes) -> None:
    """The JSON backend's file, as it is or with a good header line."""
    if data[:1] > b"\x60":
        body = data[1:]
        digest = hashlib.sha256(body).hexdigest()
        data = encode_header(Header(Identity(UUID, 1), Position(1, 0), digest)) + body
        assert len(data) == HEADER_BYTES + len(body)
    disk = put_on_disk({STORE_PATH: data})
    try:
        opened = JsonFileBackend.open(disk, STORE_PATH, create=False)
        view = opened.read()
        for name in view.tables():
            for key, image in view.scan(name):
                assert isinstance(key, str)
                assert isinstance(image, bytes)
    except SessionDBError:
        return


def store(data: bytes) -> None:
    """A whole store whose segment and HEAD are the data: opened for writing, twice."""
    path, encoded, _ = _segment_header(b"", 7)
    cut = int.from_bytes(data[:2], "little") % (len(data) + 1)
    body = b'"tables":{\n\n},\n"bytes_tables":{\n}\n}\n'
    line = encode_header(Header(Identity(UUID, 1), Position(1, 0), hashlib.sha256(body).hexdigest()))
    files = {STORE_PATH: line + body, path: encoded + data[2:cut], f"{FOLDER_PATH}/HEAD": data[cut:]}
    disk = put_on_disk(files)
    try:
        first = recover_once(disk)
    except SessionDBError:
        return
    second = recover_once(disk)
    assert (first.lsn, first.tables) == (second.lsn, second.tables)


TARGETS: dict[str, Callable[[bytes], None]] = {"segment": segment, "head": head, "json_file": json_file, "store": store}


def seeds(name: str) -> list[bytes]:
    """Inputs for a fuzzer to start from: what is really in such files."""
    files = prepare("killed").files
    path = max(path for path in files if path.endswith(".seg"))
    frames = files[path][wal_format.SEGMENT_HEADER_BYTES :].rstrip(b"\0")
    if name == "json_file":
        return [b"\0" + files[STORE_PATH], b"\xff" + files[STORE_PATH][HEADER_BYTES:]]
    if name == "head":
        return [files[HEAD_PATH], b"\xff" + bytes(20)]
    if name == "segment":
        return [b"\0" + frames, b"\x60" + frames, b"\xff\x01" + b"\xfe\x01".join(PAYLOADS) + b"\xfe\x02\x90"]
    return [b"\xff\xff" + frames + files[HEAD_PATH]]


def smoke(target: Callable[[bytes], None], count: int, seed: int) -> None:
    """Some random inputs, without a fuzzer: half noise, half text."""
    rng = Random(seed)
    words = [
        b"{",
        b"}",
        b'"',
        b":",
        b",",
        b"1",
        b"\n",
        b'"tables":{',
        b'"bytes_tables":{',
        *PAYLOADS,
    ]
    for _ in range(count):
        size = rng.randrange(300)
        data = rng.randbytes(size) if rng.random() < 0.5 else b"".join(rng.choices(words, k=size // 8))
        target(rng.randbytes(1) + data)
