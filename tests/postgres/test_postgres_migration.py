"""A whole store takes its place on a PostgreSQL server in one transaction, and leaves it in the same way."""

import os

import psycopg
import pytest

import sessiondb
from postgres.fixtures import new_name, path_of
from postgres.proxy import Wire
from sessiondb import DurabilityUnknownError, StoreBusyError, StoreFailedError, UsageError
from sessiondb.backend import Position
from sessiondb.errors import BackendUnavailableError, FencedError
from sessiondb.migration import building
from sessiondb.testing import FaultyFiles, ReplacementContract
from sessiondb.testing.backend_under_test import contents, json_images, no_pause
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_url import parse_place


class TestPostgresReplacement(ReplacementContract):
    backend_class = PostgresBackend
    uses_files = False

    @pytest.fixture
    def path(self, pg_url):
        return pg_url.partition(":")[2]


DOCUMENTS = {f"k{n:03}": {"n": n, "text": "ü" * (n % 7)} for n in range(120)} | {"odd": {"text": "a\0b", "n": None}}


@pytest.fixture
def source(tmp_path):
    """A store in a file."""
    path = tmp_path / "source.db"
    with sessiondb.open(path) as db:
        fill(db)
    return path


def fill(db):
    db.table("docs", indexes=["n"], version=2, upgrades={1: lambda document: document}).put_many(DOCUMENTS)
    db.table("blobs", bytes).put_many({"logo": b"\0\xff", "none": b""})


def everything(location, **options):
    with sessiondb.open(location, create=False, **options) as db:
        assert db.check() == []
        with db._open.pin() as view:
            kinds = view.tables()
            return {name: (kind, dict(view.scan(name)), sorted(view.indexes(name))) for name, kind in kinds.items()}


def position(url):
    backend = PostgresBackend.open(FaultyFiles(), url.partition(":")[2], create=False, read_only=True)
    try:
        return backend.position()
    finally:
        backend.close()


def rows(admin, schema, table, namespace):
    return admin.execute(f'SELECT count(*) FROM "{schema}".sessiondb_{table} WHERE ns = %s', [namespace]).fetchone()[0]


@pytest.fixture
def other_url(pg_dsn, pg_shared_schema, tmp_path):
    """Another store on the same server."""
    path = path_of(pg_dsn, schema=pg_shared_schema, namespace=new_name(), log_dir=tmp_path / "logs")
    return f"postgresql:{path}"


def test_everything_goes_to_a_server_and_comes_back(source, pg_url, tmp_path):
    wanted = everything(source)
    preview = sessiondb.migrate(source, pg_url)
    assert (preview.outcome, preview.refusals, preview.source.records) == ("preview", [], 123)
    with pytest.raises(UsageError, match="no database"):
        sessiondb.open(pg_url, create=False)
    there = sessiondb.migrate(source, pg_url, execute=True)
    assert there.outcome == "migrated"
    assert everything(pg_url) == wanted
    before = position(pg_url)
    back = sessiondb.migrate(pg_url, tmp_path / "back.json", execute=True)
    assert back.source.digest == there.source.digest
    assert everything(tmp_path / "back.json") == wanted
    assert position(pg_url) == before, "a source is not taken over"


def test_neither_password_nor_user_is_shown(source, pg_url):
    result = sessiondb.migrate(source, pg_url, execute=True)
    assert "postgres@" not in str(result)
    with pytest.raises(StoreFailedError) as caught:
        sessiondb.migrate(source, "postgresql://u:s3cret@127.0.0.1:1/db?timeout=1", execute=True)
    assert "s3cret" not in str(caught.value)


