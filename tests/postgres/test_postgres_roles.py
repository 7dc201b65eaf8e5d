"""Who may do what on the server: a role with few rights suffices, a missing one is named, and people may look."""

import logging
import warnings

import psycopg
import pytest

import sessiondb
from sessiondb.backend import Position
from sessiondb.errors import BackendError
from sessiondb.query import Condition, Equal
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import advance, declare, deletions, json_images, no_pause
from sessiondb_backends.postgres import PostgresBackend

TABLES = ("sessiondb_meta", "sessiondb_owners", "sessiondb_tables", "sessiondb_records")
WRITER = """
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.sessiondb_meta, {schema}.sessiondb_owners,
    {schema}.sessiondb_tables, {schema}.sessiondb_records TO {role}
"""


def open_at(path, **how):
    return PostgresBackend.open(FaultyFiles(), path, **{"create": True, **how})


class Role:
    """A role that has no rights yet, and the location for it."""

    def __init__(self, admin, schema, path, user):
        self.admin, self.schema, self.name = admin, schema, f"{schema}_role"
        admin.execute(f"CREATE ROLE {self.name} LOGIN PASSWORD 'x'")
        self.path = path.replace(f"//{user}", f"//{self.name}", 1)

    def may(self, grants):
        self.admin.execute(grants.format(schema=self.schema, role=self.name))

    def execute(self, statement):
        """As the role; an error is given back as its SQLSTATE."""
        with self.admin.transaction(force_rollback=True):
            self.admin.execute(f"SET LOCAL ROLE {self.name}")
            try:
                with self.admin.transaction():
                    return self.admin.execute(statement.format(schema=self.schema)).fetchall()
            except psycopg.ProgrammingError as error:
                return error.sqlstate


@pytest.fixture
def role(pg_admin, pg_path, pg_schema, pg_dsn):
    found = Role(pg_admin, pg_schema, pg_path, psycopg.conninfo.conninfo_to_dict(pg_dsn)["user"])
    yield found
    pg_admin.execute(f"DROP OWNED BY {found.name}")
    pg_admin.execute(f"DROP ROLE {found.name}")


@pytest.fixture
def owner(pg_path):
    """The store, opened as who owns the tables."""
    opened = open_at(pg_path)
    opened.apply(json_images(a=b'{"n":1}', b=b'{"n":2}'), Position(1, 0), Position(1, 1), no_pause)
    yield opened
    opened.close()


@pytest.fixture
def execute(pg_admin, pg_schema):
    """SQL as somebody else on the server runs it, in our schema."""
    pg_admin.execute(f"SET search_path = {pg_schema}")
    return pg_admin.execute


# ---- rights


def test_a_role_that_may_only_read_and_write_the_four_tables_suffices(owner, role, caplog):
    role.may(WRITER)
    modest = open_at(role.path)
    view = advance(modest, declare("t", {"c": b'{"n":3}'}, n=True))
    assert view.indexes("t") == {"n"}
    assert dict(view.find("t", (Condition("n", Equal(3)),)).rows) == {"c": b'{"n":3}'}
    assert "no SQL index on the field 'n'" in caplog.text
    assert "next: let the owner of the tables" in caplog.text
    modest.settle()
    modest.settle()
    view.close()
    advance(modest, deletions("t", dropped=True)).close()
    assert modest.check() == []
    modest.close()


def test_such_a_role_runs_a_whole_database_and_takes_it_over(owner, role, tmp_path, execute):
    role.may(WRITER)
    url = f"postgresql:{role.path}&log_dir="
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for host in ("one", "other", "one"):
            with sessiondb.open(f"{url}{tmp_path}/{host}") as db:
                notes = db.table("notes", indexes=["by"])
                notes[host] = {"by": host}
                db.checkpoint()
                assert [key for key, _ in notes.find({"by": host})] == [host]
                assert db.check() == []
    made = execute("SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'v'")
    assert made.fetchall() == []


