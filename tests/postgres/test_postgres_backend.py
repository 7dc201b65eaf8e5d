"""The PostgreSQL backend keeps the contract of backends, on a real server."""

import psycopg
import pytest

from sessiondb.testing import BackendContract
from sessiondb_backends.postgres import PostgresBackend


class TestPostgresBackend(BackendContract):
    backend_class = PostgresBackend
    uses_files = False

    @pytest.fixture
    def path(self, pg_path, pg_dsn, pg_schema):
        self.dsn, self.schema = pg_dsn, pg_schema
        return pg_path

    def _execute(self, statement):
        with psycopg.connect(self.dsn, autocommit=True, options=f"-csearch_path={self.schema}") as connection:
            connection.execute(statement)

    def put_foreign(self, path):
        self._execute(f"CREATE SCHEMA {self.schema}")
        self._execute("CREATE TABLE sessiondb_meta(ns text, lsn text)")

    def damage(self, path):
        self._execute("DELETE FROM sessiondb_meta")

    def make_newer(self, path):
        self._execute("UPDATE sessiondb_meta SET format = 2")
