"""One read transaction of LMDB and every call that reads through it.

LMDB lets several threads use a read transaction one after the other, not at once: hence the lock. Ranges are read in
slices, each with a cursor of its own under one lock, so that no thread waits long. For single records, where a lock
costs as much as a quarter of the read, each of the first threads gets a transaction of its own at the same state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from threading import get_ident
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from zlib import crc32

from sessiondb.backend import Position
from sessiondb.errors import ClosedError, CorruptionError, SessionDBError

from .lmdb_env import Environment, OutOfOrder, failure
from .lmdb_format import (
    CRC_BYTES,
    DIRECTORY,
    RESIDUE,
    STATE_KEY,
    TABLE_PREFIX,
    State,
    TableRecord,
    decode_state,
    decode_table,
    decode_value,
    index_database,
    table_database,
    table_name,
)
from .lmdb_pages import DamagedPages, entries_of

if TYPE_CHECKING:
    import lmdb

__all__ = ["Counted", "Entry", "OpenTable", "Snapshot", "read_state", "read_tables", "take"]

SLICE_BYTES = 256 << 10
"""A slice ends behind so many bytes of values."""
COUNT_KEYS = 256
OWN_TRANSACTIONS_MAX = 16
"""For one view. LMDB has room for `READERS_MAX` transactions in all; threads beyond this number wait for each other."""

Get = Callable[[bytes, None, "lmdb._Database"], bytes | None]
"""Key, what absence gives, database: the driver's `Transaction.get` with its arguments in order."""
Entry = tuple[bytes, bytes]
"""An index entry: index key and record key."""


class OpenTable(NamedTuple):
    """A table with the handles of its databases."""

    id: int
    records: lmdb._Database
    indexes: dict[str, lmdb._Database]
    record: TableRecord


def read_state(get: Get, directory: lmdb._Database, path: str) -> State:
    """The store's state as a transaction's `get` shows it.

    Raises:
        CorruptionError: it is missing or damaged.
    """
    data = get(STATE_KEY, None, directory)
    state = None if data is None else decode_state(data)
    if state is None:
        raise CorruptionError(f"the store's state is {'missing' if data is None else 'damaged'}", path=path)
    return state


def read_tables(transaction: lmdb.Transaction[bytes], directory: lmdb._Database, path: str) -> dict[str, TableRecord]:
    """The directory as a transaction shows it.

    Raises:
        CorruptionError: an entry is damaged.
    """
    tables = {}
    with transaction.cursor(directory) as cursor:
        there = cursor.set_range(TABLE_PREFIX)
        for key, value in ascending(cursor.iternext()) if there else ():
            if not key.startswith(TABLE_PREFIX):
                break
            record = decode_table(key, value)
            if record is None:
                raise CorruptionError(f"the directory's entry {key!r} is damaged", path=path)
            tables[table_name(key)] = record
    if len(tables) + 1 != transaction.stat(directory)["entries"]:
        raise CorruptionError("the directory has other entries than it should", path=path)
    return tables


def take(
    cursor: lmdb.Cursor[bytes], low: bytes, high: bytes | None, *, reverse: bool = False, size: int
) -> list[tuple[bytes, bytes]]:
    """Up to `size` of the entries with ``low <= key < high``, from the beginning or backwards from the end."""
    pairs: list[Entry] = []
    room = SLICE_BYTES
    if not (_to_last_below(cursor, high) if reverse else cursor.set_range(low) if low else cursor.first()):
        return []
    for pair in islice(cursor.iterprev() if reverse else cursor.iternext(), size):
        if pair[0] < low if reverse else high is not None and pair[0] >= high:
            break
        if pairs and (pair[0] >= pairs[-1][0] if reverse else pair[0] <= pairs[-1][0]):
            raise OutOfOrder
        pairs.append(pair)
        room -= len(pair[1])
        if room < 0:
            break
    return pairs


