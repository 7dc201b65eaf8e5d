"""A store on a server that is made in one transaction, beside what everybody sees in its place until the COMMIT.

There is nothing to rename, and nothing is left of a transaction that does not get to its end: the server sees to that.
The transaction begins with the store's row in ``sessiondb_meta``, which gets a new uuid where the expected one stands.
That locks the row, so whoever else writes to the store waits, and then finds that it is another one.

SQL indexes are made afterwards, one at a time: making one keeps everybody from writing to any store in the schema.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar
from uuid import UUID

import msgspec

from sessiondb.backend import BackendView, Changes, Identity, Pace, Position, TableChanges
from sessiondb.errors import BackendError, CorruptionError, DurabilityUnknownError, FencedError, SessionDBError
from sessiondb.replacement import Replacement

from . import postgres_catalog as catalog
from .postgres_apply import ChangeWriter
from .postgres_check import problems
from .postgres_driver import psycopg
from .postgres_link import Late, Link, failure, harmless, is_lost, translated
from .postgres_links import Links
from .postgres_schema import FORMAT_VERSION, MODE, Names, TableRow, encode_table
from .postgres_source import Source
from .postgres_tidy import tidy
from .postgres_url import Place, parse_place
from .postgres_view import PostgresView

__all__ = ["PostgresReplacement", "copy"]

BEGIN = (
    b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; "
    # The source may take its time.
    b"SET LOCAL idle_in_transaction_session_timeout = 0"
)
COPY_RECORDS = 5_000
COPY_BYTES = 8 << 20
NAME_CHARACTERS_MAX = 48

logger = logging.getLogger("sessiondb.postgres")

T = TypeVar("T")


class PostgresReplacement(Replacement):
    """A store that is written in a transaction which has not ended.

    Args:
        path: its place.
        before: what is there.
    """

    def __init__(self, path: str, before: tuple[Identity, Position] | None):
        self._place = place = parse_place(path)
        self._names = names = Names(place.schema, place.namespace)
        self._links = Links(place, names, read_only=False)
        self._identity = Identity(UUID(bytes=os.urandom(16), version=4).bytes, FORMAT_VERSION)
        self._lsn = 0
        self._tables: dict[str, TableRow] = {}
        self._indexes: dict[str, tuple[str, ...]] = {}
        self._is_written = False
        self._link: Link | None = None
        try:
            with translated("begin a store", place):
                self._link = self._links.take()
                self._begin(self._link, before)
        except BaseException:
            self.discard()
            raise

    def _begin(self, link: Link, before: tuple[Identity, Position] | None) -> None:
        names = self._names
        link.command(BEGIN)
        if before is None:
            if not catalog.are_tables_there(link, names, self._place):
                catalog.run_ddl(link, names, self._place)
            if link.run(names.add_meta, (UUID(bytes=self._identity.uuid), FORMAT_VERSION, MODE)) != 1:
                raise FencedError(f"somebody else has made a store at {self._place} meanwhile; it is untouched")
            if link.rows(names.any_leftover) != [(False,)]:
                raise CorruptionError(
                    "the store has tables or records, but no row in sessiondb_meta", path=str(self._place),
                    advice=catalog.ADVICE,
                )  # fmt: skip
            return
        identity, position = before
        renamed = names.make(
            "UPDATE {meta} SET uuid = %s, format = %s, epoch = 1, lsn = 0 "
            "WHERE ns = {ns} AND uuid = %s AND mode = %s AND epoch = %s AND lsn = %s"
        )
        expected = (UUID(bytes=identity.uuid), MODE, position.epoch, position.lsn)
        if link.run(renamed, (UUID(bytes=self._identity.uuid), FORMAT_VERSION, *expected)) != 1:
            raise FencedError(f"somebody else has changed the store at {self._place} meanwhile; it is untouched")
        with link.at_length():
            for statement in (
                names.make("DELETE FROM {records} WHERE ns = {ns}"),
                names.make("DELETE FROM {tables} WHERE ns = {ns}"),
                names.make("DELETE FROM {owners} WHERE ns = {ns}"),
            ):
                link.run(statement)

    def _writing(self) -> Link:
        if self._link is None:
            raise BackendError(f"the transaction that makes the store at {self._place} has ended")
        return self._link

    # ---- writing

    def add(self, changes: Changes, pace: Pace) -> None:
        """More statements of the transaction."""
        assert not self._is_written
        self._lsn += 1
        for name, change in changes.items():
            fields = [field for field, wanted in change.indexes.items() if wanted]
            if fields:
                self._indexes[name] = (*self._indexes.get(name, ()), *fields)
        without = {name: change._replace(indexes={}) for name, change in changes.items()}
        link = self._writing()
        with translated("write the store", self._place):
            writer = ChangeWriter(
                link, self._names, self._tables, self._lsn, may_index=False, as_bytes=False, pace=pace
            )
            writer.write(without)

    def _finish(self, link: Link) -> None:
        """Declare the indexes, and say the position."""
        for name, fields in self._indexes.items():
            row = self._tables[name] = msgspec.structs.replace(self._tables[name], indexes=fields)
            link.run(self._names.set_table, encode_table(row))
        link.run(self._names.make("UPDATE {meta} SET lsn = %s WHERE ns = {ns}"), (self._lsn,))
        self._is_written = True

    def _inside(self) -> Source:
        link = self._writing()
        with translated("read the store", self._place):
            if not self._is_written:
                self._finish(link)
            return _Inside(link, self._links, catalog.read_state(link, self._names, self._place))

    def read(self) -> BackendView:
        """What the transaction sees."""
        return PostgresView(self._inside())

    def check(self) -> list[str]:
        """What the transaction sees."""
        with translated("check the store", self._place):
            return problems(self._inside(), self._identity)

    # ---- the end

    def take_place(self) -> None:
        """COMMIT; when the connection is lost in it, look whether it happened."""
        link = self._writing()
        with translated("replace the store", self._place):
            try:
                if not self._is_written:
                    self._finish(link)
                link.notes.clear()
                link.command(b"COMMIT")
                if link.notes:  # a COMMIT that was cancelled while it waited for a standby says that it is fine
                    raise Late(f"the server warns that the commit may not be safe: {'; '.join(link.notes)}")
            except BaseException as error:
                self._link = None
                self._links.drop(link, error)
                if not is_lost(error) or not self._has_happened(error):
                    self._links.close()
                    raise
            else:
                self._link = None
                self._links.give(link)
        self._tidy()
        self._links.close()

    def _has_happened(self, cause: BaseException) -> bool:
        """Whether the COMMIT went through: whoever asks for the store's row waits until its transaction has ended."""
        names, mine = self._names, UUID(bytes=self._identity.uuid)

        def look(link: Link) -> bool:
            link.command(BEGIN)
            link.run(names.add_meta, (UUID(bytes=os.urandom(16), version=4), FORMAT_VERSION, MODE))
            link.run(names.touch)
            meta = catalog.read_meta(link, names, self._place)
            if meta is None or meta.identity.uuid != mine.bytes:
                link.command(b"ROLLBACK")
                return False
            link.command(b"COMMIT")  # with this commit the other one is durable, too
            return True

        try:
            return self._links.ask("look what became of a commit", look)
        except SessionDBError as error:
            self._links.close()
            raise DurabilityUnknownError(
                f"the connection was lost when {self._place} was to be replaced, and whether that happened cannot be "
                f"told: {error}; next: run the same again when the server is there: it finds out"
            ) from cause

    def _tidy(self) -> None:
        """Make SQL indexes and views now; what cannot be done is done by a later checkpoint."""
        names = self._names

        def bring_in_line(link: Link) -> None:
            if catalog.may_change_schema(link, names):
                with link.at_length():
                    tidy(link, names, self._tables.values())

        try:
            self._links.ask("make SQL indexes and views", bring_in_line)
        except SessionDBError as error:
            logger.info("%s: SQL indexes and views are made by a later checkpoint: %s", self._place, error)

    def discard(self) -> None:
        """ROLLBACK."""
        link, self._link = self._link, None
        if link is not None:
            self._links.give(link)
        self._links.close()


