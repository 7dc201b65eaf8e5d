"""What the server says, by SQLSTATE, and what becomes of it in our tree. Unknown ones too."""

import psycopg
import pytest

from sessiondb.backend import Position
from sessiondb.errors import BackendError, BackendUnavailableError, CorruptionError
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import contents, json_images, no_pause
from sessiondb_backends import postgres
from sessiondb_backends.postgres import ATTEMPTS, PostgresBackend
from sessiondb_backends.postgres_link import failure, is_lost
from sessiondb_backends.postgres_url import parse_place

ERRORS = {
    # The same transaction may succeed: it is made again, then it says that nothing was changed.
    "40001": (BackendUnavailableError, "nothing was changed; next: try again"),
    "40P01": (BackendUnavailableError, "nothing was changed; next: try again"),
    "55P03": (BackendUnavailableError, "nothing was changed; next: try again"),
    # The server is not there, or not for us, or does not know what it did: made again on another connection.
    "08000": (BackendUnavailableError, "next: look at the server and the network"),
    "08006": (BackendUnavailableError, "next: look at the server and the network"),
    "57P01": (BackendUnavailableError, "next: look at the server"),
    "57P02": (BackendUnavailableError, "next: look at the server"),
    "57P03": (BackendUnavailableError, "next: look at the server"),
    "57P04": (BackendUnavailableError, "next: look at the server"),
    "25P03": (BackendUnavailableError, "next: look at the server"),
    "25P04": (BackendUnavailableError, "next: look at the server"),
    "25006": (BackendUnavailableError, "next: look at the server"),
    "53300": (BackendUnavailableError, "next: look at the server"),
    "40003": (BackendUnavailableError, "next: look at the server"),
    # Damage.
    "XX001": (CorruptionError, "restore a backup"),
    "XX002": (CorruptionError, "restore a backup"),
    "42P01": (CorruptionError, "put them back from a backup"),
    "42703": (CorruptionError, "put them back from a backup"),
    "3F000": (CorruptionError, "put them back from a backup"),
    # Somebody has to do something.
    "42501": (BackendError, "next: let `sessiondb init` .*sessiondb_owners"),
    "53100": (BackendError, "next: free space on the server's disk"),
    "53200": (BackendError, "next: give the server more memory"),
    "57014": (BackendError, "next: somebody or a statement_timeout"),
    "58030": (BackendError, "next: look at the server's disk"),
    "26000": (BackendError, "next: behind a transaction pooler .*prepare=off"),
    "42P05": (BackendError, "next: behind a transaction pooler .*prepare=off"),
    "0A000": (BackendError, "next: the server lacks"),
    "42883": (BackendError, "next: the server lacks"),
    # The rest, whatever it is.
    "23505": (BackendError, "next: mend the cause"),
    "25P02": (BackendError, "next: mend the cause"),
    "53400": (BackendError, "next: mend the cause"),
    "58P01": (BackendError, "next: mend the cause"),
    "XX000": (BackendError, "next: mend the cause"),
    "P0001": (BackendError, "next: mend the cause"),
    "Z1234": (BackendError, "next: mend the cause"),
    "HV000": (BackendError, "next: mend the cause"),
}  # fmt: skip
SAID = "oh no"


@pytest.fixture
def backend(pg_url, monkeypatch):
    monkeypatch.setattr(postgres, "PAUSE_S", 0.0)
    opened = PostgresBackend.open(FaultyFiles(), pg_url.partition(":")[2], create=True)
    opened.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
    yield opened
    opened.close()


def raising(state):
    return f"DO $$ BEGIN RAISE EXCEPTION '{SAID}' USING ERRCODE = '{state}'; END $$".encode()


@pytest.mark.parametrize("state", ERRORS)
def test_an_error_of_the_server_while_reading_is_one_of_ours(backend, state):
    expected, step = ERRORS[state]
    view = backend.read()
    with pytest.raises(expected, match=step) as caught:
        view.source.ask("read records", lambda link: link.command(raising(state)))
    assert type(caught.value) is expected
    assert SAID in str(caught.value) or expected is CorruptionError
    assert state in str(caught.value) or expected is CorruptionError
    assert isinstance(caught.value.__cause__, psycopg.Error)
    assert caught.value.__cause__.sqlstate == state
    assert view.get("t", "a") == b"1"  # the view found its state again
    view.close()


@pytest.fixture
def backend_of_its_own(pg_path, monkeypatch):
    monkeypatch.setattr(postgres, "PAUSE_S", 0.0)
    opened = PostgresBackend.open(FaultyFiles(), pg_path, create=True)
    opened.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
    yield opened
    opened.close()


