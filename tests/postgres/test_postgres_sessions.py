"""`SessionStorage` keeps its contract on a PostgreSQL server."""

import pytest

import sessiondb
from postgres.fixtures import path_of
from sessiondb.testing import FaultyFiles
from sessiondb.testing.session_contract import SessionContract
from sessiondb.testing.table_contract import TableUnderTest


class OnOneDatabase(TableUnderTest):
    """To open a store costs as much as many of these tests: they share one, and leave no table behind."""

    def __init__(self, database):
        self.shared = database
        super().__init__("", stored=True, durable=False, files=FaultyFiles())

    def _open(self):
        self.database = self.shared
        self._table = self.database.table(**self._how)

    def close(self):
        for name in self.database.tables():
            self.database.drop(name)


@pytest.fixture(scope="module")
def database(pg_dsn, pg_shared_schema, tmp_path_factory):
    path = path_of(pg_dsn, schema=pg_shared_schema, log_dir=tmp_path_factory.mktemp("logs"))
    with sessiondb.open(f"postgresql:{path}", files=FaultyFiles(), sync="never") as database:
        yield database


class TestPostgresSessions(SessionContract):
    """Before each read a checkpoint brings everything to the server."""

    @pytest.fixture
    def records(self, database):
        under_test = OnOneDatabase(database)
        yield under_test
        under_test.close()


@pytest.mark.slow
class TestPostgresSessionsAnew(SessionContract):
    """The store is closed and opened before each read, or not."""

    @pytest.fixture
    def location(self, pg_url):
        return pg_url
