"""Locations: what a path or URL names, and what kind of file is there.

URLs follow SQLAlchemy: three slashes make a relative path, four an absolute one (``json:///x.json``,
``json:////srv/x.json``); ``memory:`` has no path. A bare path is told by its suffix; none means JSON.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from .errors import UsageError
from .files import Files

__all__ = ["Location", "content_kind", "parse_location"]

SUFFIXES = {"": "json", ".json": "json", ".db": "sqlite", ".sqlite": "sqlite", ".lmdb": "lmdb"}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)


class Location(NamedTuple):
    """Where a store is."""

    scheme: str
    path: str
    """Absolute, symlinks resolved; for a server the URL's rest, for ``memory:`` empty."""

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"

    def __str__(self) -> str:
        """For people: without user, password and parameters."""
        path = self.path
        if not path:
            return f"{self.scheme}:"
        if self.scheme in SUFFIXES.values() or (path.startswith("/") and not path.startswith("//")):
            return path
        address, _, parameters = path.partition("?")
        if "@" in parameters:  # no telling what is a password there
            return f"{self.scheme}:"
        slashes = "//" if address.startswith("//") else ""
        return f"{self.scheme}:{slashes}{address.removeprefix('//').rpartition('@')[2]}"


def parse_location(location: str | os.PathLike[str]) -> Location:
    """Say what a location names; nothing is opened or created.

    Args:
        location: a path or URL as text (``~`` and variables are expanded), or a path object, which is taken as it is.

    Raises:
        UsageError: empty, not text, a suffix that no backend has, or a URL of a wrong form.
    """
    text = os.fspath(location)
    if not isinstance(text, str) or not text or "\0" in text:
        raise UsageError(f"a location is a path or a URL, not {location!r}")
    match = None if isinstance(location, os.PathLike) else _URL.fullmatch(text)
    if match is None:
        scheme = _scheme_of_suffix(text)
        return Location(scheme, os.path.realpath(text) if isinstance(location, os.PathLike) else _resolve(text))
    scheme, rest = match[1].lower(), match[2]
    if scheme == "memory":
        if rest.strip("/"):
            raise UsageError(f"{text!r}: memory: takes no path; every open makes a database of its own")
        return Location(scheme, "")
    if scheme not in SUFFIXES.values():
        return Location("postgresql" if scheme == "postgres" else scheme, rest)
    if not rest.startswith("///") or rest == "///":
        raise UsageError(
            f"{text!r}: write {scheme}:///relative/path with three slashes or {scheme}:////absolute/path with four"
        )
    return Location(scheme, _resolve(rest[3:]))


def content_kind(files: Files, path: str) -> str:
    """Name what is at the path by its first bytes: for messages and for telling foreign files apart.

    Returns:
        ``"nothing"``, ``"a folder"``, ``"an LMDB folder"``, ``"an empty file"``, ``"a SQLite database"``,
        ``"a sessiondb JSON file"``, ``"a JSON file of another program"`` or ``"an unknown file"``.
    """
    info = files.stat(path)
    if info is None:
        return "nothing"
    if info.is_folder:
        return "an LMDB folder" if "data.mdb" in files.names(path) else "a folder"
    if info.size == 0:
        return "an empty file"
    file = files.open(path, read_only=True)
    try:
        head = file.pread(64, 0)
    finally:
        file.close()
    if head.startswith(b"SQLite format 3\0"):
        return "a SQLite database"
    if head.startswith(b'{"sessiondb"'):
        return "a sessiondb JSON file"
    if head.lstrip()[:1] in (b"{", b"["):
        return "a JSON file of another program"
    return "an unknown file"


def _scheme_of_suffix(path: str) -> str:
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        known = ", ".join(name for name in SUFFIXES if name)
        raise UsageError(
            f"{path!r}: the suffix {suffix!r} names no backend (known: {known}, none means JSON); "
            "use a URL such as json:///PATH to choose one"
        )
    return SUFFIXES[suffix]


def _resolve(path: str) -> str:
    return os.path.realpath(os.path.expanduser(os.path.expandvars(path)))
