"""Looking at everything that a store in LMDB holds, for `LmdbBackend.check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice

from sessiondb.errors import CorruptionError, WrongBackendError
from sessiondb.files import Files

from .lmdb_apply import field_reader
from .lmdb_env import Environment
from .lmdb_find import ALL_ENTRIES, forward
from .lmdb_format import DIRECTORY, index_database, index_key, table_database
from .lmdb_place import DATA, look
from .lmdb_view import LmdbView
from .system_errors import attempt

__all__ = ["check"]

SENTENCES_MAX = 20
"""For each table; the others are counted."""
SLICE_ENTRIES = 256


def check(files: Files, path: str, environment: Environment, read: Callable[[], LmdbView]) -> list[str]:
    """What is wrong, a sentence each.

    First LMDB's pages, without LMDB: only a structure that is right is given to it.
    """
    problems: list[str] = []
    with _noting(problems):
        attempt(f"read {path}", lambda: look(files, path))
        problems += _pages(path, environment)
        if problems:
            return [*problems, f"the records in {path} were not looked at: LMDB may end the process on such pages"]
        with closing(read()) as view:
            problems += _databases(view)
            for table in view.open_tables:
                with _noting(problems):
                    problems += _shortened(_table(view, table))
    return problems


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Damage is an answer here; what cannot be looked at is an error."""
    try:
        yield
    except (CorruptionError, WrongBackendError) as error:
        problems.append(str(error))


def _pages(path: str, environment: Environment) -> list[str]:
    """What the driver's own walk over all pages says: trees, their order and counts, and that no page is lost.

    Others may write meanwhile, so a complaint counts only if it is repeated while nobody does.
    """
    from lmdb.verify import VerifyError, verify

    def walk() -> list[str]:
        try:
            return [f"{path}/{DATA}: {problem}" for problem in verify(path)]  # type: ignore[no-untyped-call]
        except (VerifyError, OSError) as error:
            return [f"{path}/{DATA} cannot be walked: {error}"]

    if not walk():
        return []
    with environment.writing:
        return _shortened(iter(walk()))


def _shortened(problems: Iterator[str]) -> list[str]:
    first = list(islice(problems, SENTENCES_MAX))
    more = sum(1 for _ in problems)
    return [*first, f"and {more} more like these"] if more else first


def _databases(view: LmdbView) -> Iterator[str]:
    """Whether there is every database that the directory names, and nothing in any other."""
    used: dict[bytes, str] = {DIRECTORY: "the directory"}
    for table, opened in view.open_tables.items():
        names = {table_database(opened.record.id): f"table {table!r}"}
        for field, number in opened.record.indexes.items():
            names[index_database(number)] = f"the index on {field!r} of table {table!r}"
        for name, owner in names.items():
            if name in used:
                yield f"{used[name]} and {owner} share the database {name.decode()}"
            used[name] = owner
    for name, entries in view.databases().items():
        if name not in used and entries:
            yield f"the database {name.decode(errors='replace')} holds {entries} entries and belongs to no table"


def _table(view: LmdbView, table: str) -> Iterator[str]:
    """Every record's checksum, their number, and whether each index has exactly the entries that they call for."""
    opened = view.open_tables[table]
    fields = list(opened.indexes)
    read = field_reader(fields)
    records = 0
    for name, image in view.records(table):
        records += 1
        if image is None:
            yield f"table {table!r}: the record {_show(name)} does not match its checksum"
            continue
        for field, value in zip(fields, read(image), strict=True):
            if not view.has_entry(opened.indexes[field], (index_key(value), name)):
                yield f"table {table!r}: the index on {field!r} lacks the record {_show(name)}"
    if records != view.count(table):
        yield f"table {table!r} has {records} records, but its count says {view.count(table)}"
    for field in fields:
        if view.entries(opened.indexes[field]) != records:
            yield from _surplus(view, table, field)


def _surplus(view: LmdbView, table: str, field: str) -> Iterator[str]:
    """The entries of an index that no record calls for."""
    read = field_reader([field])
    entries = forward(view, view.open_tables[table].indexes[field], ALL_ENTRIES)
    while piece := list(islice(entries, SLICE_ENTRIES)):
        images = view.fetch(table, sorted({name for _, name in piece}))
        for key, name in piece:
            if name not in images or index_key(read(images[name])[0]) != key:
                yield f"table {table!r}: the index on {field!r} has a wrong entry for the record {_show(name)}"


def _show(name: bytes) -> str:
    return repr(name.decode(errors="replace"))