class _Inside(Source):
    """What a transaction sees that has made changes itself; it cannot be found again when it is lost."""

    def __init__(self, link: Link, links: Links, state: catalog.State):
        self._inner = link
        self._link = None  # it is not this object's to let go
        self._links = links
        self._commands = deque()
        self.round = 0
        self.used = 0.0
        self.is_old = False
        self.meta, self.tables = state.meta, state.tables
        self.place, self.names = links.place, links.names

    def ask(self, what: str, question: Callable[[Link], T]) -> T:
        """The answer of the server."""
        try:
            while self._commands:
                self._inner.command(self._commands.popleft()[1])
            return question(self._inner)
        except psycopg.Error as error:
            raise failure(error, what, self.place) from harmless(error, self.place)


# ---- copies


def copy(path: str, view: PostgresView, mark: str) -> tuple[str, str]:
    """Copy what a view shows into another namespace of the same schema.

    Through this process: no statement is about two namespaces, which may be on two servers.
    """
    place = parse_place(path)
    for number in count(1):
        namespace = _copy_name(place, f"-{mark}{f'-{number}' if number > 1 else ''}")
        target = _with_namespace(path, namespace)
        try:
            made = PostgresReplacement(target, None)
        except FencedError:
            continue  # the name is taken
        try:
            for changes in _batches(view):
                made.add(changes, lambda: None)
            made.take_place()
        except BaseException:
            made.discard()
            raise
        return target, str(parse_place(target))
    raise AssertionError


def _copy_name(place: Place, end: str) -> str:
    return place.namespace[: NAME_CHARACTERS_MAX - len(end)] + end.lower()


def _with_namespace(path: str, namespace: str) -> str:
    base, _, query = path.partition("?")
    others = [item for item in query.split("&") if item and item.partition("=")[0] != "namespace"]
    return f"{base}?{'&'.join([*others, f'namespace={namespace}'])}"


def _batches(view: PostgresView) -> Iterator[Changes]:
    for name, kind in view.tables().items():
        images: dict[str, bytes | None] = {}
        size = 0
        for key, image in view.scan(name):
            images[key] = image
            size += len(image)
            if len(images) >= COPY_RECORDS or size >= COPY_BYTES:
                yield {name: TableChanges(kind, False, images)}
                images, size = {}, 0
        yield {name: TableChanges(kind, False, images, dict.fromkeys(view.indexes(name), True))}
