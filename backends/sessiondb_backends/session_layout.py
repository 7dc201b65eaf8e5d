"""A session file as text, and the text after a change. Pure. The shapes are read by `session_layout_shapes`.

What is not changed keeps its bytes: the order of sessions and of their fields, unknown fields, white space, the way a
number or a string is written, and further sessions with the same key. Of those the first is the record; a deletion
removes all of them. A session that is deleted and made again stands at the end, as a new one does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from sessiondb.backend import Pace
from sessiondb.versions import VERSION_FIELD

from .session_layout_text import Frame, Item, Style, compact, edit_object, fields, join, render, style_of

__all__ = ["KEY_FIELD", "TABLE", "Session", "SessionText"]

TABLE = "sessions"
"""The one table that a session file holds."""
KEY_FIELD = "session"
DEPTHS = {"array": 0, "keyed": 0, "state": 1, "sessions": 1, "backup": 2}
"""Objects around the array (or object) of sessions."""
SLICE_RECORDS = 50
"""Sessions looked at between two calls of a pace; some of them are laid out anew."""

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_MARKER = b'"%s"' % VERSION_FIELD.encode()


class Session(NamedTuple):
    """One session as it stands in the file."""

    key: str
    item: Item


class SessionText:
    """A whole file; never mutated.

    Args:
        layout: its name.
        head: what stands before the sessions.
        frame: the brackets around them.
        tail: what stands behind them.
        sessions: in order.
        base_dir: the field ``baseDir``, where there is one.
        images: the record of each key, if known already.
    """

    __slots__ = ("_frame", "_head", "_sessions", "_tail", "base_dir", "images", "layout")

    def __init__(
        self, layout: str, head: bytes, frame: Frame, tail: bytes, sessions: Sequence[Session],
        base_dir: str | None = None, images: dict[str, bytes] | None = None,
    ):  # fmt: skip
        self.layout = layout
        self.base_dir = base_dir
        self._head = head
        self._frame = frame
        self._tail = tail
        self._sessions = sessions
        if images is None:
            images = {}
            for session in sessions:
                if session.key not in images:
                    images[session.key] = self._image(session)
        self.images = images

    @property
    def around(self) -> list[str]:
        """The names of the file's fields that are about no session."""
        if self.layout in ("array", "keyed", "empty"):
            return []
        whole = _decode(self._head + b"[]" + self._tail)
        inner = whole.get("data") if self.layout == "backup" else whole
        outer = [name for name in whole if name != "data"] if self.layout == "backup" else []
        return outer + [name for name in inner if name != TABLE]

    @property
    def repeated(self) -> list[str]:
        """The keys of sessions that stand behind another one with the same key, in the order of the file."""
        seen: set[str] = set()
        return [key for key, _ in self._sessions if key in seen or seen.add(key)]  # type: ignore[func-returns-value]

    @property
    def sessions(self) -> Sequence[Session]:
        """Everything that stands in the file, in order; also what stands behind another one with the same key."""
        return self._sessions

    @property
    def duplicates(self) -> int:
        """How many sessions stand behind another one with the same key."""
        return len(self._sessions) - len(self.images)

    def encode(self) -> bytes:
        """The file."""
        return self._head + join(self._frame, [session.item for session in self._sessions]) + self._tail

    def edited(
        self, images: Mapping[str, bytes | None], recreated: Collection[str], pace: Pace, *, dropped: bool = False
    ) -> SessionText:
        """The file after a change.

        Args:
            images: key to record; ``None`` deletes every session with the key.
            recreated: keys that were deleted before they got this record: it goes to the end, in this order.
            pace: called between small pieces of work.
            dropped: first of all everything is deleted.
        """
        moved = [key for key in recreated if images.get(key) is not None]
        gone = {*moved, *(key for key, image in images.items() if image is None)}
        kept, records = self._kept(() if dropped else self._sessions, images, gone, pace)
        added = [key for key in images if key not in records and key not in gone] + moved
        frame = self._frame
        if added:
            if self.layout == "empty":
                return _EMPTY_ARRAY.edited(images, recreated, pace)
            like = _Neighbour.of(self.layout, self._head, frame, kept or self._sessions)
            frame = like.frame
            for count, key in enumerate(added, 1):
                session = like.session(key, images[key] or b"", is_first=not kept)
                kept.append(session)
                records[key] = self._image(session)
                if count % SLICE_RECORDS == 0:
                    pace()
        return SessionText(self.layout, self._head, frame, self._tail, kept, self.base_dir, records)

    def _kept(
        self, sessions: Sequence[Session], images: Mapping[str, bytes | None], gone: Collection[str], pace: Pace
    ) -> tuple[list[Session], dict[str, bytes]]:
        """The sessions that stay where they are, and their records."""
        kept: list[Session] = []
        records: dict[str, bytes] = {}
        for count, session in enumerate(sessions, 1):
            key = session.key
            if key not in gone:
                if key not in records:  # of its copies the first
                    image = images.get(key)
                    if image is None or image == self.images[key]:
                        records[key] = self.images[key]
                    else:
                        session = self._changed(session, image)
                        records[key] = self._image(session)
                kept.append(session)
            if count % SLICE_RECORDS == 0:
                pace()
        return kept, records

    def _changed(self, session: Session, image: bytes) -> Session:
        item = session.item
        without = (KEY_FIELD,) if _lacks_key(self.layout, session) else ()
        body = edit_object(item.body, image, _indentation(item.lead), without)
        return Session(session.key, item._replace(body=body))

    def _image(self, session: Session) -> bytes:
        """The session as a record: compact, and with its key in it."""
        image = compact(session.item.body)
        if _lacks_key(self.layout, session):
            field = b'{"%s":%s' % (KEY_FIELD.encode(), _encode(session.key))
            image = field + (b"," if image != b"{}" else b"") + image[1:]
        return _marker_first(image) if _MARKER in image else image


