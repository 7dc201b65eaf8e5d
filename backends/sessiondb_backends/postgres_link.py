"""Connections to the server: a deadline for every answer, no cancelled statements, and errors of our tree.

A stopped server answers nothing and closes nothing, and TCP's keepalives go on, since the kernel answers them. So each
statement has `Link.patience` seconds; then the connection is closed from this side. The same happens when a Ctrl-C
interrupts it: psycopg would cancel the statement, and a COMMIT that is cancelled while it waits for a standby reports
success. What became of a COMMIT whose connection is gone is found out by making the same changes again.
"""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sessiondb.errors import BackendError, BackendUnavailableError, CorruptionError, SessionDBError

from .postgres_array import register
from .postgres_driver import ByteaBinaryLoader, pq, psycopg, waiting
from .postgres_url import Place

__all__ = ["Late", "Link", "connect", "failure", "harmless", "is_lost", "may_succeed_again", "translated"]

Row = tuple[Any, ...]

logger = logging.getLogger("sessiondb.postgres")

CHECK_S = 0.1
"""How often a statement that waits looks at its deadline, and at Ctrl-C."""

LONG = 20
"""A statement that touches all records of a table has so many times as long for its answer."""
NEVER = 2**31
"""Statements are prepared that we say come often, not those that happen to."""

_warned: set[str] = set()


class Late(psycopg.OperationalError):
    """The server did not answer in time; or it says that what it committed may not be everywhere yet."""


class Link(psycopg.Connection[Row]):
    """A connection; used by one thread at a time. Every transaction is begun and ended by statements of ours."""

    patience: float
    """Seconds until an answer is late."""

    def set_up(self, place: Place) -> Link:
        """Make it ours."""
        self.patience = place.timeout
        self.prepare_threshold = NEVER if place.prepare else None  # None: also not if we ask for it
        self.adapters.register_loader("json", ByteaBinaryLoader)  # the text as stored, not what it means
        register(self.adapters)
        self.process = os.getpid()
        self.notes: list[str] = []
        """Warnings that the server has sent."""
        self.add_notice_handler(self._note)
        self._commands = self.cursor()
        self._cursor = self.cursor(binary=True)
        return self

    def _note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self.notes.append(str(diagnostic.message_primary))

    def command(self, statement: bytes) -> None:
        """Execute statements that have no parameters and answer nothing; ``%`` is just that in them."""
        self._commands.execute(statement)

    def run(self, statement: bytes, parameters: Sequence[Any] = (), *, often: bool = False) -> int:
        """Execute a statement; returns how many rows it has changed.

        Args:
            statement: SQL; ``%`` is written ``%%``.
            parameters: its values.
            often: prepare it on the server.
        """
        return self._cursor.execute(statement, parameters, prepare=often).rowcount

    def rows(self, statement: bytes, parameters: Sequence[Any] = (), *, often: bool = False) -> list[Row]:
        """All rows of a statement."""
        return self._cursor.execute(statement, parameters, prepare=often).fetchall()

    @contextmanager
    def at_length(self) -> Iterator[None]:
        """For statements that may take long because they touch many records: much more time for an answer."""
        patience, self.patience = self.patience, self.patience * LONG
        try:
            yield
        finally:
            self.patience = patience

    def wait(self, gen: Any, interval: float = CHECK_S, timeout: float | None = None) -> Any:
        """Let psycopg go on until the answer is there, or late."""
        try:
            return waiting.wait(_within(gen, self.patience), self.pgconn.socket, CHECK_S)
        finally:
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.drop()  # interrupted or late: the answer may come at any time, and be taken for another

    def drop(self) -> None:
        """Close it, without a word to the server that could take time."""
        self.pgconn.finish()

    @property
    def is_usable(self) -> bool:
        """Whether it is open and belongs to this process."""
        return not self.closed and self.process == os.getpid()

    def was_closed(self) -> bool:
        """Whether it is known by now that nothing can be asked on it; asks nobody."""
        if self.is_usable:
            try:
                for _ in range(2):  # neither waits: the first one reads what the server said last
                    self.pgconn.consume_input()
            except psycopg.Error:
                self.drop()
        return not self.is_usable

    def __del__(self, *_: object) -> None:
        if getattr(self, "process", None) == os.getpid():
            self.drop()


def _within(steps: Generator[Any, Any, Any], patience: float) -> Generator[Any, Any, Any]:
    """The same steps; too long a wait between two of them is an error."""
    try:
        state = next(steps)
        while True:
            until = time.monotonic() + patience
            ready = yield state
            while not ready:
                if time.monotonic() > until:
                    raise Late(f"no answer within {patience:g} s (the parameter timeout of the URL)")
                state = steps.send(ready)
                ready = yield state
            state = steps.send(ready)
    except StopIteration as stop:
        return stop.value