def test_a_migrated_store_has_its_sql_indexes_and_views_at_once(source, pg_url, pg_admin, pg_shared_schema):
    sessiondb.migrate(source, pg_url, execute=True)
    namespace = parse_place(pg_url.partition(":")[2]).namespace
    found = pg_admin.execute(
        f'SELECT key, n FROM "{pg_shared_schema}"."{namespace}_docs" WHERE n = %s', ["7"]
    ).fetchall()
    assert found == [("k007", "7")]
    names = [
        name
        for (name,) in pg_admin.execute("SELECT indexname FROM pg_indexes WHERE schemaname = %s", [pg_shared_schema])
    ]
    mine = [name for name in names if name.startswith("sessiondb_i_")]
    assert len(mine) >= 4  # numbers and texts, of `n` and of the version


def test_a_store_on_a_server_is_copied_into_another_namespace_before_it_is_replaced(source, pg_url, tmp_path, watch):
    with sessiondb.open(pg_url) as db:
        db.table("docs", indexes=["x"]).put_many({f"{n}": {"x": n} for n in range(30)})
        db.table("old", bytes)["a"] = b"\0"
    old = everything(pg_url)
    with pytest.raises(UsageError, match="holds 31 records"):
        sessiondb.migrate(source, pg_url, execute=True)
    assert everything(pg_url) == old
    result = sessiondb.migrate(source, pg_url, execute=True, replace=True)
    assert everything(pg_url) == everything(source)
    namespace = result.backup.rpartition("namespace ")[2]
    place = parse_place(pg_url.partition(":")[2])
    assert namespace.startswith(f"{place.namespace}-before-")
    copy = pg_url.replace(f"namespace={place.namespace}", f"namespace={namespace}")
    assert everything(copy, read_only=True) == old
    back = sessiondb.migrate(copy, pg_url, execute=True, replace=True)
    assert back.replaced.records == 123
    assert everything(pg_url) == old


def test_one_namespace_is_moved_to_another(pg_url, other_url):
    with sessiondb.open(pg_url) as db:
        fill(db)
    sessiondb.migrate(pg_url, other_url, execute=True)
    assert everything(pg_url) == everything(other_url)
    with sessiondb.open(other_url) as db:
        db.table("docs", version=2, upgrades={1: lambda document: document})["more"] = {"n": 1}
    assert "more" not in everything(pg_url)["docs"][1]


@pytest.mark.parametrize("write", ["127.0.0.1", "localhost"])
def test_a_store_on_a_server_is_not_moved_onto_itself(pg_url, tmp_path, write):
    with sessiondb.open(pg_url) as db:
        db.table("t")["a"] = 1
    same = pg_url.replace("127.0.0.1", write) + "&application_name=another"
    for execute in (False, True):
        with pytest.raises(UsageError, match="the same store"):
            sessiondb.migrate(pg_url, same, execute=execute, replace=True)


# ---- who owns it


def test_a_store_that_another_host_owns_is_neither_read_nor_replaced(source, pg_url, tmp_path):
    """Its log may hold what the server does not have."""
    with sessiondb.open(pg_url) as db:
        db.table("t")["a"] = 1
    elsewhere = pg_url.replace(f"{tmp_path}/logs", f"{tmp_path}/another-host")
    host = os.uname().nodename
    for execute in (False, True):
        with pytest.raises(StoreBusyError, match=f"owned by the host {host}.*read as a whole"):
            sessiondb.migrate(elsewhere, tmp_path / "t.json", execute=execute)
        with pytest.raises(StoreBusyError, match=f"owned by the host {host}.*replaced as a whole"):
            sessiondb.migrate(source, elsewhere, execute=execute, replace=True)
    assert everything(pg_url)["t"][1] == {"a": b"1"}


def test_what_this_hosts_log_holds_is_moved_too(source, pg_url, tmp_path):
    db = sessiondb.open(pg_url, checkpoint_age_s=1e9)
    db.table("t")["late"] = 1
    db._store._settle = lambda: None  # as if its process had died
    db.close()
    assert sessiondb.migrate(pg_url, tmp_path / "t.json", execute=True).source.records == 1
    result = sessiondb.migrate(source, pg_url, execute=True, replace=True)
    assert result.replaced.records == 1
    copy = pg_url.replace(parse_place(pg_url.partition(":")[2]).namespace, result.backup.rpartition("namespace ")[2])
    assert everything(copy, read_only=True)["t"][1] == {"late": b"1"}
    assert everything(pg_url) == everything(source)