def ascending(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, as long as each is behind the one before it."""
    last: Entry | None = None
    for entry in entries:
        if last is not None and entry <= last:
            raise OutOfOrder
        last = entry
        yield entry


class Counted(NamedTuple):
    """A number of entries, and the index key to go on with; ``None``: these are all."""

    total: int
    next: bytes | None


class Snapshot:
    """A read transaction; it ends with `close`, or when nobody refers to it any more."""

    position: Position

    def __init__(self, environment: Environment):
        """Begin; handles of the environment may be opened for that."""
        self.environment = environment
        self.path = environment.path
        self.open_tables: dict[str, OpenTable]
        self._points: dict[str, tuple[lmdb._Database, int]]
        """What it takes to read one record of a table: its database, and the number its checksums start from."""
        self._errors = environment.errors
        self._lock = threading.Lock()
        self._transaction: lmdb.Transaction[bytes] | None = None
        self._own: list[lmdb.Transaction[bytes]] = []
        self._gets: dict[int, Get] = {}
        """Thread to the `get` that it may call without a lock, or that takes it."""
        self._reason = "the view was never opened"
        self._released = True
        environment.must_be_usable()
        environment.retain()
        self._released = False
        try:
            with self._failing("begin a read"):
                self._begin()
        except BaseException:
            self.close()
            raise
        environment.readers.add(self)

    def _begin(self) -> None:
        environment = self.environment
        handles = environment.handles
        while True:
            self._transaction = environment.env.begin()
            self.position = read_state(self._transaction.get, handles[DIRECTORY], self.path).position
            self._id = self._transaction.id()
            records = read_tables(self._transaction, handles[DIRECTORY], self.path)
            if all(name in handles for name in _databases(records)):
                break
            self._transaction.abort()
            with environment.writing:  # another process made them
                environment.open_handles([name for name in _databases(records) if name not in handles])
        self.open_tables = {
            name: OpenTable(
                record.id,
                handles[table_database(record.id)],
                {field: handles[index_database(number)] for field, number in record.indexes.items()},
                record,
            )
            for name, record in records.items()
        }
        self._points = {name: (table.records, table.id) for name, table in self.open_tables.items()}

    def close(self) -> None:
        """End the transaction; a second call does nothing."""
        with self._lock:
            transactions = [*self._own, self._transaction]
            self.forget(f"a view of {self.path} was used after its end")
            if not self.environment.is_gone():
                for transaction in transactions:
                    if transaction is not None:
                        transaction.abort()
        if not self._released:
            self._released = True
            self.environment.release()

    def __del__(self) -> None:
        if hasattr(self, "_released"):
            self.close()

    def forget(self, reason: str) -> None:
        """From now on every read raises `ClosedError`; LMDB is not called."""
        self._reason = reason
        self._transaction = None
        self._own = []
        self._gets = {}
        self._lock = threading.Lock()  # in a forked child the old one may be held by a thread that is not there

    # ---- one record

    def own_get(self) -> Get:
        """The way of this thread to single records, found once."""
        get = _in_turn(self._lock, self._usable().get)
        if len(self._own) < OWN_TRANSACTIONS_MAX:
            with suppress(self._errors):  # all of LMDB's places for readers are taken
                own = self.environment.env.begin()
                if own.id() == self._id:
                    self._own.append(own)
                    get = own.get
                else:
                    own.abort()  # the store has moved on
        self._gets[get_ident()] = get
        return get

    # ---- records

    def slice(
        self, database: lmdb._Database, low: bytes, high: bytes | None, *, reverse: bool, size: int
    ) -> list[tuple[bytes, bytes]]:
        """Up to `size` of the entries with ``low <= key < high``, from the beginning or backwards from the end."""
        with self._cursor(database) as cursor:
            return take(cursor, low, high, reverse=reverse, size=size)

    def fetch(self, table: str, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """The images of those of the keys that are present."""
        found = self.open_tables[table]
        with self._cursor(found.records) as cursor:
            pairs = cursor.getmulti(names)
        images = {}
        for name, value in pairs:
            if crc32(value, crc32(name, found.id)) != RESIDUE:
                self.damaged(table, name)
            images[name] = value[:-CRC_BYTES]
        return images

    def entries(self, database: lmdb._Database) -> int:
        """The number of entries of a database."""
        with self._failing("count"), self._lock:
            return self._usable().stat(database)["entries"]

    def damaged(self, table: str, name: bytes) -> NoReturn:
        """Say that a record is."""
        raise CorruptionError(
            f"table {table!r}: the record {name.decode(errors='replace')!r} does not match its checksum",
            path=self.path,
        )

    # ---- for looking at everything

    def records(self, table: str) -> Iterator[tuple[bytes, bytes | None]]:
        """Every record's key and image; ``None`` for an image that does not match its checksum."""
        found = self.open_tables[table]
        low = b""
        while pairs := self.slice(found.records, low, None, reverse=False, size=COUNT_KEYS):
            for name, value in pairs:
                yield name, decode_value(found.id, name, value)
            low = pairs[-1][0] + b"\0"

    def has_entry(self, index: lmdb._Database, entry: Entry) -> bool:
        """Whether an index has the entry."""
        with self._cursor(index) as cursor:
            return cursor.set_key_dup(*entry)

    def databases(self) -> dict[bytes, int]:
        """Every named database and its number of entries."""
        try:
            with self._failing("read the directory"), self._lock, self._usable().cursor() as cursor:
                return {name: entries_of(record) for name, record in ascending(cursor.iternext())}
        except DamagedPages as error:
            raise CorruptionError(f"the main database is damaged: {error}", path=self.path) from error

    # ---- entries of an index

    def entries_after(
        self, index: lmdb._Database, low: bytes, high: bytes, after: Entry | None, size: int
    ) -> list[Entry]:
        """Up to `size` entries with ``low <= index key < high`` behind `after`, in order."""
        entries = []
        with self._cursor(index) as cursor:
            if after is None:
                there = cursor.set_range(low)
            else:
                there = cursor.set_range_dup(after[0], after[1] + b"\0") or cursor.set_range(after[0] + b"\0")
            for entry in ascending(islice(cursor.iternext(), size)) if there else ():
                if entry[0] >= high:
                    break
                entries.append(entry)
        return entries

    def entries_before(
        self, index: lmdb._Database, low: bytes, high: bytes, after: Entry | None, size: int
    ) -> list[Entry]:
        """The same by index key descending; entries of one index key by record key ascending."""
        entries: list[Entry] = []
        with self._cursor(index) as cursor:
            if after is None:
                there = _to_last_below(cursor, high)
            else:
                high = after[0]
                if cursor.set_range_dup(after[0], after[1] + b"\0"):
                    entries.extend(ascending((high, name) for name in islice(cursor.iternext_dup(), size)))
                there = cursor.set_key(after[0]) and cursor.prev_nodup()
            while there and len(entries) < size:
                key = cursor.key()
                if key < low:
                    break
                if key >= high:
                    raise OutOfOrder
                high = key
                cursor.first_dup()
                names = islice(cursor.iternext_dup(), size - len(entries))
                entries.extend(ascending((key, name) for name in names))
                there = cursor.set_key(key) and cursor.prev_nodup()
        return entries

    def count_slice(self, index: lmdb._Database, low: bytes, high: bytes) -> Counted:
        """How many entries have ``low <= index key < high``, up to some number of index keys."""
        total = 0
        with self._cursor(index) as cursor:
            there = cursor.set_range(low)
            for number in range(COUNT_KEYS):
                key = cursor.key()
                if not there or key >= high:
                    return Counted(total, None)
                if key < low or (number and key == low):
                    raise OutOfOrder
                low = key
                total += cursor.count()
                there = cursor.next_nodup()
            return Counted(total, cursor.key() if there else None)

    # ---- inside

    @contextmanager
    def _cursor(self, database: lmdb._Database) -> Iterator[lmdb.Cursor[bytes]]:
        with self._failing("read"), self._lock, self._usable().cursor(database) as cursor:
            yield cursor

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except (self._errors, OutOfOrder) as error:
            raise self.failed(error, what) from error

    def failed(self, error: Exception, what: str) -> SessionDBError:
        """The error of a read as ours: another thread may have closed the view in the middle of it."""
        return failure(error, what, self.path) if self._transaction is not None else ClosedError(self._reason)

    def _usable(self) -> lmdb.Transaction[bytes]:
        if self._transaction is None:
            raise ClosedError(self._reason)
        return self._transaction


def _in_turn(lock: threading.Lock, get: Get) -> Get:
    """The same for several threads. Not a method: a view that referred to itself would outlive its last user."""

    def locked(key: bytes, default: None, database: lmdb._Database) -> bytes | None:
        with lock:
            return get(key, default, database)

    return locked


def _databases(records: dict[str, TableRecord]) -> Iterator[bytes]:
    for record in records.values():
        yield table_database(record.id)
        for number in record.indexes.values():
            yield index_database(number)


def _to_last_below(cursor: lmdb.Cursor[bytes], high: bytes | None) -> bool:
    if high is not None and cursor.set_range(high):
        return cursor.prev()
    return cursor.last()
