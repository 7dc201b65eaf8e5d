"""The PostgreSQL backend: tables in a schema of a server, for one owner with a log on its own machine.

What makes a checkpoint safe:

* One transaction, which begins with an UPDATE of the stored position that must find the expected one. It locks the
  store's row: of two owners one waits, and then finds another position.
* ``synchronous_commit = on``, whatever the role's default is.
* When the connection is lost in COMMIT nobody knows what became of it. The same transaction is made again: it waits
  for the first if that still runs, and finds either the expected position, or the new one.
* No state outlives a transaction on a connection: transaction poolers may stand between.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar
from uuid import UUID

from sessiondb.backend import Backend, Changes, Identity, Ownership, Pace, Position
from sessiondb.errors import BackendError, CorruptionError, FencedError, SessionDBError
from sessiondb.files import Files
from sessiondb.replacement import Replacement

from . import postgres_catalog as catalog
from .postgres_apply import ChangeWriter
from .postgres_check import problems
from .postgres_driver import psycopg
from .postgres_idle import Idle
from .postgres_link import Late, Link, may_succeed_again, translated
from .postgres_links import Links
from .postgres_replacement import PostgresReplacement, copy
from .postgres_schema import MODE, Names
from .postgres_source import Source
from .postgres_tidy import tidy
from .postgres_url import Place, parse_place
from .postgres_view import PostgresView

__all__ = ["PostgresBackend"]

ATTEMPTS = 4
"""How often a transaction is made when others are in its way, or the connection is lost."""
PAUSE_S = 0.05
BEGIN_WRITE = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on"

UNREADABLE = (
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.errors.UntranslatableCharacter,
)
"""What the server says of a document that it does not take."""

logger = logging.getLogger("sessiondb.postgres")

T = TypeVar("T")


class PostgresBackend(Backend):
    """One namespace in one schema of one database."""

    scheme = "postgresql"
    cached = True
    remote = True

    def __init__(self, place: Place, names: Names, links: Links, identity: Identity, *, read_only: bool):
        self._place = place
        self._names = names
        self._links = links
        self._identity = identity
        self._read_only = read_only
        self._writing = threading.RLock()
        self._idle = Idle(links, self._writing)
        self._may_index = False
        self._untidy = True
        self._is_closed = False

    @classmethod
    def log_folder(cls, path: str) -> str:
        """Under this user's state folder; its name says server, database, schema and namespace."""
        return parse_place(path).log_folder()

    @classmethod
    def shown(cls, path: str) -> str:
        """The location for people: without user, password and what only concerns the connection."""
        return str(parse_place(path))

    @classmethod
    def ddl(cls, path: str) -> list[str]:
        """The statements that make schema and tables, for somebody to read or to run first."""
        place = parse_place(path)
        return Names(place.schema, place.namespace).ddl()

    @classmethod
    def exists(cls, files: Files, path: str) -> bool:
        """Whether the schema has our tables, and they have this namespace."""
        place, names, links = _reach(path, read_only=True)

        def look(link: Link) -> bool:
            there = catalog.are_tables_there(link, names, place)
            return there and catalog.read_meta(link, names, place) is not None

        try:
            return links.ask("look for the store", look)
        finally:
            links.close()

    @classmethod
    def open(cls, files: Files, path: str, *, create: bool, read_only: bool = False) -> PostgresBackend:
        """Open the store, or make a new one.

        Raises:
            WrongBackendError: tables of another program have the names of ours; they are untouched.
            CorruptionError: a part of the store is missing.
            UnsupportedFormatError: a later version wrote it, or another mode.
            BackendUnavailableError: the server cannot be reached.
            BackendError: the server refused.
        """
        place, names, links = _reach(path, read_only=read_only)
        try:
            if create and not read_only:
                links.ask("make the store", lambda link: catalog.create_if_missing(link, names, place))
            return cls._open(place, names, links, read_only=read_only)
        except BaseException:
            links.close()
            raise

    @classmethod
    def _open(cls, place: Place, names: Names, links: Links, *, read_only: bool) -> PostgresBackend:
        def look(link: Link) -> tuple[catalog.State, bool]:
            if not catalog.are_tables_there(link, names, place):
                raise BackendError(f"there is no store at {place}; next: check the URL, or run `sessiondb init`")
            state = catalog.read_state(link, names, place)
            catalog.must_be_known(state.meta, place)
            if not read_only:
                catalog.make_durable(link, names)
            return state, not read_only and catalog.may_change_schema(link, names)

        state, may_index = links.ask("open the store", look)
        backend = cls(place, names, links, state.meta.identity, read_only=read_only)
        backend._may_index = may_index
        return backend

    def identity(self) -> Identity:
        """As stored when the backend was opened."""
        return self._identity

    def position(self) -> Position:
        """The stored position."""
        meta = self._links.ask("read the store", lambda link: catalog.read_meta(link, self._names, self._place))
        return self._must_be_ours(meta).position

    def _must_be_ours(self, meta: catalog.Meta | None) -> catalog.Meta:
        if meta is None or meta.identity != self._identity:
            found = "is missing" if meta is None else "is that of another store now"
            raise CorruptionError(
                f"the store's row in sessiondb_meta {found}", path=str(self._place), advice=catalog.ADVICE
            )
        return meta

    def read(self) -> PostgresView:
        """A view of the state as stored now."""
        with translated("read the store", self._place):
            return PostgresView(Source(self._links) if self._read_only else self._idle.pin())

    # ---- writing

    def _must_write(self) -> None:
        if self._read_only or self._is_closed:
            raise BackendError(f"{self._place} is closed or was opened read-only; next: open it for writing")

    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        """Make the changes in one transaction, again if it cannot be known what became of the first."""
        with self._writing:
            self._must_write()
            self._idle.keep()
            with translated("write the store", self._place):
                try:
                    _retried(lambda: self._apply(changes, expected, position, pace))
                except UNREADABLE as error:
                    # A document that is no JSON to PostgreSQL, nested too deeply for example, must not keep all others
                    # from being stored.
                    logger.warning(
                        "documents are stored as bytes, because the server says: %s", error.diag.message_primary
                    )
                    _retried(lambda: self._apply(changes, expected, position, pace, as_bytes=True))

    def _apply(
        self, changes: Changes, expected: Position, position: Position, pace: Pace, *, as_bytes: bool = False
    ) -> None:
        link = self._links.take()
        try:
            link.command(BEGIN_WRITE)
            self._move(link, expected, position)
            tables = catalog.read_state(link, self._names, self._place).tables
            writer = ChangeWriter(
                link,
                self._names,
                tables,
                position.lsn,
                may_index=self._may_index,
                as_bytes=as_bytes,
                pace=pace,
            )
            if writer.write(changes):
                self._untidy = True
            self._commit(link)
        except BaseException as error:
            self._links.drop(link, error)
            raise
        self._links.give(link)

    def _commit(self, link: Link) -> None:
        link.notes.clear()
        link.command(b"COMMIT")
        if link.notes:  # a COMMIT that was cancelled while it waited for a standby says that it is fine
            raise Late(f"the server warns that the commit may not be safe: {'; '.join(link.notes)}")

    def _move(self, link: Link, expected: Position, position: Position) -> None:
        """Set the new position where the expected one is, or the new one is already; holds the row until the end."""
        uuid = UUID(bytes=self._identity.uuid)
        moved = link.run(
            self._names.move,
            (position.epoch, position.lsn, uuid, MODE, expected.epoch, expected.lsn, position.epoch, position.lsn),
        )
        if moved != 1:
            self._refuse(link, expected)

    def _refuse(self, link: Link, expected: Position) -> NoReturn:
        """Say why the stored position is not the expected one."""
        stored = self._must_be_ours(catalog.read_meta(link, self._names, self._place))
        catalog.must_be_known(stored, self._place)
        raise FencedError(
            f"{self._place} is at {stored.position}, not at {expected}: another owner has taken it over; the log here "
            "is kept; next: stop writing here, and export what the other one has not"
        )

    # ---- who writes

    def ownership(self, owner: bytes) -> Ownership:
        """From ``sessiondb_owners``, read now."""
        parameters = (UUID(bytes=owner) if owner else None,)
        rows = self._links.ask("read the store", lambda link: link.rows(self._names.read_owners, parameters))
        current = next((row for row in rows if row[2] is None), None)
        mine = next((row for row in rows if row[0].bytes == owner), None)
        return Ownership(
            is_current=mine is not None and mine is current,
            lost_after=None if mine is None else mine[2],
            host="" if current is None else current[1],
            since_us=0 if current is None else current[3],
        )

    def take_over(self, owner: bytes, before: bytes, host: str, expected: Position) -> Position:
        """In one transaction, again if it cannot be known what became of the first: then it is not the expected one."""
        with self._writing:
            self._must_write()
            self._idle.keep()
            with translated("take over the store", self._place):
                return _retried(lambda: self._take_over(owner, before, host, expected))

    def _take_over(self, owner: bytes, before: bytes, host: str, expected: Position) -> Position:
        link, names = self._links.take(), self._names
        after = Position(expected.epoch + 1, expected.lsn)
        try:
            link.command(BEGIN_WRITE)
            uuid = UUID(bytes=self._identity.uuid)
            if link.run(names.next_epoch, (uuid, MODE, expected.epoch, expected.lsn)) != 1:
                self._refuse(link, expected)
            if before:
                link.run(names.forget_owner, (UUID(bytes=before),))
            link.run(names.end_owner, (expected.lsn,))
            link.run(names.add_owner, (UUID(bytes=owner), host, after.epoch))
            self._commit(link)
        except BaseException as error:
            self._links.drop(link, error)
            raise
        self._links.give(link)
        return after

    def settle(self) -> None:
        """End the transactions that nobody needs, and bring views and indexes in line with the tables."""
        with self._writing:
            self._must_write()
            self._links.tidy()
            if not (self._untidy and self._may_index):
                return

            def bring_in_line(link: Link) -> bool:
                state = catalog.read_state(link, self._names, self._place)
                return tidy(link, self._names, state.tables.values())

            self._untidy = not self._links.ask("tidy up the store", bring_in_line)

    # ---- moving a whole store here

    @classmethod
    def replacement(
        cls, files: Files, path: str, before: tuple[Identity, Position] | None, *, layout: str | None = None
    ) -> Replacement:
        """Made in one transaction."""
        cls.must_have_layout(layout)
        return PostgresReplacement(path, before)

    @classmethod
    def copy_aside(cls, files: Files, path: str, mark: str) -> tuple[str, str]:
        """Another namespace in the same schema."""
        backend = cls.open(files, path, create=False, read_only=True)
        try:
            view = backend.read()
            try:
                return copy(path, view, mark)
            finally:
                view.close()
        finally:
            backend.close()

    # ---- the rest

    def check(self) -> list[str]:
        """Everything is read, in one transaction."""
        try:
            with translated("check the store", self._place):
                return problems(Source(self._links), self._identity)
        except SessionDBError as error:
            return [str(error)]

    def size(self) -> int:
        """Bytes of the records of all namespaces in the schema, with their indexes."""
        return int(self._links.ask("look at the store", lambda link: link.rows(self._names.size))[0][0])

    def close(self) -> None:
        """Close the connections; those of views when these are let go."""
        with self._writing:
            self._is_closed = True
            self._idle.close()
            self._links.close()

    def abandon(self) -> None:
        """In a forked child: the connections are the parent's."""
        self._writing = threading.RLock()
        self._is_closed = True
        self._idle.abandon()
        self._links.abandon()


def _reach(path: str, *, read_only: bool) -> tuple[Place, Names, Links]:
    place = parse_place(path)
    names = Names(place.schema, place.namespace)
    return place, names, Links(place, names, read_only=read_only)


def _retried(step: Callable[[], T]) -> T:
    """Do it again when others were in the way or the connection was lost: the second time it says what is stored."""
    for attempt in range(1, ATTEMPTS):
        try:
            return step()
        except psycopg.Error as error:
            if not may_succeed_again(error):
                raise
            logger.info("a transaction is made again: %s", type(error).__name__)
            time.sleep(PAUSE_S * attempt * random.random())
    return step()