def connect(place: Place, *, read_only: bool) -> Link:
    """A new connection.

    Raises:
        BackendUnavailableError: the server cannot be reached.
        BackendError: it refuses.
    """
    _warn(place)
    with translated("connect", place):
        link = Link.connect(autocommit=True, **place.connect_arguments(read_only=read_only))
        return link.set_up(place)


def _warn(place: Place) -> None:
    if place.address in _warned:
        return
    default = next((item.val for item in pq.Conninfo.get_defaults() if item.keyword == b"sslmode"), None)
    if place.is_exposed(None if default is None else default.decode()):
        _warned.add(place.address)
        text = (
            f"the connection to {place.address} can be read and changed on its way, and another server can pose as "
            "this one; next: add sslmode=verify-full to the URL, or insecure=ok where the network is trusted"
        )
        logger.warning(text)
        warnings.warn(text, UserWarning, stacklevel=2)


# ---- errors

_AGAIN = {"40001", "40P01", "55P03"}
"""Serialization failure, deadlock, a lock that others hold: the same transaction may succeed."""
_GONE = {"57P01", "57P02", "57P03", "57P04", "25P03", "25P04", "25006", "53300", "40003"}
"""The server, or this connection to it, is not there now; or this is a standby; or it does not know what it did."""
_MISSING = {"42P01", "42703", "3F000"}
"""A table, a column or the schema."""
_REFUSED = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|(database|role) .* does not exist|certificate|"
    r"does not support SSL|permission denied|not permitted to log in"
)
"""What libpq says when the server, or libpq itself, wants no connection: it gives no SQLSTATE."""
_POOLER = "behind a transaction pooler that knows no prepared statements add prepare=off to the URL"
_OTHER = "the server lacks what a PostgreSQL of version 12 or later has; use one"
_STEPS = {
    "42501": "let `sessiondb init` prepare the schema, or grant the role what is missing: USAGE on the schema; SELECT, "
    "INSERT, UPDATE and DELETE on the tables sessiondb_meta, sessiondb_owners, sessiondb_tables and sessiondb_records",
    "53100": "free space on the server's disk, then try again",
    "53200": "give the server more memory, or try again",
    "57014": "somebody or a statement_timeout cancelled the statement; try again",
    "58030": "look at the server's disk and log, then try again",
    "26000": _POOLER,
    "42P05": _POOLER,
    "0A000": _OTHER,
    "42883": _OTHER,
    "42704": _OTHER,
}


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone: whatever was asked may have been done or not."""
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return state in _GONE or state.startswith("08")


def may_succeed_again(error: BaseException) -> bool:
    """Whether the transaction is worth another try at once."""
    return is_lost(error) or (isinstance(error, psycopg.Error) and error.sqlstate in _AGAIN)


def failure(error: psycopg.Error, what: str, place: Place) -> SessionDBError:
    """What an error of the server or of the connection means; its text without passwords."""
    state = error.sqlstate or ""
    text = place.without_secrets(" ".join(str(error).split()))
    if state:
        text += f" (SQLSTATE {state})"
    said = f"cannot {what} ({place}): {text}"
    if state.startswith("XX00") and state != "XX000":
        return CorruptionError(said, path=str(place), advice="check the server's disk and log, restore a backup")
    if state in _MISSING:
        return CorruptionError(
            f"tables or columns of the store are missing: {text}", path=str(place),
            advice="put them back from a backup; to start empty, use another namespace",
        )  # fmt: skip
    if state in _AGAIN:
        return BackendUnavailableError(f"{said}; nothing was changed; next: try again")
    if is_lost(error) and not _REFUSED.search(text):
        return BackendUnavailableError(f"{said}; next: look at the server and the network, then try again")
    step = _STEPS.get(state, "mend the cause and try again")
    if not state:
        step = "check the URL: user, password, database, sslmode"
    return BackendError(f"{said}; what was there is kept; next: {step}")


@contextmanager
def translated(what: str, place: Place) -> Iterator[None]:
    """Turn errors of the server and of the connection into those of sessiondb."""
    try:
        yield
    except psycopg.Error as error:
        raise failure(error, what, place) from harmless(error, place)
    except OSError as error:
        raise BackendUnavailableError(
            f"cannot {what} ({place}): {error.strerror or error}; next: look at the server and the network"
        ) from error


def harmless(error: psycopg.Error, place: Place) -> psycopg.Error | None:
    """The error as a cause to show, without what it keeps of its connection; not at all if its text has a password."""
    one: BaseException | None = error
    while isinstance(one, psycopg.Error):
        if getattr(one, "_pgconn", None) is not None:
            # All parameters, the password too, and the frames of those who had them: some tools show variables.
            one._pgconn, one.__traceback__ = None, None
        one = one.__cause__ or one.__context__
    return error if place.without_secrets(str(error)) == str(error) else None
