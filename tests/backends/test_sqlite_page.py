"""The page about the SQLite file says what a store really holds."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from sessiondb.backend import Position, TableChanges
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import no_pause
from sessiondb_backends.sqlite import SqliteBackend

PAGE = Path(__file__).resolve().parents[2] / "docs/format/sqlite.md"


def test_the_statements_on_the_page_are_those_of_a_real_store(tmp_path):
    path = str(tmp_path / "x.db")
    backend = SqliteBackend.open(FaultyFiles(), path, create=True)
    changes = {"sessions": TableChanges("json", False, {"task-1": b'{"branch":"main","n":1}'}, {"branch": True})}
    backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
    backend.close()
    with closing(sqlite3.connect(path)) as connection:
        real = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")]
    page = PAGE.read_text("utf-8")
    shown = [line for block in re.findall(r"```sql \w+\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert sorted(shown) == sorted(real)


def test_the_header_on_the_page_is_that_of_a_real_store(tmp_path):
    path = tmp_path / "x.db"
    SqliteBackend.open(FaultyFiles(), str(path), create=True).close()
    header = path.read_bytes()[:100]
    page = PAGE.read_text("utf-8")
    assert re.search(r"^\| 18 \| 2 \| .* \| 2, 2:", page, re.MULTILINE)
    assert header[18:20] == b"\2\2"
    assert re.search(r"^\| 60 \| 4 \| user version \| 1:", page, re.MULTILINE)
    assert header[60:64] == (1).to_bytes(4, "big")
    assert re.search(r"^\| 68 \| 4 \| application id \| `53 64 44 62`", page, re.MULTILINE)
    assert header[68:72] == bytes.fromhex("53 64 44 62")
    assert int.from_bytes(header[16:18], "big") == 4096
