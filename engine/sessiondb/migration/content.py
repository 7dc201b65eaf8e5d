"""What a store holds, in counts and digests: the same for equal contents on every backend. Pure.

Specified in docs/format/content-digest.md:

1. A record's digest is the SHA-256 of table, kind, key and image. Before each of the first three stands its length in
   bytes, as 8 bytes, little-endian.
2. A table's digest is the SHA-256 of its name and kind, each with its length before it, and the digests of its records
   in the order of the keys' UTF-8 bytes.
3. A store's digest is the SHA-256 of the digests of its tables in the order of the names' UTF-8 bytes.

Indexes are not part of a digest: they hold nothing that the records do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple, Protocol

import msgspec

from ..backend import TableKind
from ..codec import check_key
from ..errors import ValidationError

__all__ = ["Content", "Problems", "Readable", "Step", "TableContent", "read_content", "record_digest"]

STEP_RECORDS = 1_000
NAMED_MAX = 10
"""Bad records that are named; the others are counted."""


class Readable(Protocol):
    """A view: the engine's, or a backend's."""

    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind."""

    def scan(self, table: str) -> Iterator[tuple[str, bytes]]:
        """Records in key order."""

    def count(self, table: str) -> int:
        """The number of records."""

    def indexes(self, table: str) -> frozenset[str]:
        """The fields that have an index."""


class Step(NamedTuple):
    """How far a piece of work has come."""

    what: str
    done: int
    """Records."""
    total: int


class TableContent(msgspec.Struct, frozen=True):
    """What a table holds."""

    kind: TableKind
    records: int
    bytes: int
    """Of keys and images."""
    digest: str
    """SHA-256, in hexadecimal digits."""
    indexes: list[str]
    """Fields, in order."""


class Content(msgspec.Struct, frozen=True):
    """What a store holds."""

    tables: dict[str, TableContent]
    """In the order of the names."""
    digest: str
    """SHA-256, in hexadecimal digits."""

    @property
    def records(self) -> int:
        """Of all tables."""
        return sum(table.records for table in self.tables.values())


class Problems:
    """Bad records: the first by name, the others by number."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.count = 0

    def note(self, text: str) -> None:
        """Nothing if the text is empty."""
        if text:
            self.count += 1
            if len(self.named) < NAMED_MAX:
                self.named.append(text)

    def __str__(self) -> str:
        more = self.count - len(self.named)
        return "; ".join(self.named) + (f"; and {more:,} more" if more else "")


def _sized(*texts: str) -> bytes:
    return b"".join(len(data).to_bytes(8, "little") + data for data in (text.encode() for text in texts))


def record_digest(table: str, kind: TableKind, key: str, image: bytes) -> bytes:
    """The digest of one record."""
    return hashlib.sha256(_sized(table, kind, key) + image).digest()


def read_content(
    view: Readable,
    problems: Problems | None = None,
    report: Callable[[int, int], None] | None = None,
    look: Callable[[str, TableKind, str, bytes], None] | None = None,
) -> Content:
    """Read all records of a store.

    Args:
        view: its state.
        problems: filled with what is wrong with records; ``None``: only what the digests say is asked for.
        report: called now and then with the number of records that were read, and that there are.
        look: called for each record, with table, kind, key and image.
    """
    kinds = view.tables()
    names = sorted(kinds)
    done, total = 0, sum(view.count(name) for name in names)
    tables: dict[str, TableContent] = {}
    for name in names:
        reading = _Reading(name, kinds[name])
        for key, image in view.scan(name):
            if problems is not None:
                problems.note(reading.problem(key, image))
            if look is not None:
                look(name, kinds[name], key, image)
            reading.add(key, image)
            done += 1
            if report is not None and done % STEP_RECORDS == 0:
                report(done, total)
        tables[name] = reading.end(view.indexes(name))
        counted = view.count(name)
        if problems is not None and counted != tables[name].records:
            problems.note(f"table {name!r} counts {counted:,} records, {tables[name].records:,} were found")
    if report is not None:
        report(done, total)
    digests = (bytes.fromhex(table.digest) for table in tables.values())
    return Content(tables, hashlib.sha256(b"".join(chain(digests))).hexdigest())


class _Reading:
    """One table."""

    def __init__(self, name: str, kind: TableKind):
        self._name = name
        self._kind = kind
        self._prefix = _sized(name, kind)
        self._digest = hashlib.sha256(self._prefix)
        self._records = self._bytes = 0
        self._last = ""

    def add(self, key: str, image: bytes) -> None:
        """Take in the next record."""
        name = key.encode("utf-8", "surrogatepass")  # a key that is none is a problem that is noted elsewhere
        record = b"".join((self._prefix, len(name).to_bytes(8, "little"), name, image))  # as `record_digest`
        self._digest.update(hashlib.sha256(record).digest())
        self._records += 1
        self._bytes += len(name) + len(image)
        self._last = key

    def problem(self, key: str, image: bytes) -> str:
        """What is wrong with the next record."""
        where = f"table {self._name!r}: key {key!r:.100}: "
        try:
            check_key(self._name, key)
            if self._kind == "json":
                _decode(image)
        except ValidationError as error:
            return where + error.problem
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return f"{where}it is no JSON ({len(image):,} bytes): {error}"
        if self._records and key.encode() <= self._last.encode("utf-8", "surrogatepass"):
            return f"{where}it comes behind {self._last!r:.100}, out of order"
        return ""

    def end(self, indexes: frozenset[str]) -> TableContent:
        """What the table holds."""
        return TableContent(self._kind, self._records, self._bytes, self._digest.hexdigest(), sorted(indexes))


_decode = msgspec.json.Decoder().decode
