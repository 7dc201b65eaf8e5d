"""Tables and storages on PostgreSQL keep their contracts; and what only `PostgresStorage` promises."""

import os

import msgspec
import psycopg
import pytest

import sessiondb
from postgres.fixtures import path_of
from sessiondb import CorruptionError, DuplicateKeyError, PostgresStorage, ReadOnlyError, UsageError
from sessiondb.testing import FaultyFiles, StorageContract, TableContract
from sessiondb.testing.storage_contract import Entity
from sessiondb.testing.table_contract import TableUnderTest
from sessiondb_backends.postgres_url import parse_place


class Note(msgspec.Struct):
    id: str
    text: str = ""


def damage(url, dsn):
    """Take away the row without which nothing of a store can be believed."""
    place = parse_place(url.partition(":")[2])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DELETE FROM {place.schema}.sessiondb_meta WHERE ns = '{place.namespace}'".encode())


class OnOneDatabase(TableUnderTest):
    """To open a store costs as much as twenty of these tests: they share one, and leave no table behind."""

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
    with sessiondb.open(f"postgresql:{path}", files=FaultyFiles(), sync="never") as opened:
        yield opened


class TestPostgresTables(TableContract):
    """Before each read a checkpoint brings everything to the server."""

    @pytest.fixture
    def records(self, database):
        under_test = OnOneDatabase(database)
        yield under_test
        under_test.close()


@pytest.mark.slow
class TestPostgresTablesAnew(TableContract):
    """The store is closed and opened before each read, or not."""

    @pytest.fixture
    def location(self, pg_url):
        return pg_url


@pytest.mark.slow
class TestPostgresStorage(StorageContract):
    """It is one table of a database, whose contract runs above."""

    @pytest.fixture(autouse=True)
    def _url(self, pg_url, pg_dsn):
        self.url, self.dsn = pg_url, pg_dsn

    def make_storage(self, tmp_path):
        return PostgresStorage(self.url, Entity, sync="never")

    def damage(self, tmp_path):
        damage(self.url, self.dsn)


# ---- what only a storage on a server promises


@pytest.mark.parametrize(
    "location",
    ["", "x", "x.json", "json:///x", "memory:", "postgresql", "u:s3cret@h/db", "host=h password=s3cret", "xx:y", None],
    ids=repr,
)
def test_a_location_that_is_no_url_of_postgresql_is_refused_at_once_and_not_repeated(location):
    with pytest.raises((UsageError, TypeError)) as caught:
        PostgresStorage(location, Note)
    assert "s3cret" not in str(caught.value)


def test_making_a_storage_reaches_for_no_server_and_makes_no_folder(tmp_path):
    storage = PostgresStorage(f"postgresql://u:s3cret@127.0.0.1:1/db?log_dir={tmp_path}/logs", Note)
    assert storage.get_storage_location() == "postgresql://127.0.0.1:1/db"
    assert "s3cret" not in repr(storage)
    storage.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}], ids=str)
def test_nothing_is_made_where_nothing_may_be_made(pg_url, tmp_path, options, pg_admin, pg_shared_schema):
    storage = PostgresStorage(pg_url, Note, **options)
    for _ in range(2):
        with pytest.raises(UsageError, match="no database"):
            storage.read_state()
    storage.close()
    assert os.listdir(tmp_path) == []
    namespace = parse_place(pg_url.partition(":")[2]).namespace
    found = pg_admin.execute(f'SELECT 1 FROM "{pg_shared_schema}".sessiondb_meta WHERE ns = %s', [namespace])
    assert found.fetchone() is None


def test_entities_are_kept_found_and_told_from_absent_ones(pg_url):
    with PostgresStorage(pg_url, Note) as storage:
        assert storage.read_state() == {}
        storage.create_entity(Note("b", "x"))
        storage.create_entity(Note("a"))
        with pytest.raises(DuplicateKeyError):
            storage.create_entity(Note("b"))
    with PostgresStorage(pg_url, Note) as storage:
        assert storage.read_state() == {"a": Note("a"), "b": Note("b", "x")}
        assert storage.get_entities({"text": "x"}) == [Note("b", "x")]
        assert storage.update_entity("a", {"text": "y"}) == Note("a", "y")
        assert storage.delete_entity("b") is True
        assert storage.delete_entity("b") is False
        assert storage.get_entity("b") is None
    with PostgresStorage(pg_url, Note) as storage:
        assert storage.read_state() == {"a": Note("a", "y")}
        storage.write_state({"c": Note("c")})
    with PostgresStorage(pg_url, Note) as storage:
        assert storage.get_entities() == [Note("c")]


def test_what_cannot_be_read_is_an_exception_and_never_empty(pg_url, pg_dsn):
    with PostgresStorage(pg_url, Note) as storage:
        storage.create_entity(Note("a"))
    damage(pg_url, pg_dsn)
    damaged = PostgresStorage(pg_url, Note)
    for call in (damaged.initialize, damaged.read_state, damaged.get_entities, lambda: damaged.write_state({})):
        with pytest.raises(CorruptionError):
            call()
    damaged.close()


def test_a_read_only_storage_reads_and_refuses_to_write(pg_url):
    with PostgresStorage(pg_url, Note) as storage:
        storage.create_entity(Note("a"))
    with PostgresStorage(pg_url, Note, read_only=True) as storage:
        assert storage.read_state() == {"a": Note("a")}
        with pytest.raises(ReadOnlyError):
            storage.create_entity(Note("b"))


def test_what_a_storage_wrote_is_there_for_a_database_and_the_other_way_round(pg_url):
    with PostgresStorage(pg_url, Note, table="notes", indexes=["text"]) as storage:
        storage.create_entity(Note("a", "x"))
    with sessiondb.open(pg_url) as db:
        notes = db.table("notes", Note, id="id")
        assert notes.indexes() == ["text"] or "text" in notes.indexes()
        assert notes["a"] == Note("a", "x")
        notes.insert(Note("b", "y"))
    with PostgresStorage(pg_url, Note, table="notes") as storage:
        assert storage.read_state() == {"a": Note("a", "x"), "b": Note("b", "y")}
