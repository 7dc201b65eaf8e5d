"""TLS for real: `sslmode=verify-full` takes the right server, and no other one."""

import os
import shutil
import warnings
from pathlib import Path

import psycopg
import pytest

import sessiondb
from postgres.fixtures import path_of, port_of
from postgres.server import Server, binaries
from postgres.tls import CERTIFICATES, TlsWire
from sessiondb.errors import BackendError
from sessiondb.testing import FaultyFiles
from sessiondb_backends.postgres import PostgresBackend

VERIFY = {"sslmode": "verify-full", "sslrootcert": CERTIFICATES / "authority.crt"}


@pytest.fixture
def wire(pg_dsn, request):
    ending = TlsWire(port_of(pg_dsn), getattr(request, "param", "localhost.pem"))
    yield ending
    ending.close()


@pytest.fixture
def dsn(pg_dsn, wire):
    """Through the wire; the certificate is for the name, not for the address."""
    user = psycopg.conninfo.conninfo_to_dict(pg_dsn)["user"]
    return f"postgresql://{user}@localhost:{wire.port}/postgres"


def test_a_server_that_proves_who_it_is_is_used_and_nothing_warns(dsn, wire, pg_schema, tmp_path):
    path = path_of(dsn, **VERIFY, schema=pg_schema, log_dir=tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with sessiondb.open(f"postgresql:{path}") as db:
            db.table("t")["a"] = {"n": 1}
            db.checkpoint()
            assert db.table("t")["a"] == {"n": 1}
            link = db._store.backend._links.take()
            assert link.pgconn.ssl_in_use
            link.drop()
    assert wire.secure > 0
    assert wire.plain == 0


@pytest.mark.parametrize("wire", ["other_name.pem", "stranger.pem"], indirect=True)
def test_a_server_that_proves_to_be_another_one_gets_nothing(dsn, wire, pg_schema):
    path = path_of(dsn, **VERIFY, schema=pg_schema)
    for call in (
        lambda: PostgresBackend.open(FaultyFiles(), path, create=True),
        lambda: PostgresBackend.exists(FaultyFiles(), path),
    ):
        with pytest.raises(BackendError, match=r"certificate.*next: check the URL") as caught:
            call()
        assert type(caught.value) is BackendError
    assert wire.passed_on == wire.plain == 0


@pytest.mark.parametrize("wire", ["other_name.pem", "stranger.pem"], indirect=True)
def test_less_than_verify_full_takes_whoever_answers(dsn, wire, pg_schema):
    """For that reason such a connection to another machine warns."""
    PostgresBackend.open(FaultyFiles(), path_of(dsn, sslmode="require", schema=pg_schema), create=True).close()
    assert wire.secure > 0


def test_a_server_without_tls_gets_nothing_where_tls_is_wanted(pg_dsn, pg_schema):
    user = psycopg.conninfo.conninfo_to_dict(pg_dsn)["user"]
    if _speaks_tls(pg_dsn):
        pytest.skip("the server of this run speaks TLS")
    path = path_of(f"postgresql://{user}@localhost:{port_of(pg_dsn)}/postgres", **VERIFY, schema=pg_schema)
    with pytest.raises(BackendError, match=r"does not support SSL.*next: check the URL"):
        PostgresBackend.open(FaultyFiles(), path, create=True)


def _speaks_tls(dsn):
    with psycopg.connect(dsn) as connection:
        return connection.execute("SHOW ssl").fetchone() == ("on",)


def _tls_binaries():
    """Programs of a server that knows TLS; those of the tests' own package do not."""
    candidates = [binaries(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return next((path for path in candidates if b"libssl.so" in (path / "postgres").read_bytes()), None)


@pytest.mark.slow
def test_the_servers_own_tls_with_a_password_bound_to_it(monkeypatch, tmp_path):
    """`channel_binding=require`: the password proves both sides, and is worth nothing to anybody in between."""
    found = None if "SESSIONDB_TEST_PG_DSN" in os.environ else _tls_binaries()
    if found is None:
        pytest.skip("no PostgreSQL with TLS on this machine; next: set SESSIONDB_TEST_PG_BIN to one (Debian's has it)")
    monkeypatch.setenv("SESSIONDB_TEST_PG_BIN", str(found))
    server = Server()
    try:
        server.stop()
        data = server.root / "data"
        for name in ("key", "crt"):
            shutil.copy(CERTIFICATES / "localhost.pem", data / name)
            os.chown(data / name, data.stat().st_uid, data.stat().st_gid)
            os.chmod(data / name, 0o600)
        server.settings |= {"ssl": "on", "ssl_key_file": "key", "ssl_cert_file": "crt"}
        server.start()
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute("CREATE ROLE app LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE postgres TO app")
        rules = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(f"hostssl all app all scram-sha-256\nhost all app all reject\n{rules}")
        server.stop()
        server.start()
        dsn = f"postgresql://app:x@localhost:{server.port}/postgres"
        path = path_of(dsn, **VERIFY, channel_binding="require", log_dir=tmp_path)
        with sessiondb.open(f"postgresql:{path}") as db:
            db.table("t")["a"] = {"n": 1}
            db.checkpoint()
        with pytest.raises(BackendError, match=r"rejects connection.*next: check the URL"):
            PostgresBackend.open(FaultyFiles(), path_of(dsn, sslmode="disable"), create=False)
    finally:
        server.remove()
