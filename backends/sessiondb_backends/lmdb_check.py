"""Looking at everything that a store in LMDB holds, for `LmdbBackend.check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice

from sessiondb.errors import CorruptionError, WrongBackendError
from sessiondb.files import Files

from .lmdb_apply import field_reader
from .lmdb_env import Environment
from .lmdb_find import ALL_ENTRIES, forward
from .lmdb_format import DIRECTORY, index_database, index_key, table_database
from .lmdb_place import DATA, look
from .lmdb_view import LmdbView

__all__ = ["check"]

Part = Callable[[LmdbView, str], Iterator[str]]
"""Looks at a part of a table and says what is wrong."""
SENTENCES_MAX = 20
"""For each table; the others are counted."""
SLICE_ENTRIES = 256


def check(files: Files, path: str, environment: Environment, read: Callable[[], LmdbView]) -> list[str]:
    """What is wrong, a sentence each.

    Others may write meanwhile: a view is held, so the pages that are looked at stay as they are.
    """
    problems: list[str] = []
    with _noting(problems):
        look(files, path)
        with closing(read()) as view:
            problems += _pages(path, environment)
            with _noting(problems):
                problems += _databases(view)
            for table, opened in view.open_tables.items():
                # A transaction that meets damage is of no use any more: each part gets a new one.
                parts: list[Part] = [_records, *(partial(_index, field) for field in opened.indexes)]
                for part in parts:
                    with _noting(problems), closing(read()) as fresh:
                        if table in fresh.open_tables:
                            problems += _shortened(part(fresh, table))
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

    A complaint counts only if it is repeated while nobody writes.
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


def _records(view: LmdbView, table: str) -> Iterator[str]:
    """Whether every record matches its checksum, and there are as many as there should be."""
    records = 0
    for name, image in view.records(table):
        records += 1
        if image is None:
            yield f"table {table!r}: the record {_show(name)} does not match its checksum"
    if records != view.count(table):
        yield f"table {table!r} has {records} records, but its count says {view.count(table)}"


def _index(field: str, view: LmdbView, table: str) -> Iterator[str]:
    """Whether an index has exactly the entries that the records call for."""
    index = view.open_tables[table].indexes.get(field)
    if index is None:
        return  # dropped meanwhile
    read = field_reader([field])
    for name, image in view.records(table):
        if image is not None and not view.has_entry(index, (index_key(read(image)[0]), name)):
            yield f"table {table!r}: the index on {field!r} lacks the record {_show(name)}"
    if view.entries(index) != view.count(table):
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
