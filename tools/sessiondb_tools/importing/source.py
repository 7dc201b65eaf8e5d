"""What an importer gives: the entries of something that another program left behind, one by one, as often as needed.

The kinds are modules of this package; each has ``open_source(path, choices) -> Source``. A source is read twice: once
to check it completely, once to write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import msgspec

from ..exit_codes import NOT_DONE, USAGE, CommandError
from .plain import Plainer

__all__ = [
    "Choices", "Entry", "Expired", "Found", "Loaded", "Source", "Unreadable", "cannot_look", "input_error",
    "own_problem", "printable", "size_of",
]  # fmt: skip


class Entry(NamedTuple):
    """One record."""

    place: str
    """For messages: ``line 7``, ``record 7 (line 12)``, ``row 7``."""
    key: str
    record: Any
    size: int
    """About how many bytes it takes."""
    expires: str = ""
    """When, if ever: ``at 2027-01-31T12:00:00Z``, ``79 s after the dump was made``."""


class Unreadable(NamedTuple):
    """An entry that is there, and cannot be made a record."""

    place: str
    key: str | None
    """As far as it could be read, for messages."""
    problem: str


class Expired(NamedTuple):
    """An entry whose time had run out before the import began."""

    place: str


Found = Entry | Unreadable | Expired


class Choices(NamedTuple):
    """What the command line says about a source."""

    plainer: Plainer
    now: float
    """When the command began, seconds since 1970: what has expired by then has expired."""
    id_field: str | None = None
    values: str | None = None
    """The encoding of the values, as ``zlib+json``."""
    source_table: str | None = None
    delimiter: str = ","
    skip_unreadable: bool = False


class Source(Protocol):
    """Something that can be imported; iterate it as often as needed, and close it.

    Iterating raises `CommandError` for what makes reading on pointless, naming the place.
    """

    name: str
    """For messages: the path, or ``standard input``."""
    in_order: bool
    """Whether problems are corrected from the top, so that the first one is enough: true of texts."""

    def __iter__(self) -> Iterator[Found]: ...

    def remarks(self) -> list[str]:
        """What is there and is not imported, a sentence each; known after the first reading."""

    def close(self) -> None:
        """Let go of files."""


class Loaded:
    """A source that is in memory."""

    def __init__(self, name: str, entries: list[Found], remarks: list[str], *, in_order: bool = False):
        self.name = name
        self.in_order = in_order
        self._entries = entries
        self._remarks = remarks

    def __iter__(self) -> Iterator[Found]:
        return iter(self._entries)

    def remarks(self) -> list[str]:
        """What stands beside the records."""
        return self._remarks

    def close(self) -> None:
        """Nothing is open."""


def size_of(record: Any) -> int:
    """About how many bytes a record takes; 0 for what cannot be stored, which the check says."""
    try:
        return len(msgspec.json.encode(record))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return 0


def printable(text: str) -> str:
    """A message without what would change a terminal: names and keys in it are those of a foreign file."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def input_error(name: str, place: str, problem: str) -> CommandError:
    """What to say of a bad input that somebody can correct."""
    where = f"{name}, {place}" if place else name
    return CommandError(f"{where}: {printable(problem)}; nothing was written; next: correct the input", USAGE)


def own_problem(name: str, problem: str, step: str) -> CommandError:
    """What to say of an input that is not what was said, or lacks a word about it."""
    return CommandError(f"{name}: {printable(problem)}; nothing was written; next: {step}", USAGE)


def cannot_look(name: str, problem: str, step: str) -> CommandError:
    """What to say where the system, or another program, is in the way."""
    return CommandError(f"{name}: {printable(problem)}; nothing was written; next: {step}", NOT_DONE)
