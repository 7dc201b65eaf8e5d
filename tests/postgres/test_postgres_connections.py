"""Connections: libpq's parameters reach it, several servers may be named, nobody's variable leads elsewhere."""

import psycopg
import pytest

import sessiondb
from postgres.fixtures import path_of, port_of
from sessiondb.errors import BackendUnavailableError
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import advance, json_images
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_links import IDLE_MAX


def open_at(path, **how):
    return PostgresBackend.open(FaultyFiles(), path, **{"create": True, **how})


def parameters_of(backend):
    """What libpq was told, defaults too."""
    link = backend._links.take()
    try:
        return {item.keyword.decode(): (item.val or b"").decode() for item in link.pgconn.info}
    finally:
        backend._links.give(link)


def test_parameters_of_libpq_are_passed_on(pg_path):
    given = {
        "keepalives": "1", "keepalives_idle": "11", "keepalives_interval": "5", "keepalives_count": "3",
        "tcp_user_timeout": "9000", "connect_timeout": "7", "application_name": "mine", "sslmode": "prefer",
        "target_session_attrs": "primary", "require_auth": "none", "passfile": "/no/such/file",
    }  # fmt: skip
    backend = open_at(pg_path + "".join(f"&{name}={value}" for name, value in given.items()))
    found = parameters_of(backend)
    assert {name: found[name] for name in given} == given
    backend.close()


def test_what_is_not_said_has_our_defaults(pg_path):
    wanted = {"connect_timeout": "10", "application_name": "sessiondb", "options": "", "client_encoding": "utf8"}
    writer = open_at(pg_path)
    reader = open_at(pg_path, create=False, read_only=True)
    for backend, attributes in ((writer, "read-write"), (reader, "any")):
        found = parameters_of(backend)
        assert {name: found[name] for name in wanted} == wanted
        assert found["target_session_attrs"] == attributes
        backend.close()


def test_variables_of_the_environment_lead_nowhere_else(pg_path, monkeypatch):
    store = open_at(pg_path)
    for name, value in {
        "PGHOST": "192.0.2.1", "PGHOSTADDR": "192.0.2.1", "PGPORT": "1", "PGDATABASE": "other",
        "PGOPTIONS": "-csearch_path=other", "PGCLIENTENCODING": "latin1", "PGTARGETSESSIONATTRS": "standby",
        "PGAPPNAME": "other",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    same = open_at(pg_path)
    assert same.identity() == store.identity()
    advance(same, json_images(a='"é"'.encode())).close()
    assert store.read().get("t", "a") == '"é"'.encode()
    same.close()
    store.close()


def test_of_several_servers_the_first_that_may_be_written_is_used(pg_dsn, pg_schema, own_server, tmp_path):
    """One is down, one takes no writes as a standby does, and one is the right one."""
    with psycopg.connect(own_server.dsn, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        while admin.execute("SHOW default_transaction_read_only").fetchone() != ("on",):
            pass
    user = psycopg.conninfo.conninfo_to_dict(pg_dsn)["user"]
    hosts = ",".join(f"127.0.0.1:{port}" for port in (1, own_server.port, port_of(pg_dsn)))
    path = path_of(f"postgresql://{user}@{hosts}/postgres", schema=pg_schema, log_dir=tmp_path)
    with sessiondb.open(f"postgresql:{path}") as db:
        db.table("t")["a"] = {"n": 1}
        db.checkpoint()
        assert parameters_of(db._store.backend)["port"] == str(port_of(pg_dsn))
        assert hosts in db.location
    with pytest.raises(BackendUnavailableError, match="read-only"):
        open_at(path_of(own_server.dsn, schema=pg_schema))


def test_few_connections_wait_and_each_pinned_state_has_its_own(pg_path, pg_admin, pg_schema):
    count = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{pg_schema}'"

    def connections():
        return pg_admin.execute(count).fetchone()[0]

    def until(wanted):
        while connections() != wanted:  # the server takes a moment to notice
            pass

    backend = open_at(f"{pg_path}&application_name={pg_schema}")
    views = [advance(backend, json_images(a=b"%d" % number)) for number in range(5)]
    until(5)
    assert [view.get("t", "a") for view in views] == [b"0", b"1", b"2", b"3", b"4"]
    for view in views:
        view.close()
    del view, views
    backend.position()
    until(IDLE_MAX)
    backend.close()
    until(0)
