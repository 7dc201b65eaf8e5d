"""``--from dbm`` and ``--from shelve``: what Python's dbm modules wrote; a shelf is a dbm whose values are pickles.

`dbm.dumb` and `dbm.sqlite3` are read here, on every Python. `dbm.gnu` and `dbm.ndbm` need the module, and so a Python
that was built with it; they open the file for reading only. They are C libraries that trust their files: take them for
files that you trust.

Keys of a dbm are bytes; those of a shelf are UTF-8 text. Here both must be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, Protocol

from .dumb_file import DumbFile
from .source import Choices, Found, cannot_look, own_problem
from .sqlite_source import MAGIC, Columns, SqliteFile, cell
from .values import ENCODINGS, ValueProblem, decode, made

__all__ = ["family", "is_dbm", "open_dbm", "open_shelve"]

SUFFIXES = (".dat", ".dir", ".bak", ".pag", ".db")
"""Of files that a dbm makes of the name that it is given."""
_GNU = {0x13579ACE, 0x13579ACD, 0x13579ACF}
_BERKELEY = 0x00061561

Items = Iterator[tuple[Any, Callable[[], Any]]]


class _Dbm(Protocol):
    def items(self) -> Items: ...

    def close(self) -> None: ...


def open_shelve(path: str, choices: Choices) -> DbmSource:
    """A shelf."""
    return DbmSource(path, _open(path), choices, choices.values or "pickle")


def open_dbm(path: str, choices: Choices) -> DbmSource:
    """A dbm whose values are what the user says."""
    if choices.values is None:
        raise own_problem(
            path, "the values of a dbm are bytes", f"say what they hold with --values ({', '.join(ENCODINGS)}), "
            "or --from shelve if shelve wrote them",
        )  # fmt: skip
    return DbmSource(path, _open(path), choices, choices.values)


class DbmSource:
    """The entries of a dbm."""

    in_order = False

    def __init__(self, path: str, dbm: _Dbm, choices: Choices, encoding: str):
        self.name = path
        self._dbm = dbm
        self._choices = choices
        self._encoding = encoding

    def __iter__(self) -> Iterator[Found]:
        for number, (key, value) in enumerate(self._dbm.items(), 1):
            yield made(self._choices, f"entry {number}", partial(_key, key), partial(self._value, value))

    def _value(self, value: Callable[[], Any]) -> Any:
        return decode(_bytes(value()), self._encoding)

    def remarks(self) -> list[str]:
        """Nothing is left out."""
        return []

    def close(self) -> None:
        """Close the files."""
        self._dbm.close()


def _key(key: Any) -> str:
    try:
        return _bytes(key).decode()
    except UnicodeDecodeError:
        raise ValueProblem(f"the key {key[:100]!r} is no UTF-8 text") from None


def _bytes(found: Any) -> bytes:
    if not isinstance(found, bytes):
        raise ValueProblem(f"bytes are expected, found {type(found).__name__}")
    return found


# ---- which dbm it is


def family(path: str) -> tuple[str, str]:
    """Which dbm module wrote the files, and the name to open; the module is "" if none did.

    Raises:
        OSError: nothing is there, or it cannot be read.
    """
    for base in _bases(path):
        if os.path.isfile(f"{base}.pag") and os.path.isfile(f"{base}.dir"):
            return "ndbm", base
        if os.path.isfile(f"{base}.dat") and os.path.isfile(f"{base}.dir"):
            with open(f"{base}.dir", "rb") as file:
                return ("dumb" if file.read(1) in (b"'", b'"', b"") else ""), base
        if os.path.isfile(f"{base}.db") and _magic(f"{base}.db") == "ndbm":
            return "ndbm", base
    return _magic(path), path


def _bases(path: str) -> list[str]:
    base, suffix = os.path.splitext(path)
    return [path, base] if suffix in SUFFIXES else [path]


def _magic(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(16)
    orders: tuple[Literal["little", "big"], ...] = ("little", "big")
    for order in orders:
        if int.from_bytes(head[:4], order) in _GNU:
            return "gnu"
        if int.from_bytes(head[12:16], order) == _BERKELEY:
            return "ndbm"
    return "sqlite3" if head == MAGIC else ""


def _open(path: str) -> _Dbm:
    found, base = family(path)
    if found == "dumb":
        return DumbFile(base)
    if found == "sqlite3":
        return _SqliteDbm(base)
    if found == "gnu":
        return _Gnu(base)
    if found == "ndbm":
        return _Ndbm(base)
    raise own_problem(path, "no dbm that Python writes", "choose another kind with --from")


def is_dbm(tables: Mapping[str, Columns]) -> bool:
    """Whether `dbm.sqlite3` makes such tables."""
    return tables.get("Dict") == Columns(["key", "value"], [])


class _SqliteDbm:
    """`dbm.sqlite3`."""

    def __init__(self, path: str):
        self._file = SqliteFile(path)
        if not is_dbm(self._file.tables):
            self._file.close()
            raise own_problem(path, "a SQLite database, but none of dbm.sqlite3", "choose another kind with --from")

    def items(self) -> Items:
        key, value = (self._file.content(column) for column in ("key", "value"))
        for row in self._file.rows(f"SELECT {key}, {value} FROM Dict ORDER BY rowid"):
            yield row[2] if row[0] == b"blob" else None, partial(cell, *row[3:])

    def close(self) -> None:
        self._file.close()


class _Gnu:
    """`dbm.gnu`: keys one after the other."""

    def __init__(self, path: str):
        self._path = path
        try:
            import dbm.gnu
        except ImportError:
            raise _no_module(path, "dbm.gnu") from None
        self._keys_max = os.path.getsize(path)
        self._dbm: Any = dbm.gnu.open(path, "r")  # noqa: SIM115 - closed by close

    def items(self) -> Items:
        key, number = self._dbm.firstkey(), 0
        while key is not None:
            if (number := number + 1) > self._keys_max:
                raise own_problem(self._path, "the file is damaged: its keys have no end", "restore it from a backup")
            yield key, partial(self._dbm.__getitem__, key)
            key = self._dbm.nextkey(key)

    def close(self) -> None:
        self._dbm.close()


class _Ndbm:
    """`dbm.ndbm`: the keys are in memory."""

    def __init__(self, path: str):
        try:
            import dbm.ndbm
        except ImportError:
            raise _no_module(path, "dbm.ndbm") from None
        self._dbm: Any = dbm.ndbm.open(path, "r")  # noqa: SIM115 - closed by close

    def items(self) -> Items:
        for key in self._dbm.keys():  # noqa: SIM118 - it has no __iter__
            yield key, partial(self._dbm.__getitem__, key)

    def close(self) -> None:
        self._dbm.close()


def _no_module(path: str, module: str) -> Exception:
    return cannot_look(path, f"{module} wrote it, which this Python was built without", "use a Python that has it")
