"""The backends with files make whole stores beside their place, and put them there in one step."""

from sessiondb.testing import ReplacementContract
from sessiondb_backends.json_file import JsonFileBackend
from sessiondb_backends.lmdb import LmdbBackend
from sessiondb_backends.sqlite import SqliteBackend


class TestJsonReplacement(ReplacementContract):
    backend_class = JsonFileBackend


class TestSqliteReplacement(ReplacementContract):
    backend_class = SqliteBackend


class TestLmdbReplacement(ReplacementContract):
    backend_class = LmdbBackend
