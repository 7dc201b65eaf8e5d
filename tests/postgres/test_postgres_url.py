"""The URL of a PostgreSQL store: what it says, what it may not say, and where the log goes."""

import pytest

from sessiondb.errors import UsageError
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_url import parse_place


def test_names_and_parameters_are_read():
    place = parse_place("//u:p@h:6/db?namespace=team-1&schema=s&timeout=2.5&prepare=off&sslmode=require")
    assert (place.address, place.database, place.schema, place.namespace) == ("h:6", "db", "s", "team-1")
    assert (place.timeout, place.prepare) == (2.5, False)
    arguments = place.connect_arguments(read_only=False)
    assert arguments["sslmode"] == "require"
    assert arguments["target_session_attrs"] == "read-write"
    assert not arguments.keys() & {"namespace", "schema", "timeout", "prepare"}


def test_what_is_not_said_has_defaults_and_is_not_taken_from_the_environment(monkeypatch):
    for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGOPTIONS"):
        monkeypatch.setenv(name, "7777")
    place = parse_place("//h/db")
    assert str(place) == "postgresql://h:5432/db, schema sessiondb, namespace default"
    assert place.connect_arguments(read_only=True)["options"] == ""
    assert (place.timeout, place.prepare) == (30.0, True)


def test_several_servers_have_a_port_each():
    assert parse_place("//a:1,b:2/db").address == "a:1,b:2"
    assert parse_place("//a,b/db").address == "a:5432,b:5432"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "no URL"), ("//h", "no database"), ("///db", "no host"), ("h/db", "no URL"), ("//h/db?nope=1", "no URL"),
        ("//h/db?schema=A", "schema"), ("//h/db?schema=" + "a" * 49, "schema"), ("//h/db?schema=1a", "schema"),
        ("//h/db?namespace=", "namespace"),
        ("//h/db?namespace=a%20b", "namespace"), ("//h/db?namespace=-a", "namespace"),
        ("//h/db?log=direct", "only mode"), ("//h/db?prepare=maybe", "prepare"), ("//h/db?insecure=1", "insecure"),
        ("//h/db?timeout=0", "timeout"), ("//h/db?timeout=soon", "timeout"), ("//h/db?timeout=nan", "timeout"),
        ("//h/db?log_dir=relative", "log_dir"), ("//h/db?schema=a&schema=b", "twice"),
        ("//h/db?schema=a%22;x", "schema"),
        ("//a,b,c/db?port=1,2", "ports"), ("//h:x/db", "port"), ("//h:0/db", "port"), ("//h:65536/db", "port"),
    ],
)  # fmt: skip
def test_what_is_no_location_is_refused(path, problem):
    with pytest.raises(UsageError, match=problem):
        PostgresBackend.log_folder(path)


@pytest.mark.parametrize("password", ["ge/heim", "12/heim", "ge/heim@x", "/heim"])
def test_a_password_with_a_slash_is_refused_and_not_repeated(password):
    """For libpq the slash is the end of the host: half a password would be a port, the other half a database."""
    with pytest.raises(UsageError, match="%2F") as caught:
        parse_place(f"//user:{password}@host/db")
    assert "heim" not in str(caught.value)
    assert "ge" not in str(caught.value).split()


def test_an_at_sign_in_the_name_of_a_database_is_escaped():
    assert parse_place("//user:p%2Fw%40@host/d%40b").database == "d@b"


def test_the_log_is_under_the_state_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = PostgresBackend.log_folder("//u:p@h/db?namespace=team&timeout=3")
    assert folder.startswith(f"{tmp_path}/sessiondb/postgres/h_5432_db_sessiondb_team-")
    assert folder.endswith(".wal")
    assert folder == PostgresBackend.log_folder("//someone@h:5432/db?namespace=team&sslmode=require")


def test_without_a_state_folder_it_is_in_the_home(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert PostgresBackend.log_folder("//h/db").startswith(f"{tmp_path}/.local/state/sessiondb/postgres/")
    assert PostgresBackend.log_folder("//h/db?log_dir=~/logs").startswith(f"{tmp_path}/logs/h_5432_")


def test_every_store_has_a_log_of_its_own():
    paths = [
        "//h/db", "//h:1/db", "//g/db", "//h/db2", "//h/db?schema=a", "//h/db?namespace=a", "//h/db?namespace=a_b",
        "//h/db?schema=a&namespace=b", "//h/d%2Fb", "//h/d_b", f"//h/{'x' * 300}", f"//h/{'x' * 301}",
    ]  # fmt: skip
    folders = [PostgresBackend.log_folder(f"{path}{'&' if '?' in path else '?'}log_dir=/logs") for path in paths]
    assert len(set(folders)) == len(paths)
    for folder in folders:
        assert folder.startswith("/logs/")
        assert folder.count("/") == 2
        assert len(folder) < 200
