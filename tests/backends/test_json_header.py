"""The JSON file's first line: position and identity are under a checksum of their own."""

from pathlib import Path

import pytest

import sessiondb


def test_every_flipped_bit_of_the_first_line_is_refused(tmp_path: Path) -> None:
    """Once the digest covered only what stands behind the first line.

    A flip that made ``"lsn":3`` into ``"lsn":7`` let recovery skip the log's LSN 4 to 7 as applied: acknowledged
    records were silently gone.
    """
    path = tmp_path / "x.json"
    with sessiondb.open(path) as db:
        db.table("t")["a"] = 1
    whole = path.read_bytes()
    used = whole.index(b"\n")
    used = len(whole[:used].rstrip())
    for bit in range(used * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises((sessiondb.CorruptionError, sessiondb.WrongBackendError, sessiondb.UnsupportedFormatError)):
            sessiondb.open(path).close()
        assert path.read_bytes() == damaged
    path.write_bytes(whole)
    with sessiondb.open(path) as db:
        assert dict(db.table("t")) == {"a": 1}
