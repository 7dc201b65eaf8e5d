"""The storage of sessions: `DatabaseStorage[SessionRecord, SessionDbState]` on every backend."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from msgspec import UNSET, UnsetType

from ..configuration import Config
from ..database import Database
from ..errors import UsageError
from ..files import REAL_FILES, Files
from ..location_storage import LocationStorage
from ..query import one_of
from ..reading import TableReader
from ..storage import StateStorage
from ..table import Table
from .codec import LenientCodec, Listed, SessionCodec
from .filters import Date, filters, task_ids
from .listing import Question, page
from .misfits import declare_indexes, unindexable
from .places import absolute_folder, base_dir_beside, opener, own_base_dir, working_directory
from .record import SessionDbState, SessionMisfit, SessionRecord
from .searching import searcher

__all__ = ["SessionStorage"]

TABLE = "sessions"


class SessionStorage(StateStorage[SessionRecord, SessionDbState]):
    """All sessions at a location, whatever its backend: entities by id, the whole state, and the questions about them.

    Making one opens and creates nothing; `initialize` does, or the first call that needs it. Sessions are in the order
    of their ids where no other one is asked for.

    Dates are compared as moments, here and in `get_entities`: for `between` and for orders a date with milliseconds
    and one without, or with another offset from UTC, stand where they belong. They are stored as they were written.

    A stored record that is no session is an error where it is reached, which names its key and what in it is wrong.
    `list_misfits` lists them all, and `list_sessions` and `search` list those that they reach if they get a list for
    them. Nothing overwrites or deletes them but `delete_entity` and an `update_entity` that mends them.

    Args:
        location: a path or URL, as for `sessiondb.open`; or the settings (`sessiondb.load_config`), which are read if
            nothing is given.
        base_dir: the folder that working directories are in. Default: what the file itself says, if it does; else the
            folder that the store is in; a server and memory have none.
        table: the table's name.
        files: the file system, for tests.
        options: as for `sessiondb.open`.

    Raises:
        UsageError: the location or an option is wrong.
        ConfigError: without a location: a setting is unknown or bad, or they do not say where the store is.
        TypeError: an unknown option.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] | Config | UnsetType = UNSET,
        *,
        base_dir: str | os.PathLike[str] | None = None,
        table: str = TABLE,
        files: Files = REAL_FILES,
        **options: Any,
    ):
        self._opener: LocationStorage[SessionRecord] | None = opener(location, table, files, options)
        self._location = self._opener.get_storage_location()
        self._prepare(table, base_dir)

    @classmethod
    def over(cls, database: Database, *, base_dir: str | os.PathLike[str] | None = None, table: str = TABLE) -> Self:
        """The sessions of a database that is open; closing this storage does not close it.

        Raises:
            UsageError: the table holds bytes.
            ClosedError: the database is closed.
        """
        storage = cls.__new__(cls)
        storage._opener = None
        storage._location = database.location
        storage._prepare(table, base_dir)
        storage._take(database.table(table, SessionRecord, id="session"))
        return storage

    def _prepare(self, table: str, base_dir: str | os.PathLike[str] | None) -> None:
        self._lenient = LenientCodec(table)
        self._given_base_dir = None if base_dir is None else absolute_folder(base_dir)
        self._opening = threading.Lock()
        self._table = None

    def _ready(self) -> Table[SessionRecord]:
        table = self._table
        return self._open() if table is None else table

    def _open(self) -> Table[SessionRecord]:
        with self._opening:
            if self._table is None:
                if self._opener is None:
                    raise self._closed()
                self._take(self._opener._ready())
            assert self._table is not None
            return self._table

    def _take(self, table: Table[SessionRecord]) -> None:
        declare_indexes(table)
        table._codec = SessionCodec(table.name)
        self._table = table

    def close(self) -> None:
        """Close the location, if this storage opened it; a second call does nothing.

        Raises:
            StoreFailedError: the last sync failed; everything is released all the same.
        """
        with self._opening:
            self._table = None
            if self._opener is not None:
                self._opener.close()

    def _reader(self) -> TableReader[Listed]:
        table = self._ready()
        return TableReader(table._views, table.name, self._lenient)

    # ---- the whole state

    def _state_of(self, entities: dict[str, SessionRecord]) -> SessionDbState:
        return SessionDbState(list(entities.values()), self.base_dir)

    def _entities_of(self, state: SessionDbState) -> Iterable[tuple[str, SessionRecord]]:
        if not isinstance(state, SessionDbState):  # None must not be taken for "nothing"
            raise UsageError(f"a state is a SessionDbState, not {state!r:.80}")
        if not isinstance(state.sessions, (list, tuple)):
            raise UsageError(f"the sessions of a state are a list, not {state.sessions!r:.80}")
        if state.base_dir not in ("", self.base_dir):
            raise UsageError(
                f"the state's base_dir is {state.base_dir!r}, and that of this storage is {self.base_dir!r}; it is not "
                'stored with the sessions; next: make the storage with base_dir=..., or give the state base_dir=""'
            )
        return [(self._lenient.key_of(record), record) for record in state.sessions]

    # ---- one session

    def get_session_by_task_id(self, task_id: str) -> SessionRecord | None:
        """The session of a task, or ``None`` when it has none.

        Args:
            task_id: ``101`` and ``#101`` are one task, whichever of them is stored; anything else is taken as it is:
                ``mt#283``, ``task#001``, ``001``.

        Returns:
            If there are several, the one that was made first (`SessionRecord.created_at`, then the id).

        Raises:
            UsageError: the task id is empty or no text.
        """
        question = Question({"task_id": one_of(task_ids(task_id))}, "created_at", limit=1)
        found = self._sessions(question, None)
        return found[0] if found else None

    # ---- several sessions

    def get_entities(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[SessionRecord]:
        """The sessions that satisfy all conditions: see `Table.find`, but `between` and orders see dates as moments."""
        return self._sessions(Question(where, order_by, limit, offset), None)

    def list_sessions(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        task_id: str | None = None,
        repo_name: str | None = None,
        branch: str | None = None,
        status_not_in: Iterable[str] = (),
        created_after: Date | None = None,
        created_before: Date | None = None,
        order_by: str | Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        misfits: list[SessionMisfit] | None = None,
    ) -> list[SessionRecord]:
        """The sessions for which everything that is asked holds, as they are at one moment.

        Args:
            where: more conditions, as for `get_entities`.
            task_id: of this task: ``101`` and ``#101`` are one.
            repo_name: exactly this repository.
            branch: exactly this branch.
            status_not_in: none of these; a session without a status is listed.
            created_after: at this moment or later; a date as text, or a `datetime.datetime` with a time zone.
            created_before: at this moment or earlier.
            order_by: fields to sort by, with ``-`` in front for descending; null, absent, and of dates what is none
                come last both ways. In the end, and without it, by id.
            limit: at most so many.
            offset: after leaving out so many.
            misfits: gets what takes a place on this page and is no session; without it that is a `ValidationError`.

        Raises:
            UsageError: a field that sessions do not have, a value that cannot be compared, a bad limit or offset, or
                two conditions on one field.
            ValidationError: a stored record is no session; table, key and path say which and where.
        """
        asked, accepts = filters(where, task_id, repo_name, branch, status_not_in, created_after, created_before)
        return self._sessions(Question(asked, order_by, limit, offset, accepts), misfits)

    def search(
        self,
        query: str,
        *,
        order_by: str | Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        misfits: list[SessionMisfit] | None = None,
    ) -> list[SessionRecord]:
        """The sessions that hold a text in their id, repository name or URL, task id, or pull request's branch.

        Args:
            query: any part of one of these, whatever the case of its letters.
            order_by: as for `list_sessions`.
            limit: at most so many.
            offset: after leaving out so many.
            misfits: as for `list_sessions`.

        Raises:
            UsageError: an empty query, and as `list_sessions`.
            ValidationError: as `list_sessions`.
        """
        return self._sessions(Question(None, order_by, limit, offset, searcher(query)), misfits)

    def list_misfits(self) -> list[SessionMisfit]:
        """Everything that is stored and no session, or that keeps a field from having its index, in key order."""
        table = self._ready()
        found = {item.key: item for _, item in self._reader().scan() if isinstance(item, SessionMisfit)}
        found = {misfit.key: misfit for misfit in unindexable(table)} | found
        return [found[key] for key in sorted(found)]

    def _sessions(self, question: Question, misfits: list[SessionMisfit] | None) -> list[SessionRecord]:
        sessions: list[SessionRecord] = []
        unfit: list[SessionMisfit] = []
        for item in page(self._reader(), question):
            if isinstance(item, SessionRecord):
                sessions.append(item)
            elif misfits is None:
                raise item.error
            else:
                unfit.append(item)
        if misfits is not None:
            misfits += unfit
        return sessions

    # ---- folders

    @property
    def base_dir(self) -> str:
        """The folder that working directories are in, absolute; empty when there is none."""
        if self._given_base_dir is not None:
            return self._given_base_dir
        store = self._ready()._store
        return own_base_dir(store) or base_dir_beside(store.location)

    def get_session_workdir(self, id: str) -> str | None:
        """The session's working directory, ``BASE_DIR/sessions/ID``; ``None`` when there is no session with this id.

        Nothing looks whether the folder is there.

        Raises:
            UsageError: the storage has no base directory.
            ValidationError: the id is none that a folder in ``BASE_DIR/sessions`` can have, as ``../x``.
        """
        if self.get_entity(id) is None:
            return None
        return working_directory(self.base_dir, self._lenient.table, id)
