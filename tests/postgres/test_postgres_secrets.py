"""What is never said: passwords, in errors and what caused them, in logs, warnings, representations, and files."""

import logging
import socket
import threading
import traceback
import warnings
from pathlib import Path

import psycopg
import pytest

import sessiondb
from postgres.fixtures import port_of
from sessiondb.errors import BackendError, BackendUnavailableError, SessionDBError
from sessiondb.testing import FaultyFiles
from sessiondb_backends import postgres_link
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_url import parse_place
from sessiondb_tools.main import main

CODED = "s3cr%C3%A9t%40pw%2f"
"""With a digit in lower case, as some write it."""
CLEAR = "s3crét@pw/"
SECRETS = ("s3cr", CODED, CLEAR, "%C3%A9t", "ét@pw")


def open_at(path, **how):
    return PostgresBackend.open(FaultyFiles(), path, **{"create": True, **how})


def everything_about(error):
    """All that a program may show of an error: what caused it, and what it was raised beside, too."""
    said = [*traceback.format_exception(error)]
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        said += [str(one), repr(one), *map(repr, one.args), repr(vars(one)), *getattr(one, "__notes__", [])]
        waiting += [one.__cause__, None if one.__suppress_context__ else one.__context__]
    return "\n".join(said)


def nothing_secret(text):
    for secret in SECRETS:
        assert secret not in text, text


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    yield
    nothing_secret(caplog.text)


