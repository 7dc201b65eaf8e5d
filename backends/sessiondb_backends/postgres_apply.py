"""Writing changes into a PostgreSQL store, inside a transaction that somebody else begins and commits."""

from __future__ import annotations

import heapq
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from sessiondb.backend import Changes, Pace, TableChanges, TableKind

from .postgres_array import BytesArray, JsonArray, TextArray
from .postgres_link import Link
from .postgres_schema import Names, TableRow, encode_table, is_odd

__all__ = ["ChangeWriter"]

SORT_RECORDS = 500
SLICE_RECORDS = 64
"""Work between two calls of `pace`: about 200 us."""
STATEMENT_RECORDS = 1_000
STATEMENT_BYTES = 4 << 20
"""Records of one statement."""
FIELDS_MAX = 200
"""Columns of a view at most."""

logger = logging.getLogger("sessiondb.postgres")


class ChangeWriter:
    """Makes changes.

    Args:
        link: in a transaction.
        names: the store's.
        tables: the catalog before the changes.
        version: what is written beside each record.
        may_index: whether the role may make SQL indexes.
        as_bytes: store all documents as bytes.
        pace: called between small pieces of work.
    """

    def __init__(
        self,
        link: Link,
        names: Names,
        tables: dict[str, TableRow],
        version: int,
        *,
        may_index: bool,
        as_bytes: bool,
        pace: Pace,
    ):
        self._link = link
        self._names = names
        self._tables = tables
        self._version = version
        self._may_index = may_index
        self._is_odd = is_always_odd if as_bytes else is_odd
        self._pace = pace

    def write(self, changes: Changes) -> bool:
        """Make all changes; returns whether views or indexes are to be made or removed because of them."""
        before = dict(self._tables)
        for name, change in changes.items():
            row = self._tables.get(name)
            if change.dropped and row is not None:
                with self._link.at_length():
                    self._link.run(self._names.empty_table, (name,))
                self._link.run(self._names.drop_table, (name,))
                del self._tables[name]
                row = None
            kind = change.kind if row is None else row.kind
            if kind is not None:
                self._change(row or TableRow(name, kind), kind, change, is_new=row is None)
        return self._tables != before

    def _change(self, row: TableRow, kind: TableKind, change: TableChanges, *, is_new: bool) -> None:
        images = _Images(self._link, self._names, row, self._version, self._pace, self._is_odd)
        after = images.write(change.images)
        after = self._index(after, change.indexes.items())
        if is_new or after != row:
            self._link.run(self._names.set_table, encode_table(after))
        self._tables[row.name] = after

    def _index(self, row: TableRow, wanted: Iterable[tuple[str, bool]]) -> TableRow:
        """Make indexes. What is not wanted any more is only forgotten here.

        To remove an SQL index takes a lock that waits for every reader of the records, our own views too: that is
        done later, and only if it can be done at once.
        """
        fields = dict.fromkeys(row.indexes)
        for field, is_wanted in wanted:
            if not is_wanted:
                fields.pop(field, None)
                continue
            if field not in fields:
                self._make_index(row.name, field)
                fields[field] = None
        return msgspec.structs.replace(row, indexes=tuple(fields))

    def _make_index(self, table: str, field: str) -> None:
        if not self._may_index:
            logger.warning(
                "the role may make no SQL index on the field %r of table %r: queries look at every record; "
                "next: let the owner of the tables run `sessiondb init`", field, table,
            )  # fmt: skip
            return
        link = self._link
        for statement in self._names.index_ddl(table, field).values():
            with link.at_length():
                link.command(statement.encode())
            self._pace()


def is_always_odd(image: bytes) -> bool:
    """Takes no chances with the server's JSON parser."""
    return True


