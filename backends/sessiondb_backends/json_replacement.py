"""A JSON file that is made beside another one, natively or as a session file, and takes its place.

The position of a native file is inside it. A session file has none: it is at 1:0 when it is opened for the first time,
that is, when there is no ``MARK`` of the file before it. So that goes when the file has been renamed; if a crash comes
in between, the new file is taken for what another program wrote, and adopted, which comes to the same records.
"""

from __future__ import annotations

from sessiondb.backend import Backend, Changes, Pace, TableKind
from sessiondb.errors import UsageError
from sessiondb.files import Files
from sessiondb.replacement import Replacement

from .file_replacement import BESIDE, COPYING, FileReplacement, copy_beside, remove_files
from .json_replacing import read_whole
from .json_session_place import SessionPlace, digest_of
from .session_layout import TABLE
from .session_layout_shapes import NEW_LAYOUTS, LayoutError, parse_sessions
from .system_errors import attempt

__all__ = ["begin", "copy", "misfit", "must_be_new_layout", "remove_leftovers"]


def must_be_new_layout(layout: str | None) -> None:
    """Raise unless a new file can be made in this layout.

    Raises:
        UsageError: it cannot.
    """
    if layout is not None and layout not in NEW_LAYOUTS:
        raise UsageError(
            f"layout is {layout!r}; a new file can be made in the layouts native, {', '.join(NEW_LAYOUTS)}"
        )


def misfit(table: str, kind: TableKind, key: str, image: bytes) -> str:
    """Why a session file cannot hold the record; empty when it can."""
    if table != TABLE:
        return f"a session file holds the table {TABLE!r} only"
    if kind != "json":
        return "a session file holds no bytes"
    try:
        images = parse_sessions(b"[" + image + b"]").images
    except LayoutError as error:
        return error.problem.removeprefix("session 0 ")
    if key not in images:
        return "its field `session` is another than its key"
    return "" if images[key] == image else "it would be written in another way"


def begin(files: Files, backend: type[Backend], path: str, layout: str | None) -> Replacement:
    """Begin a replacement."""
    must_be_new_layout(layout)
    return _Native(files, backend, path) if layout is None else _Sessions(files, backend, path, layout)


class _Native(FileReplacement):
    """A file in the native layout."""

    def __init__(self, files: Files, backend: type[Backend], path: str):
        made = f"{path}{BESIDE}"
        super().__init__(files, backend, path, made, made, path)

    def _clean_up(self) -> None:
        """Forget what is known of a session file that was there."""
        super()._clean_up()
        attempt(f"remove what belonged to the file before at {self._store}", self._forget_sessions)

    def _forget_sessions(self) -> None:
        place = SessionPlace(self._files, self._store)
        mark = place.read_mark()
        if mark is None:
            return
        prev = place.prev_path
        if self._files.stat(prev) is not None:
            digest = digest_of(read_whole(self._files, prev))
            if digest in (mark.prev, mark.now.digest):  # else somebody wrote it, and it is told when it is met
                remove_files(self._files, [prev])
        remove_files(self._files, [place.mark_path])


class _Sessions(_Native):
    """A session file; it is written in one go."""

    def __init__(self, files: Files, backend: type[Backend], path: str, layout: str):
        self._text = parse_sessions(NEW_LAYOUTS[layout])
        super().__init__(files, backend, path)

    def _begin(self) -> None:
        """Nothing is written yet."""

    def add(self, changes: Changes, pace: Pace) -> None:
        """Put the records at the end of the text."""
        change = changes.pop(TABLE, None)
        assert not changes  # whoever has asked for misfits knows
        if change is not None:
            self._text = self._text.edited(change.images, (), pace)

    def _finish(self) -> None:
        place = SessionPlace(self._files, self._path)
        attempt(f"write {self._path}", lambda: place.create(self._text.encode()))


def copy(files: Files, path: str, mark: str) -> tuple[str, str]:
    """Copy the file."""
    return copy_beside(files, path, mark)


def remove_leftovers(files: Files, path: str) -> list[str]:
    """Remove the files of an unfinished replacement or copy; says which were there."""
    made = f"{path}{BESIDE}"
    return remove_files(files, [f"{made}.tmp", made, f"{path}{COPYING}"])
