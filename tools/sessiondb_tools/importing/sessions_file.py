"""``--from sessions``: the predecessor's sessions, in every shape its files and backups had.

* JSON files, as the backend for them reads them (`sessiondb_backends.session_layout_shapes`). Of sessions with the same
  id the first counts; the others are unreadable entries. Backups of its last months name the id ``sessionId``.
* SQLite databases with a table ``sessions``: a column is a field, NULL is an absent field, and the columns that held
  JSON are read as JSON. Columns that were named in the SQL manner get the name that the field has in JSON.

What stands around the sessions (``baseDir``, a backup's time) is no record; it is said, and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sessiondb_backends.session_layout_shapes import LayoutError, parse_sessions

from ..json_text import JsonProblem, parse, text_of
from .plain import PART_BYTES
from .source import Choices, Entry, Found, Loaded, Source, Unreadable, own_problem, size_of
from .sqlite_source import MAGIC, Columns, SqliteFile, cell, quoted
from .text_file import KeyProblem, TextFile, field_key
from .values import ValueProblem

__all__ = ["is_session_table", "open_source"]

TABLE = "sessions"
ID_FIELDS = ("session", "sessionId")
JSON_COLUMNS = {"prState", "prApproved", "pullRequest", "github", "remote"}


def open_source(path: str, choices: Choices) -> Source:
    """The sessions of a file."""
    file = TextFile(path)
    try:
        if file.file.read(len(MAGIC)) == MAGIC:
            if path == "-":
                raise own_problem(file.name, "a SQLite database", "name its file: SQLite needs to see it")
            return SessionTable(path)
        file.file.seek(0)
        data = file.file.read()
    finally:
        file.close()
    try:
        return _of_layout(file.name, data)
    except LayoutError as problem:
        renamed = _renamed(data)
        if renamed is None:
            step = "choose another kind with --from"
            raise own_problem(file.name, f"no file of sessions: {problem}", step) from None
        return Loaded(file.name, *renamed)


def _of_layout(name: str, data: bytes) -> Loaded:
    text = parse_sessions(data)
    entries: list[Found] = []
    for number, session in enumerate(text.sessions, 1):
        try:
            entries.append(Entry(f"session {number}", session.key, parse(session.item.body), len(session.item.body)))
        except JsonProblem as problem:
            entries.append(Unreadable(f"session {number}", session.key, str(problem)))
    around = {"state": "baseDir", "backup": "the backup's time and baseDir"}.get(text.layout)
    if text.layout == "empty":
        return Loaded(name, entries, ["the file is empty, which the predecessor took for no sessions"])
    return Loaded(name, entries, [f"kept in the file only: {around}"] if around else [])


def _renamed(data: bytes) -> tuple[list[Found], list[str]] | None:
    """The sessions of a state whose ids are named ``sessionId``; ``None`` if it is none."""
    try:
        document = parse(text_of(data))
    except JsonProblem:
        return None
    state = document.get("data", document) if isinstance(document, dict) else document
    sessions = state.get(TABLE) if isinstance(state, dict) else state
    if not isinstance(sessions, list) or not any(isinstance(each, dict) and ID_FIELDS[1] in each for each in sessions):
        return None
    found = [_by_any_id(number, session) for number, session in enumerate(sessions, 1)]
    return found, [] if state is sessions else ["kept in the file only: what stands around the sessions"]


def _by_any_id(number: int, session: Any) -> Found:
    place = f"session {number}"
    field = next((name for name in ID_FIELDS if isinstance(session, dict) and name in session), ID_FIELDS[0])
    try:
        return Entry(place, field_key(session, field), session, size_of(session))
    except KeyProblem as problem:
        return Unreadable(place, None, str(problem))


def is_session_table(tables: Mapping[str, Columns]) -> bool:
    """Whether the database has a table of sessions."""
    return TABLE in tables and tables[TABLE].primary == [ID_FIELDS[0]]


class SessionTable:
    """The table ``sessions`` of a SQLite database.

    Raises:
        CommandError: there is none.
    """

    in_order = False

    def __init__(self, path: str):
        self.name = path
        self._file = SqliteFile(path)
        self._columns = self._file.tables[TABLE].names if is_session_table(self._file.tables) else []
        if not self._columns:
            self._file.close()
            raise own_problem(path, "the database has no table of sessions", "choose another kind with --from")

    def __iter__(self) -> Iterator[Found]:
        cells = ", ".join(self._file.content(column) for column in self._columns)
        for number, row in enumerate(self._file.rows(f"SELECT {cells} FROM {quoted(TABLE)}"), 1):
            fields: dict[str, Any] = {}
            try:
                for at, column in enumerate(self._columns):
                    name = _json_name(column)
                    value = _field(name, cell(*row[3 * at : 3 * at + 3]))
                    if value is not None:
                        fields[name] = value
                key = field_key(fields, ID_FIELDS[0])
            except (ValueProblem, KeyProblem) as problem:
                yield Unreadable(f"row {number}", fields.get(ID_FIELDS[0]), str(problem))
                continue
            yield Entry(f"row {number}", key, fields, sum(size or 0 for size in row[1::3]) + PART_BYTES * len(fields))

    def remarks(self) -> list[str]:
        """Nothing is left out."""
        return []

    def close(self) -> None:
        """Close the database."""
        self._file.close()


def _json_name(column: str) -> str:
    first, *others = column.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def _field(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        raise ValueProblem(f"the column {name} holds bytes")
    if name not in JSON_COLUMNS or not isinstance(value, str):
        return value
    try:
        return parse(value)
    except JsonProblem as problem:
        raise ValueProblem(f"the column {name} holds no JSON: {problem}") from None
