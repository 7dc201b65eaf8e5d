"""Peers that keep objects: TinyDB, shelve, ZODB."""

from __future__ import annotations

import shelve
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from importlib import import_module
from itertools import islice
from typing import Any, ClassVar

from ..results import Guarantee, Kind
from .subject import Subject

__all__ = ["ShelvePeer", "TinyDBPeer", "ZODBPeer"]


class TinyDBPeer(Subject):
    """TinyDB as it comes, with our keys as document ids.

    It writes its whole JSON file in place at each change, and syncs it then. The end of the process, or of the power,
    in the middle of a later write leaves half a file: nothing that returned is safe.
    """

    kind: ClassVar[Kind] = "peer"
    guarantee: Guarantee = "nothing"
    name = "TinyDB"
    sync = "whole file in place"
    threads_safe: ClassVar[bool] = False

    def __init__(self, folder: str):
        tinydb: Any = import_module("tinydb")
        table: Any = import_module("tinydb.table")
        database: Any = type("TextKeys", (tinydb.TinyDB,), {})
        database.table_class = type("TextKeyTable", (table.Table,), {"document_id_class": str})
        self._db = database(f"{folder}/records.json")
        self._document = table.Document

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Replace the document, or insert it."""

        def replace(document: dict[str, Any]) -> None:
            document.clear()
            document.update(record)

        if not self._db.update(replace, doc_ids=[key]):
            self._db.insert(self._document(record, doc_id=key))

    def get(self, key: str) -> dict[str, Any] | None:
        """The document of an id."""
        found = self._db.get(doc_id=key)
        return None if found is None else dict(found)

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Those that are there are removed, and all are inserted: two writes of the file; one when all are new."""
        new = dict(records)
        there = [document.doc_id for document in self._db if document.doc_id in new]
        if there:
            self._db.remove(doc_ids=there)
        self._db.insert_multiple(self._document(record, doc_id=key) for key, record in new.items())

    def delete(self, key: str) -> None:
        """Remove the document."""
        self._db.remove(doc_ids=[key])

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """All documents, sorted: it knows no order."""
        there = sorted((document.doc_id, document) for document in self._db if document.doc_id >= start)
        return ((key, dict(document)) for key, document in there[:count])

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class ShelvePeer(Subject):
    """The standard library's shelve on whatever dbm this Python chooses; records are pickled.

    dbm.dumb, dbm.ndbm and dbm.gnu promise nothing of a file that is not closed. dbm.sqlite3 (from Python 3.13 on)
    commits each write in a SQLite file with a write-ahead log, at the level of sync that SQLite was built with.
    """

    kind: ClassVar[Kind] = "peer"
    name = "shelve"
    threads_safe: ClassVar[bool] = False

    def __init__(self, folder: str):
        path = f"{folder}/records"
        self._shelf: shelve.Shelf[Any] = shelve.open(path)  # noqa: SIM115 - closed by `close`
        chosen = {"_gdbm": "dbm.gnu", "_dbm": "dbm.ndbm"}.get(
            module := type(vars(self._shelf)["dict"]).__module__, module
        )
        self.sync = f"{chosen}, pickled"
        self.guarantee: Guarantee = _sqlite_guarantee(path) if chosen == "dbm.sqlite3" else "nothing"

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Set."""
        self._shelf[key] = record

    def get(self, key: str) -> dict[str, Any] | None:
        """Get."""
        found: dict[str, Any] | None = self._shelf.get(key)
        return found

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """One after the other: it knows no transactions."""
        self._shelf.update(records)

    def delete(self, key: str) -> None:
        """Delete."""
        del self._shelf[key]

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """All keys, sorted: it knows no order."""
        keys = sorted(key for key in self._shelf if key >= start)
        return ((key, self._shelf[key]) for key in keys[:count])

    def settle(self) -> None:
        """Write what is in memory to the file."""
        self._shelf.sync()

    def close(self) -> None:
        """Close it."""
        self._shelf.close()


def _sqlite_guarantee(path: str) -> Guarantee:
    with closing(sqlite3.connect(path)) as connection:
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
        level = connection.execute("PRAGMA synchronous").fetchone()[0]
    return "power" if (mode == "wal" and level >= 2) or level >= 3 else "kill"


class ZODBPeer(Subject):
    """ZODB with a FileStorage: a PersistentMapping for each record in a BTree, a transaction for each write.

    FileStorage appends a transaction to its file and calls fsync at its end: it survives a power cut. Reads come from
    the objects that the connection keeps in memory.
    """

    kind: ClassVar[Kind] = "peer"
    guarantee: Guarantee = "power"
    name = "ZODB"
    sync = "FileStorage, fsync"
    threads_safe: ClassVar[bool] = False

    def __init__(self, folder: str):
        zodb: Any = import_module("ZODB")
        file_storage: Any = import_module("ZODB.FileStorage")
        transaction: Any = import_module("transaction")
        self._new_mapping: Any = import_module("persistent.mapping").PersistentMapping
        self._db = zodb.DB(file_storage.FileStorage(f"{folder}/records.fs"))
        self._transactions = transaction.TransactionManager()
        self._connection = self._db.open(self._transactions)
        root = self._connection.root()
        if "records" not in root:
            root["records"] = import_module("BTrees.OOBTree").OOBTree()
            self._transactions.commit()
        self._records = root["records"]

    def put(self, key: str, record: dict[str, Any]) -> None:
        """One transaction."""
        self._records[key] = self._new_mapping(record)
        self._transactions.commit()

    def get(self, key: str) -> dict[str, Any] | None:
        """A copy of the mapping, which is loaded if it is not in memory."""
        found = self._records.get(key)
        return None if found is None else dict(found)

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """One transaction."""
        self._records.update([(key, self._new_mapping(record)) for key, record in records])
        self._transactions.commit()

    def patch(self, key: str, changes: dict[str, Any]) -> None:
        """Change the object and commit."""
        self._records[key].update(changes)
        self._transactions.commit()

    def delete(self, key: str) -> None:
        """One transaction."""
        del self._records[key]
        self._transactions.commit()

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Over the BTree."""
        return ((key, dict(record)) for key, record in islice(self._records.items(min=start), count))

    def settle(self) -> None:
        """Forget the objects in memory."""
        self._connection.cacheMinimize()

    def close(self) -> None:
        """Close connection and file."""
        self._transactions.abort()
        self._connection.close()
        self._db.close()