def test_a_replaced_store_is_another_one_to_a_host_that_had_it_before(source, pg_url, tmp_path):
    """What that host committed and never moved is not mixed into the new store."""
    elsewhere = pg_url.replace(f"{tmp_path}/logs", f"{tmp_path}/another-host")
    db = sessiondb.open(elsewhere, checkpoint_age_s=1e9)
    db.table("t")["late"] = 1
    db._store._settle = lambda: None
    db.close()
    with sessiondb.open(pg_url) as db:  # taken over
        db.table("t")["mine"] = 2
    sessiondb.migrate(source, pg_url, execute=True, replace=True)
    with pytest.raises(sessiondb.CorruptionError, match="belongs to another store"):
        sessiondb.open(elsewhere)
    assert everything(pg_url) == everything(source)


def test_a_store_that_another_process_has_open_is_refused_with_its_name(source, pg_url, tmp_path):
    with sessiondb.open(pg_url):
        with pytest.raises(UsageError, match="open in this process"):
            sessiondb.migrate(source, pg_url, lock_timeout=0)
        with pytest.raises(UsageError, match="open in this process"):
            sessiondb.migrate(pg_url, tmp_path / "t.json", lock_timeout=0)


# ---- one transaction


@pytest.fixture
def old(pg_url):
    """A store of which everything is on the server: its path, identity and position."""
    path = pg_url.partition(":")[2]
    backend = PostgresBackend.open(FaultyFiles(), path, create=True)
    backend.apply(json_images("old", a=b"1"), Position(1, 0), Position(1, 5), no_pause)
    found = (backend.identity(), backend.position())
    backend.close()
    return path, found


def stored(path):
    backend = PostgresBackend.open(FaultyFiles(), path, create=False, read_only=True)
    try:
        view = backend.read()
        try:
            return backend.identity(), contents(view)
        finally:
            view.close()
    finally:
        backend.close()


def test_until_the_commit_everybody_sees_what_was_there(old):
    path, before = old
    was = stored(path)
    made = PostgresBackend.replacement(FaultyFiles(), path, before)
    made.add(json_images("new", b=b"2"), no_pause)
    assert stored(path) == was
    view = made.read()
    assert contents(view) == {"new": ("json", {"b": b"2"})}
    view.close()
    assert stored(path) == was
    made.take_place()
    assert stored(path)[1] == {"new": ("json", {"b": b"2"})}


@pytest.mark.parametrize("change", ["position", "uuid", "gone", "there already"])
def test_a_store_that_is_not_the_expected_one_is_not_replaced(old, change):
    path, (identity, at) = old
    was = stored(path)
    before = {
        "position": (identity, Position(at.epoch, at.lsn + 1)),
        "uuid": (identity._replace(uuid=bytes(16)), at),
        "gone": (identity, Position(9, 9)),
        "there already": None,
    }[change]
    with pytest.raises(FencedError, match="untouched"):
        PostgresBackend.replacement(FaultyFiles(), path, before)
    assert stored(path) == was


def test_an_owner_that_writes_meanwhile_waits_and_is_fenced(old):
    path, before = old
    path_quick = f"{path}&timeout=1"
    owner = PostgresBackend.open(FaultyFiles(), path_quick, create=False)
    made = PostgresBackend.replacement(FaultyFiles(), path, before)
    made.add(json_images("new", b=b"2"), no_pause)
    with pytest.raises(BackendUnavailableError):
        owner.apply(json_images("old", a=b"3"), before[1], Position(1, 6), no_pause)
    made.take_place()
    with pytest.raises((FencedError, sessiondb.CorruptionError), match="another"):
        owner.apply(json_images("old", a=b"3"), before[1], Position(1, 6), no_pause)
    owner.close()
    assert stored(path)[1] == {"new": ("json", {"b": b"2"})}


