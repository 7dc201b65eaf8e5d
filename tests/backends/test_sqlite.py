"""The SQLite backend keeps the contract of backends, and the promises that are its own."""

import sqlite3
from contextlib import closing

from sessiondb.testing import BackendContract, TableContract
from sessiondb_backends.sqlite import SqliteBackend


class TestSqliteBackend(BackendContract):
    backend_class = SqliteBackend
    uses_files = False

    def damage(self, path):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE sessiondb_meta SET lsn = lsn + 1")

    def make_newer(self, path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 2")


class TestSqliteTables(TableContract):
    url = "sqlite:///{path}.db"