@pytest.fixture(autouse=True)
def _names_are_not_looked_up(monkeypatch):
    def refuse(host, *_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


WRONG = [
    "//u:{p}@127.0.0.1:1/db",
    "//u:{p}@127.0.0.1:1,127.0.0.1:2/db?namespace=x",
    "//u@127.0.0.1:1/db?password={p}",
    "//u@127.0.0.1:1/db?sslpassword={p}&sslkey=/no/such/key&sslcert=/no/such/certificate&sslmode=require",
    "//u@127.0.0.1:1/db?user=a%40b&password={p}",
    "//u:{p}@127.0.0.1:1/db?no_such={p}",
    "//u:{p}@127.0.0.1:1/db?schema={p}",
    "//u:{p}@127.0.0.1:1/db?namespace={p}",
    "//u:{p}@127.0.0.1:1/db?log={p}",
    "//u:{p}@127.0.0.1:1/db?log_dir={p}",
    "//u:{p}@127.0.0.1:1/db?timeout={p}",
    "//u:{p}@127.0.0.1:1/db?sslmode={p}",
    "//u:{p}@127.0.0.1:1/db?target_session_attrs={p}",
    "//u:{p}@127.0.0.1:1/db?connect_timeout={p}",
    "//u:{p}@127.0.0.1:x/db",
    "//u:{p}@/db",
    "//u:{p}@127.0.0.1",
    "//u:{p}%zz@127.0.0.1/db",
    "u:{p}@127.0.0.1/db",
    "//u:{p}@no.such.host.invalid/db?insecure=ok",
    "//{p}@127.0.0.1:{port}/postgres?password={p}",
    "//postgres:{p}@127.0.0.1:{port}/no_such_database",
    "//postgres:{p}@127.0.0.1:{port}/{p}",
    "//no_such_role:{p}@127.0.0.1:{port}/postgres",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_password_is_in_no_message_and_no_log(url, pg_dsn, tmp_path):
    path = url.format(p=CODED, port=port_of(pg_dsn))
    if "log_dir" not in path:
        path += f"{'&' if '?' in path else '?'}log_dir={tmp_path}/logs"
    for call in (
        lambda: PostgresBackend.exists(FaultyFiles(), path),
        lambda: open_at(path),
        lambda: sessiondb.open(f"postgresql:{path}"),
        lambda: sessiondb.open(f"postgres:{path}", read_only=True),
        lambda: sessiondb.PostgresStorage(f"postgresql:{path}", dict).read_state(),
    ):
        with pytest.raises((SessionDBError, TypeError)) as caught:
            call()
        if "/{p}" not in url and "//{p}" not in url:
            nothing_secret(everything_about(caught.value))
        else:  # somebody gave the same text as another name, too: that is shown as *** at most
            assert CLEAR not in str(caught.value).replace(f"/{CLEAR},", "")
    for call in (PostgresBackend.log_folder, PostgresBackend.shown):
        try:
            said = call(path)
        except SessionDBError as error:
            said = everything_about(error)
        if "/{p}" not in url and "log_dir={p}" not in url:
            nothing_secret(said)


@pytest.mark.parametrize("verb", ["status", "check", "tables", "checkpoint", "log verify", "init"])
@pytest.mark.parametrize("url", [WRONG[0], WRONG[5], "//postgres:{p}@127.0.0.1:{port}/no_such_database"])
def test_the_command_says_no_password(url, verb, pg_dsn, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = url.format(p=CODED, port=port_of(pg_dsn))
    assert main([*verb.split(), "--db", f"postgresql:{path}"]) != 0
    said = capfd.readouterr()
    nothing_secret(said.out + said.err)
    assert "next: " in said.err


class Careful:
    """A server that wants a password of the role `careful`."""

    def __init__(self, server):
        with psycopg.connect(server.dsn, autocommit=True) as admin:
            admin.execute("CREATE ROLE careful LOGIN")
            with admin.cursor() as cursor:
                cursor.execute(psycopg.sql.SQL("ALTER ROLE careful PASSWORD {}").format(CLEAR))
            admin.execute("GRANT ALL ON DATABASE postgres TO careful")
            hba = server.root / "data" / "pg_hba.conf"
            hba.write_text(f"host all careful 127.0.0.1/32 scram-sha-256\n{hba.read_text()}")
            admin.execute("SELECT pg_reload_conf()")
        self.address = f"127.0.0.1:{server.port}/postgres"
        self.unsettled = True

    def refusal(self, path):
        """The error; the server reads its file a moment after it was told to."""
        while True:
            try:
                open_at(path)
            except BackendError as error:
                return error
            assert self.unsettled


def test_a_password_that_is_refused_or_taken_is_not_repeated(own_server, tmp_path, monkeypatch, capfd, caplog):
    server = Careful(own_server)
    wrong = "wrong-s3cr" + "et"  # a traceback shows lines of this file
    found = server.refusal(f"//careful:{wrong}@{server.address}")
    server.unsettled = False
    assert type(found) is BackendError
    assert "password authentication failed" in str(found)
    assert "next: check the URL" in str(found)
    assert wrong not in everything_about(found)
    monkeypatch.setenv("PGPASSWORD", wrong)
    found = server.refusal(f"//careful@{server.address}")
    assert "password authentication failed" in str(found)
    assert wrong not in everything_about(found)
    monkeypatch.delenv("PGPASSWORD")
    found = server.refusal(f"//careful@{server.address}")
    assert "no password supplied" in str(found)

    url = f"postgresql://careful:{CODED}@{server.address}?log_dir={tmp_path}/logs"
    with sessiondb.open(url) as db:
        db.table("t")["a"] = {"n": 1}
        db.checkpoint()
        db.table("t")["a"] = {"n": 2}
        store = db._store
        backend = store.backend
        view = backend.read()
        shown = [
            db, db.location, db.table("t"), db.stats(), db.recovery_report, db.check(), store.location, store.options,
            backend, vars(backend), backend._place, backend._links, vars(backend._links), backend._idle, view,
            view.source, view.source._link, view.source._link.info.get_parameters().keys(),
        ]  # fmt: skip
        nothing_secret(" ".join(f"{one} {one!r}" for one in shown))
        view.close()
        with pytest.raises(sessiondb.UsageError) as caught:
            sessiondb.open(url, sync="never")
        nothing_secret(everything_about(caught.value))
        own_server.stop()
        with pytest.raises(sessiondb.StoreFailedError) as caught:
            db.checkpoint()
        nothing_secret(everything_about(caught.value) + str(db.stats()))
        own_server.start()
        db.checkpoint()
    assert main(["status", "--db", url]) == 0
    assert main(["status", "--json", "--db", url]) == 0
    assert main(["check", "--db", url]) == 0
    said = capfd.readouterr()
    assert "postgresql" in said.out
    nothing_secret(said.out + said.err)
    for file in Path(tmp_path).rglob("*"):
        nothing_secret(str(file.relative_to(tmp_path)))
        if file.is_file():
            assert CLEAR.encode() not in file.read_bytes()
            assert CODED.encode() not in file.read_bytes()
    with psycopg.connect(own_server.dsn) as admin:
        seen = admin.execute("SELECT query, application_name FROM pg_stat_activity").fetchall()
    nothing_secret(str(seen))


def test_a_password_of_the_environment_opens_the_store_and_is_not_said(own_server, tmp_path, monkeypatch):
    server = Careful(own_server)
    server.refusal(f"//careful:x@{server.address}")
    monkeypatch.setenv("PGPASSWORD", CLEAR)
    with sessiondb.open(f"postgresql://careful@{server.address}?log_dir={tmp_path}/logs") as db:
        nothing_secret(f"{db!r} {db.stats()} {vars(db._store.backend)!r}")


def test_a_message_that_holds_the_password_is_shown_without_it():
    """Neither libpq nor the server are known to say one; if they do, it is not handed on, nor is the error itself."""
    place = parse_place(f"//u:{CODED}@h/db?sslpassword=t0p")
    for text in (f"refused {CLEAR}", "refused s3cr%C3%A9t%40pw%2F", "refused t0p"):
        error = psycopg.OperationalError(text)
        with pytest.raises(SessionDBError) as caught, postgres_link.translated("connect", place):
            raise error
        assert "refused ***" in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert text not in everything_about(caught.value)


# ---- whether somebody could listen


@pytest.fixture
def refused(monkeypatch):
    """Nothing goes to any other machine: each connection is refused at once."""

    def connect(*_, **__):
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(postgres_link.Link, "connect", connect)
    monkeypatch.setattr(postgres_link, "_warned", set())


EXPOSED = [
    "//u@db.example/db", "//u@192.0.2.1/db", "//u@localhost,db.example/db", "//u@h/db?sslmode=require",
    "//u@h/db?sslmode=verify-ca", "//u@127.0.0.1/db?hostaddr=192.0.2.1", "//u@localhost.evil.example/db",
    "//u@[2001:db8::1]/db", "//u@h/db?insecure=no",
]  # fmt: skip
HARMLESS = [
    "//u@127.0.0.1:1/db", "//u@127.3.2.1/db", "//u@localhost:1/db", "//u@[::1]/db", "//u@/db?host=/nowhere",
    "//u@db.example/db?sslmode=verify-full", "//u@db.example/db?insecure=ok", "//u@db.example/db?sslrootcert=system",
    "//u@localhost,127.0.0.1/db", "//u@localhost/db?hostaddr=127.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("path", EXPOSED)
def test_a_connection_that_proves_nothing_warns_once(refused, path, caplog):
    said = r"can be read and changed.*sslmode=verify-full.*insecure=ok"
    with pytest.warns(UserWarning, match=said), pytest.raises(BackendUnavailableError):
        open_at(path)
    assert "sslmode=verify-full" in caplog.text
    with pytest.raises(BackendUnavailableError):
        open_at(path)


@pytest.mark.parametrize("path", HARMLESS)
def test_a_connection_to_this_machine_or_a_proved_one_does_not_warn(refused, path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BackendUnavailableError):
            open_at(path)


def test_libpqs_own_default_counts(refused, monkeypatch):
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BackendUnavailableError):
            open_at("//u@db.example/db")
    with pytest.warns(UserWarning, match="verify-full"), pytest.raises(BackendUnavailableError):
        open_at("//u@db.example/db?sslmode=prefer")


def test_many_threads_are_warned_once(refused):
    def use():
        with pytest.raises(BackendUnavailableError):
            open_at("//u@db.example/db")

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 1