@pytest.fixture
def wire(pg_dsn):
    passed = Wire(int(psycopg.conninfo.conninfo_to_dict(pg_dsn)["port"]))
    yield passed
    passed.close()


def behind(wire, path, pg_dsn):
    return path.replace(f":{psycopg.conninfo.conninfo_to_dict(pg_dsn)['port']}/", f":{wire.port}/")


@pytest.mark.parametrize("there", ["a store", "nothing"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_looked_up(old, wire, pg_dsn, other_url, moment, there):
    path, before = old if there == "a store" else (other_url.partition(":")[2], None)
    was = stored(path) if before else None
    made = PostgresBackend.replacement(FaultyFiles(), behind(wire, path, pg_dsn), before)
    made.add(json_images("new", b=b"2"), no_pause)
    wire.cuts.append(moment)
    if moment == "after":
        made.take_place()
        assert stored(path)[1] == {"new": ("json", {"b": b"2"})}
        return
    with pytest.raises(BackendUnavailableError):
        made.take_place()
    made.discard()
    if before is None:
        assert not PostgresBackend.exists(FaultyFiles(), path)
    else:
        assert stored(path) == was


def test_a_commit_that_nobody_can_be_asked_about_is_unknown(old, wire, pg_dsn, monkeypatch):
    path, before = old
    made = PostgresBackend.replacement(FaultyFiles(), behind(wire, path, pg_dsn), before)
    made.add(json_images("new", b=b"2"), no_pause)
    wire.cuts.append("after")
    wire.is_up = False
    with pytest.raises(DurabilityUnknownError, match="run the same again"):
        made.take_place()
    made.discard()
    assert stored(path)[1] == {"new": ("json", {"b": b"2"})}


@pytest.mark.parametrize("there", ["a store", "nothing"])
def test_a_server_that_dies_while_the_store_is_made_keeps_what_it_had(own_server, source, tmp_path, monkeypatch, there):
    url = f"{own_server.dsn}?log_dir={tmp_path}/logs"
    if there == "a store":
        with sessiondb.open(url) as db:
            db.table("t")["old"] = 1
    monkeypatch.setattr(building, "BATCH_RECORDS", 50)
    batches = building.batches

    def dying(*arguments, **options):
        for number, changes in enumerate(batches(*arguments, **options)):
            if number == 2:
                own_server.kill()
            yield changes

    with monkeypatch.context() as patch:
        patch.setattr(building, "batches", dying)
        with pytest.raises(StoreFailedError):
            sessiondb.migrate(source, url, execute=True, replace=True)
    own_server.start()
    if there == "a store":
        assert everything(url)["t"][1] == {"old": b"1"}
    assert sessiondb.migrate(source, url, execute=True, replace=True).outcome == "migrated"
    assert everything(url) == everything(source)


def test_a_role_that_may_make_no_tables_is_told_so(source, pg_dsn, pg_admin, tmp_path):
    name = new_name()
    pg_admin.execute(f"CREATE ROLE {name} LOGIN")
    try:
        user = psycopg.conninfo.conninfo_to_dict(pg_dsn)["user"]
        url = f"postgresql:{path_of(pg_dsn, schema=name, log_dir=tmp_path)}".replace(f"//{user}", f"//{name}", 1)
        with pytest.raises(StoreFailedError, match="may not make the tables"):
            sessiondb.migrate(source, url, execute=True)
    finally:
        pg_admin.execute(f"DROP ROLE {name}")


def test_the_first_store_in_a_schema_makes_the_schema(source, pg_path, tmp_path):
    url = f"postgresql:{pg_path}&log_dir={tmp_path}"
    assert sessiondb.migrate(source, url, execute=True).outcome == "migrated"
    assert everything(url) == everything(source)