class _Images:
    """Puts and deletes the records of one table, in key order."""

    def __init__(
        self,
        link: Link,
        names: Names,
        row: TableRow,
        version: int,
        pace: Pace,
        is_odd: Callable[[bytes], bool],
    ):
        self._link = link
        self._names = names
        self._row = row
        self._version = version
        self._pace = pace
        self._fields = Fields(row.fields)
        self._odd = row.odd
        self._is_odd = is_odd

    def write(self, images: dict[str, bytes | None]) -> TableRow:
        """Make the changes; returns the catalog's row after them."""
        for keys in self._slices(images):
            self._write(keys, images)
        return msgspec.structs.replace(self._row, fields=tuple(self._fields.names), odd=self._odd)

    def _write(self, keys: list[str], images: dict[str, bytes | None]) -> None:
        """One statement for each kind of change."""
        gone, json_keys, blob_keys = TextArray(()), TextArray(()), TextArray(())
        texts, blobs = JsonArray(()), BytesArray(())
        is_json = self._row.kind == "json"
        places = iter(keys)
        while piece := list(islice(places, SLICE_RECORDS)):
            gone.extend(key.encode() for key in piece if images[key] is None)
            pairs = [(key.encode(), image) for key in piece if (image := images[key]) is not None]
            if is_json:
                is_odd = self._is_odd
                odd = [pair for pair in pairs if is_odd(pair[1])]
                if odd:
                    pairs = [pair for pair in pairs if not is_odd(pair[1])]
                    self._odd = True
                self._fields.learn(image for _, image in pairs)
                json_keys.extend(key for key, _ in pairs)
                texts.extend(image for _, image in pairs)
                pairs = odd
            blob_keys.extend(key for key, _ in pairs)
            blobs.extend(image for _, image in pairs)
            self._pace()
        link, names, table, version = self._link, self._names, self._row.name, self._version
        if gone:
            link.run(names.delete_records, (table, gone))
        if texts:
            link.run(names.put_records, (table, version, json_keys, texts), often=True)
        if blobs:
            link.run(names.put_blobs, (table, version, blob_keys, blobs), often=True)
        self._pace()

    def _slices(self, images: dict[str, bytes | None]) -> Iterator[list[str]]:
        """All keys in order, so many at a time as one statement takes."""
        piece: list[str] = []
        size = 0
        for key in self._in_order(list(images)):
            length = len(images[key] or b"")
            if piece and (len(piece) >= STATEMENT_RECORDS or size + length > STATEMENT_BYTES):
                yield piece
                piece, size = [], 0
            piece.append(key)
            size += length
        if piece:
            yield piece

    def _in_order(self, keys: list[str]) -> Iterator[str]:
        """Sorted in pieces and merged on the way: sorting all at once stops every thread for long."""
        pieces = []
        for start in range(0, len(keys), SORT_RECORDS):
            pieces.append(sorted(keys[start : start + SORT_RECORDS]))
            self._pace()
        return iter(heapq.merge(*pieces))


class Fields:
    """Which top-level fields the records of a table have.

    Args:
        names: those known before.
    """

    def __init__(self, names: Iterable[str]):
        self.names = dict.fromkeys(names)
        """In the order in which they were first seen."""
        self._check = _checker(self.names)

    def learn(self, images: Iterable[bytes]) -> None:
        """Note the fields of these documents."""
        for image in images:
            try:
                self._check(image)
            except msgspec.DecodeError:
                self._look(image)

    def _look(self, image: bytes) -> None:
        try:
            document = _decode(image)
        except msgspec.DecodeError:
            return  # no object: it has no fields
        new = [field for field in document if field not in self.names][: max(FIELDS_MAX - len(self.names), 0)]
        if new:
            self.names.update(dict.fromkeys(new))
            self._check = _checker(self.names)


_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f\ud800-\udfff]*')


def _checker(names: Iterable[str]) -> Callable[[bytes], object]:
    """Fails for documents with other fields; in less than half of the time that it takes to look at their names."""
    fields = [(f"f{number}", msgspec.Raw, msgspec.field(name=name, default=b"")) for number, name in enumerate(names)]
    if not all(_PLAIN.fullmatch(name) for name in names):
        return _fail
    shape = msgspec.defstruct("Document", fields, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(shape).decode


def _fail(image: bytes) -> None:
    raise msgspec.DecodeError