def test_such_a_role_may_do_nothing_else(owner, role):
    role.may(WRITER)
    for statement in (
        "DROP TABLE {schema}.sessiondb_records",
        "TRUNCATE {schema}.sessiondb_records",
        "ALTER TABLE {schema}.sessiondb_records ADD x int",
        "CREATE TABLE {schema}.mine (a int)",
        "CREATE INDEX mine ON {schema}.sessiondb_records (key)",
        "CREATE VIEW {schema}.mine AS SELECT 1",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT * FROM pg_authid",
    ):
        assert role.execute(statement) == "42501", statement


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("right", ["SELECT", "INSERT", "UPDATE", "DELETE"])
def test_each_right_is_needed_and_a_missing_one_is_named_with_the_next_step(owner, role, right, table, tmp_path):
    """`DELETE` of the store's row is not needed, and is granted with the others all the same."""
    role.may(WRITER)
    role.may(f"REVOKE {right} ON {{schema}}.{table} FROM {{role}}")

    def use():
        with sessiondb.open(f"postgresql:{role.path}&log_dir={tmp_path}/one") as db:
            db.table("t").put_many({"a": {"n": 1, "x": 1}, "c": {"n": 2}})
            db.table("u")["a"] = {}
            db.checkpoint()
            del db.table("t")["a"]
            db.checkpoint()
            db.drop("t")
            db.drop("u")
            db.checkpoint()
        sessiondb.open(f"postgresql:{role.path}&log_dir={tmp_path}/other").close()
        with sessiondb.open(f"postgresql:{role.path}&log_dir={tmp_path}/other") as db:
            assert db.tables() == {}

    if (right, table) in NOT_NEEDED:
        use()
        return
    with pytest.raises(BackendError, match=r"permission denied.*42501.*sessiondb init.*SELECT, INSERT"):
        use()


NOT_NEEDED = {("DELETE", "sessiondb_meta"), ("INSERT", "sessiondb_meta")}
"""Those make and remove a store; ours is there."""


def test_a_role_that_may_not_make_the_tables_is_told_of_init(role):
    with pytest.raises(BackendError, match=r"may not make the tables .*permission denied.*sessiondb init.*CREATE"):
        open_at(role.path)


def test_a_role_that_may_not_look_into_the_schema_is_told_of_init(owner, role):
    with pytest.raises(BackendError, match=r"permission denied for schema.*sessiondb init.*USAGE"):
        open_at(role.path)


def test_what_a_modest_role_declared_is_indexed_when_somebody_who_may_tidies_up(owner, role, execute, pg_path):
    """As `sessiondb init` does on a store that is there: it takes nothing over."""
    role.may(WRITER)
    modest = open_at(role.path)
    advance(modest, declare("t", {"c": b'{"n":3}'}, n=True)).close()
    indexes = "SELECT count(*) FROM pg_indexes WHERE schemaname = current_schema() AND indexname LIKE 'sessiondb_i_%'"
    assert execute(indexes).fetchone() == (0,)
    again = open_at(pg_path)
    again.settle()
    again.close()
    assert execute(indexes).fetchone() == (2,)
    assert execute("SELECT key, n FROM team_t WHERE n = '3'").fetchall() == [("c", "3")]
    advance(modest, json_images(d=b'{"n":4}')).close()  # its position is still the stored one
    modest.close()


# ---- people with SQL


def test_a_view_shows_the_fields_as_columns_and_grows_with_them(owner, execute):
    owner.settle()
    assert execute("SELECT key, n FROM team_t ORDER BY key").fetchall() == [("a", "1"), ("b", "2")]
    advance(owner, json_images(c=b'{"n":3,"x y":"z","key":"k","%s":null}')).close()
    owner.settle()
    assert execute('SELECT key, n, "x y", key_, "%s" FROM team_t WHERE n = \'3\'').fetchall() == [
        ("c", "3", "z", "k", None)
    ]
    advance(owner, {"t": declare("t", {"d": b'{"m":1}'})["t"]._replace(dropped=True)}).close()
    owner.settle()
    assert execute("SELECT * FROM team_t").fetchall()[0][0] == "d"
    advance(owner, deletions("t", dropped=True)).close()
    owner.settle()
    assert execute("SELECT to_regclass('team_t')").fetchone() == (None,)


ODD_FIELDS = {
    "": "_", "a b": "a b", 'quote"d': 'quote"d', "per%cent": "per%cent", "%s": "%s", "it's": "it's", "é": "é",
    "x" * 80: "x" * 60, "x" * 81: "x" * 59 + "_", "KEY": "KEY", "key": "key_", "select": "select", "a\\b": "a\\b",
    "1": "1", "a.b": "a.b", "$": "$", "\n": "\n", "😀": "😀",
}  # fmt: skip


