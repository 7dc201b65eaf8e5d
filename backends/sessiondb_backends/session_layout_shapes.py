"""The shapes in which another program kept its sessions. Pure. Specified in docs/format/session-layouts.md.

A session is a JSON object; its key is its field ``session``:

=========  =======================================================  ====================================================
layout     the file                                                 a shape only if
=========  =======================================================  ====================================================
array      ``[ {...}, ... ]``
state      ``{"sessions": [ {...} ], "baseDir": "..."}``            with any other fields
sessions   ``{"sessions": [ {...} ]}``                              with any other fields
backup     ``{"timestamp": .., "version": "1.0", "data": {...}}``   ``data`` is a state, or sessions
keyed      ``{"<key>": {...}, ...}``                                it holds a session, and each of them looks like one
empty      nothing, or white space
=========  =======================================================  ====================================================

Everything else is refused, also JSON of another shape: who takes that for "no sessions" and writes, loses it. A name
that stands twice where it decides something (a key, a field of a session or of the file) is refused too.
"""

from __future__ import annotations

from typing import Any

from sessiondb.errors import ValidationError
from sessiondb.keys import check_key

from .session_layout import KEY_FIELD, TABLE, Session, SessionText
from .session_layout_text import Frame, Item, Repeated, Span, TextError, compact, read_items, scan, skip_white

__all__ = ["LAYOUTS", "NEW_LAYOUTS", "LayoutError", "may_be_sessions", "parse_sessions"]

LAYOUTS = ("array", "state", "sessions", "backup", "keyed", "empty")
NEW_LAYOUTS = {"array": b"[]", "sessions": b'{\n  "sessions": []\n}'}
"""Those in which a new file can be made: nothing has to be invented for it."""
EVIDENCE = frozenset(("repoName", "repoUrl", "createdAt", "taskId", "branch"))
"""A session of a keyed file that does not repeat its key has at least one of these."""
BACKUP_VERSION = "1.0"


class LayoutError(ValueError):
    """The bytes are none of the shapes: what is wrong, and at which byte."""

    def __init__(self, problem: str, offset: int):
        super().__init__(f"{problem} (offset {offset})")
        self.problem = problem
        self.offset = offset


def may_be_sessions(start: bytes) -> bool:
    """Whether a file that begins like this is worth reading."""
    return start.lstrip(b" \t\n\r")[:1] in (b"", b"[", b"{")


def parse_sessions(data: bytes, *, known: str = "") -> SessionText:
    """Read a file.

    Args:
        data: all of it.
        known: the layout the file is known to have: an empty object may be ``keyed``.

    Raises:
        LayoutError: it has none of the shapes.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise LayoutError("it is not UTF-8", error.start) from error
    try:
        return _parse(text, known)
    except TextError as error:
        offset = len(text[: error.index].encode())
        raise LayoutError(error.problem, offset) from error


def _parse(text: str, known: str) -> SessionText:
    start = skip_white(text, 0)
    first = text[start : start + 1]
    if not first:
        return SessionText("empty", text.encode(), Frame(b"", None, b""), b"", ())
    if first not in "[{":
        what = "a byte order mark" if first == "\ufeff" else "no array and no object"
        raise TextError(f"{what} stands at the beginning", start)
    spans, end = scan(text, start)
    if skip_white(text, end) != len(text):
        raise TextError("no JSON: more follows behind the end", skip_white(text, end))
    if first == "[":
        return _text("array", text, start, spans, end)
    members = _members(spans, "the file")
    if TABLE in members and isinstance(members[TABLE].value, list):
        if "data" in members and _holds_sessions(members["data"].value):
            raise TextError("sessions stand in `sessions` and in `data`", members["data"].start)
        return _state("", members, text)
    if {"timestamp", "version", "data"} <= members.keys():
        return _backup(members, text)
    return _keyed(text, start, spans, end, known)


def _holds_sessions(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get(TABLE), list)


def _members(spans: list[Span], what: str) -> dict[str, Span]:
    members: dict[str, Span] = {}
    for span in spans:
        if span.name in members:
            raise TextError(f"the name {span.name!r:.60} stands twice in {what}", span.label)
        members[span.name] = span
    return members


def _state(layout: str, members: dict[str, Span], text: str) -> SessionText:
    """An object with ``sessions``; `layout` is that of the object around it, if there is one."""
    where = members[TABLE]
    base_dir = None
    if "baseDir" in members:
        base_dir = members["baseDir"].value
        if base_dir is not None and not isinstance(base_dir, str):
            raise TextError("`baseDir` is no text", members["baseDir"].start)
    spans, end = scan(text, where.start)
    return _text(layout or ("state" if "baseDir" in members else "sessions"), text, where.start, spans, end, base_dir)


def _backup(members: dict[str, Span], text: str) -> SessionText:
    version, data = members["version"], members["data"]
    if version.value != BACKUP_VERSION:
        raise TextError(f"a backup of version {version.value!r:.40}, not {BACKUP_VERSION!r}", version.start)
    if _holds_sessions(data.value):
        return _state("backup", _members(scan(text, data.start)[0], "the backup's data"), text)
    raise TextError("the backup's `data` has no array `sessions`", data.start)


def _keyed(text: str, start: int, spans: list[Span], end: int, known: str) -> SessionText:
    if not spans and known != "keyed":
        raise TextError("an empty object: whether it is to hold sessions cannot be told", start)
    _members(spans, "the file")
    for span in spans:
        record = span.value
        if not isinstance(record, dict):
            raise TextError(f"the value of {span.name!r:.60} is no session: it is no object", span.start)
        named = record.get(KEY_FIELD)
        if named is None and KEY_FIELD not in record and record.keys() & EVIDENCE:
            continue
        if named != span.name:
            raise TextError(f"the value of {span.name!r:.60} is no session: nothing in it says so", span.start)
    return _text("keyed", text, start, spans, end)


def _text(layout: str, text: str, start: int, spans: list[Span], end: int, base_dir: str | None = None) -> SessionText:
    frame, items = read_items(text, start, spans, end)
    sessions = [
        _session(layout, number, span, item) for number, (span, item) in enumerate(zip(spans, items, strict=True))
    ]
    return SessionText(layout, text[:start].encode(), frame, text[end:].encode(), sessions, base_dir)


def _session(layout: str, number: int, span: Span, item: Item) -> Session:
    record = span.value
    what = f"session {number} " if layout != "keyed" else f"the session {span.name!r:.60} "
    if not isinstance(record, dict):
        raise TextError(what + "is no object", span.start)
    if isinstance(record, Repeated):
        raise TextError(what + "has a field twice", span.start)
    key = record.get(KEY_FIELD) if layout != "keyed" else span.name
    try:
        compact(item.body)
        check_key(TABLE, key)
    except ValidationError as error:
        raise TextError(what + _key_problem(record, key, error), span.start) from error
    except (ValueError, RecursionError) as error:
        raise TextError(f"{what}cannot be read as a record: {error}", span.start) from error
    assert isinstance(key, str)
    return Session(key, item)


def _key_problem(record: dict[str, Any], key: object, error: ValidationError) -> str:
    if key is not None:
        return f"has a `{KEY_FIELD}` that is no key: {error.problem}"
    if "sessionId" in record:
        return f"has its key in `sessionId`, not in `{KEY_FIELD}`"
    return f"has no `{KEY_FIELD}`"