_EMPTY_ARRAY = SessionText("array", b"", Frame(b"[", None, b"]"), b"", ())


class _Neighbour(NamedTuple):
    """How new sessions are laid out: as the last of the others, or as the file around them."""

    frame: Frame
    style: Style
    pad: bytes
    first_lead: bytes
    lead: bytes
    colon: bytes
    """Between key and session; empty where sessions have no name of their own."""
    without: tuple[str, ...]

    @classmethod
    def of(cls, layout: str, head: bytes, frame: Frame, others: Sequence[Session]) -> _Neighbour:
        if not others:
            return cls._alone(layout, head, frame)
        last = others[-1]
        item, first = last.item, frame.first_lead or b""
        pad = _indentation(item.lead)
        style = style_of([field for _, field in fields(item.body)[1]], pad)
        lead = item.lead if len(others) > 1 or b"\n" in first else style.space
        return cls(frame, style, pad, first, lead, item.colon, (KEY_FIELD,) if _lacks_key(layout, last) else ())

    @classmethod
    def _alone(cls, layout: str, head: bytes, frame: Frame) -> _Neighbour:
        bracket = frame.closing.lstrip()
        depth = DEPTHS[layout]
        if depth and b"\n" not in head:
            space = b" " * head.endswith(b" ")
            style = Style(b"", b"", b":" + space, space)
            return cls(Frame(frame.opening, b"", bracket), style, b"", b"", space, b"", ())
        line = _indentation(head)
        outer = line[: len(line) - len(line.lstrip())]
        newline = b"\r\n" if b"\r\n" in head else b"\n"
        style = Style(newline, outer[: len(outer) // depth] if depth and outer else b"  ")
        pad = outer + style.unit
        lead = newline + pad
        colon = style.colon if layout == "keyed" else b""
        return cls(Frame(frame.opening, lead, newline + outer + bracket), style, pad, lead, lead, colon, ())

    def session(self, key: str, image: bytes, *, is_first: bool) -> Session:
        if self.without:
            image = edit_object(image, image, b"", self.without)
        name = _encode(key) if self.colon else b""
        lead = self.first_lead if is_first else self.lead
        return Session(key, Item(lead, name, self.colon, render(image, self.style, self.pad)))


def _indentation(text: bytes) -> bytes:
    return text.rpartition(b"\n")[2]


def _marker_first(image: bytes) -> bytes:
    """A record's version is looked for in its first field only; the file may have it anywhere."""
    frame, named = fields(image)
    items = [item for _, item in sorted(named, key=lambda pair: pair[0] != VERSION_FIELD)]
    return join(frame, items)


def _lacks_key(layout: str, session: Session) -> bool:
    return layout == "keyed" and KEY_FIELD not in _decode(session.item.body)