def test_fields_of_any_name_are_columns(owner, execute):
    import msgspec

    image = msgspec.json.encode({field: f"value of {column}" for field, column in ODD_FIELDS.items()})
    advance(owner, json_images("odd", a=image, b=b'{"nul\\u0000":1,"a b":"2"}')).close()
    owner.settle()
    cursor = execute("SELECT * FROM team_odd ORDER BY key")
    columns = [column.name for column in cursor.description]
    assert columns[0] == "key"
    found = dict(zip(columns, cursor.fetchone(), strict=True))
    assert found == {"key": "a", **{column: f"value of {column}" for column in ODD_FIELDS.values()}}
    assert cursor.fetchone()[0] == "b"  # a document that PostgreSQL's functions do not take shows its key


def test_a_table_of_any_name_has_a_view(owner, execute):
    names = ["T", "a b", 'quo"te', "pg_class", "sessiondb_meta", "select", "é" * 60, "x" * 200, "x" * 201, "%s"]
    changes = {}
    for name in names:
        changes |= json_images(name, a=b'{"n":1}')
    advance(owner, changes).close()
    owner.settle()
    views = execute("SELECT viewname FROM pg_views WHERE schemaname = current_schema()").fetchall()
    assert len(views) == len(names) + 1
    for (view,) in views:
        quoted = view.replace('"', '""')
        assert execute(f'SELECT n FROM "{quoted}"'.encode()).fetchall()[0] == ("1",)


def test_stores_of_one_schema_have_views_of_their_own(owner, pg_path, execute):
    other = open_at(pg_path.replace("namespace=team", "namespace=default"))
    advance(other, json_images(z=b'{"m":9}')).close()
    other.settle()
    owner.settle()
    assert execute("SELECT * FROM t").fetchall() == [("z", "9")]
    assert execute("SELECT * FROM team_t ORDER BY key").fetchall() == [("a", "1"), ("b", "2")]
    advance(other, deletions("t", dropped=True)).close()
    other.settle()
    assert execute("SELECT to_regclass('t'), to_regclass('team_t') IS NOT NULL").fetchone() == (None, True)
    other.close()


def test_a_table_of_bytes_shows_its_bytes(owner, execute):
    from sessiondb.backend import TableChanges

    advance(owner, {"raw": TableChanges("bytes", False, {"a": b"\0\xff"})}).close()
    owner.settle()
    assert execute("SELECT key, record FROM team_raw").fetchall() == [("a", b"\0\xff")]


def test_what_a_reader_was_granted_stays_while_a_view_grows(owner, role, execute):
    owner.settle()
    role.may("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {schema}.team_t TO {role}")
    advance(owner, json_images(c=b'{"n":3,"x":1}')).close()
    owner.settle()
    assert role.execute("SELECT x FROM {schema}.team_t WHERE key = 'c'") == [("1",)]
    assert role.execute("SELECT * FROM {schema}.sessiondb_records") == "42501"
    assert role.execute("DELETE FROM {schema}.team_t") == "42501"


def test_default_privileges_give_readers_the_views_to_come(owner, role, execute):
    role.may(
        "GRANT USAGE ON SCHEMA {schema} TO {role}; "
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}"
    )
    advance(owner, json_images("later", a=b'{"n":1}')).close()
    owner.settle()
    assert role.execute("SELECT n FROM {schema}.team_later") == [("1",)]
    advance(owner, deletions("later", dropped=True)).close()
    owner.settle()
    advance(owner, json_images("later", a=b'{"m":2}')).close()
    owner.settle()
    assert role.execute("SELECT m FROM {schema}.team_later") == [("2",)]


def test_what_people_build_upon_a_view_keeps_nobody_from_writing(owner, execute):
    owner.settle()
    execute("CREATE VIEW mine AS SELECT n FROM team_t")
    advance(owner, json_images(c=b'{"n":3,"x":1}')).close()
    owner.settle()
    assert execute("SELECT count(x) FROM team_t").fetchone() == (1,)
    advance(owner, deletions("t", dropped=True)).close()
    owner.settle()
    assert execute("SELECT * FROM mine").fetchall() == []
    assert owner.read().tables() == {}


def test_the_log_of_the_driver_says_nothing_of_rights_that_are_there(owner, role, caplog):
    caplog.set_level(logging.WARNING)
    role.may(WRITER)
    modest = open_at(role.path)
    advance(modest, json_images(c=b"1")).close()
    modest.settle()
    modest.close()
    assert caplog.text == ""