@pytest.fixture
def fail_with(backend_of_its_own, pg_admin, pg_schema):
    """Makes the server raise an error in the middle of each checkpoint; with an empty text no more."""
    pg_admin.execute(f"SET search_path = {pg_schema}")
    pg_admin.execute("CREATE TABLE failing AS SELECT '' AS state")
    pg_admin.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE chosen text; BEGIN "
        f"SELECT state INTO chosen FROM {pg_schema}.failing; "
        f"IF chosen <> '' THEN RAISE EXCEPTION '{SAID}' USING ERRCODE = chosen; END IF; RETURN NEW; END $$"
    )
    pg_admin.execute("CREATE TRIGGER failing BEFORE INSERT ON sessiondb_records FOR EACH ROW EXECUTE FUNCTION fail()")
    return lambda state: pg_admin.execute("UPDATE failing SET state = %s", [state])


@pytest.mark.parametrize("state", ["40001", "08006", "57P01", "25006", "XX001", "42501", "53100", "23505", "Z1234"])
def test_an_error_of_the_server_in_a_checkpoint_is_one_of_ours_and_nothing_was_changed(
    backend_of_its_own, fail_with, state, watch
):
    backend, (expected, step) = backend_of_its_own, ERRORS[state]
    fail_with(state)
    before = watch.said.get(backend._names.move.decode(), 0)
    with pytest.raises(expected, match=step) as caught:
        backend.apply(json_images(b=b"2"), Position(1, 1), Position(1, 2), no_pause)
    assert type(caught.value) is expected
    tries = watch.said[backend._names.move.decode()] - before
    assert tries == (ATTEMPTS if expected is BackendUnavailableError else 1)
    assert backend.position() == Position(1, 1)
    fail_with("")
    backend.apply(json_images(b=b"2"), Position(1, 1), Position(1, 2), no_pause)
    assert contents(backend.read()) == {"t": ("json", {"a": b"1", "b": b"2"})}


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03", "57P01"])
def test_what_passes_by_is_tried_again_and_nobody_hears_of_it(backend_of_its_own, fail_with, state):
    backend = backend_of_its_own
    fail_with(state)
    tries = []

    def pause():
        tries.append(None)
        if len(tries) == 3:
            fail_with("")

    backend.apply(json_images(b=b"2"), Position(1, 1), Position(1, 2), pause)
    assert backend.read().get("t", "b") == b"2"


# ---- errors of libpq, which gives no SQLSTATE

FROM_LIBPQ = {
    'connection to server at "h" failed: Connection refused': BackendUnavailableError,
    'connection to server at "h" failed: timeout expired': BackendUnavailableError,
    'failed to resolve host "h": [Errno -2] Name or service not known': BackendUnavailableError,
    'connection to server at "h" failed: FATAL:  the database system is starting up': BackendUnavailableError,
    'connection to server at "h" failed: FATAL:  sorry, too many clients already': BackendUnavailableError,
    'connection to server at "h" failed: session is read-only': BackendUnavailableError,
    "consuming input failed: server closed the connection unexpectedly": BackendUnavailableError,
    "SSL SYSCALL error: EOF detected": BackendUnavailableError,
    "something that nobody has seen": BackendUnavailableError,
    'connection to server at "h" failed: FATAL:  password authentication failed for user "u"': BackendError,
    'connection to server at "h" failed: fe_sendauth: no password supplied': BackendError,
    'connection to server at "h" failed: FATAL:  no pg_hba.conf entry for host "h"': BackendError,
    'connection to server at "h" failed: FATAL:  database "db" does not exist': BackendError,
    'connection to server at "h" failed: FATAL:  role "u" does not exist': BackendError,
    'connection to server at "h" failed: FATAL:  role "u" is not permitted to log in': BackendError,
    'connection to server at "h" failed: FATAL:  permission denied for database "db"': BackendError,
    'connection to server at "h" failed: server does not support SSL, but SSL was required': BackendError,
    'connection to server at "h" failed: SSL error: certificate verify failed': BackendError,
    'server certificate for "a" does not match host name "h"': BackendError,
    'root certificate file "/root.crt" does not exist': BackendError,
}


@pytest.mark.parametrize("text", FROM_LIBPQ)
def test_an_error_without_a_sqlstate_is_told_by_its_text(text):
    error = psycopg.OperationalError(text)
    assert is_lost(error)
    found = failure(error, "connect", parse_place("//u:s3cret@h/db"))
    assert type(found) is FROM_LIBPQ[text]
    assert " ".join(text.split()) in str(found)
    assert "next: " in str(found)


def test_an_error_of_the_program_is_no_lost_connection():
    for error in (psycopg.InterfaceError("the cursor is closed"), psycopg.ProgrammingError("x"), ValueError("x")):
        assert not is_lost(error)


def test_a_real_refusal_names_what_to_check(pg_dsn):
    for change, problem in (
        (("/postgres", "/no_such_database"), "no_such_database"),
        (("postgres@", "nobody_@"), "nobody_"),
    ):
        path = pg_dsn.replace(*change, 1).partition(":")[2]
        with pytest.raises(BackendError, match=rf"{problem}.*does not exist.*next: check the URL") as caught:
            PostgresBackend.open(FaultyFiles(), path, create=True)
        assert type(caught.value) is BackendError
