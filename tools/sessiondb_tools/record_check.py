"""Reading every record: whether it is what its table holds, under a key that is one, and as many as are counted.

A backend checks its own bytes (checksums, structure, indexes); this looks at what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from sessiondb.backend import BackendView, TableKind
from sessiondb.codec import check_key
from sessiondb.errors import BackendError, CorruptionError, ValidationError
from sessiondb.memtable import Memtable

from .output import count, shown

__all__ = ["TableCheck", "TableLook", "check_changes", "check_table"]

NAMED_MAX = 10
"""Bad records of one table that are named; the others are counted."""


class TableLook(NamedTuple):
    """A table as the backend has it."""

    kind: TableKind
    records: int
    indexes: list[str]
    read: int | None = None
    """How many records were read one by one; ``None``: that was not asked for."""


class TableCheck(NamedTuple):
    """What came of reading all records of a table."""

    read: int
    problems: list[str]
    """What is wrong with those that were read, a sentence each."""
    stopped_by: CorruptionError | BackendError | None
    """Why reading did not go on, if it did not."""


def check_table(view: BackendView, name: str, table: TableLook) -> TableCheck:
    """Read all records of a table of the backend, as far as they can be read."""
    bad = _Findings(f"table {name!r}")
    read, before = 0, ""
    try:
        for key, image in view.scan(name):
            read += 1
            problem = _problem(name, table.kind, key, image)
            if not problem and read > 1 and key <= before:
                problem = f"its key comes behind {shown(before)}, out of order"
            bad.note(key, problem)
            before = key
    except (CorruptionError, BackendError) as error:
        return TableCheck(read, list(bad.texts(read)), error)
    problems = list(bad.texts(read))
    if read != table.records:
        problems.append(
            f"table {name!r} counts {count(table.records, 'record')}, {read:,} were found; "
            "next: copy the store aside and restore a backup"
        )
    return TableCheck(read, problems, None)


def check_changes(memtable: Memtable, kinds: Mapping[str, TableKind]) -> Iterator[str]:
    """Read all records that are in the log only; what is wrong, a sentence each.

    Args:
        memtable: what a replay of the log comes to.
        kinds: of the tables as the backend has them.
    """
    for name, layer in memtable.tables.items():
        below = None if layer.dropped_lsn else kinds.get(name)
        if layer.kind is not None and below not in (None, layer.kind):
            yield (
                f"table {name!r} holds {below} records, but the log has {layer.kind} records for it; next: copy the "
                "store aside; was the log put beside another store?"
            )
        bad = _Findings(f"the log's records of table {name!r}")
        for key, entry in layer.entries.items():
            if entry.image is not None:
                bad.note(key, _problem(name, layer.kind or below, key, entry.image))
        yield from bad.texts(len(layer.entries))


def _problem(table: str, kind: TableKind | None, key: str, image: bytes) -> str:
    try:
        check_key(table, key)
        if kind == "json":
            msgspec.json.decode(image)
    except ValidationError as error:
        return error.problem
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"it is no JSON ({count(len(image), 'byte')}): {error}"
    return ""


class _Findings:
    """Bad records: some by name, the others by number."""

    def __init__(self, where: str):
        self._where = where
        self._named: list[str] = []
        self._bad = 0

    def note(self, key: str, problem: str) -> None:
        """Nothing if there is no problem."""
        if problem:
            self._bad += 1
            if len(self._named) < NAMED_MAX:
                self._named.append(f"{self._where}: key {shown(key)}: {problem}")

    def texts(self, number: int) -> Iterable[str]:
        """What was found among so many records."""
        if not self._bad:
            return
        yield from self._named
        unnamed = f", the first {NAMED_MAX} are named above" if self._bad > NAMED_MAX else ""
        yield (
            f"{self._where}: {self._bad:,} of {count(number, 'record')} cannot be read{unnamed}; next: put them anew, "
            "or restore a backup"
        )
