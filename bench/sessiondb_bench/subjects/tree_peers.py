"""Peers that keep bytes in order: lmdb, RocksDB (rocksdict), LevelDB (plyvel). Records are msgspec's JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import islice
from typing import Any, ClassVar

import msgspec

from ..results import Guarantee, Kind
from .subject import Subject

__all__ = ["LmdbPeer", "PlyvelPeer", "RocksdictPeer"]


class _Tree(Subject):
    """What they have in common: the label, and the encoding.

    Args:
        name: the library's.
        synced: whether each write waits for the disk: it survives a power cut. If not, the kernel has it when the call
            returns, and it survives the end of the process.
    """

    kind: ClassVar[Kind] = "peer"

    def __init__(self, name: str, *, synced: bool):
        self.name = f"{name} {'sync' if synced else 'nosync'}"
        self.sync = f"sync={synced}"
        self.guarantee: Guarantee = "power" if synced else "kill"
        self._encode = msgspec.json.Encoder().encode
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(Any).decode

    def _decoded(self, pairs: Iterable[tuple[bytes, bytes]], count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, image in islice(pairs, count):
            yield key.decode(), self._decode(image)


class LmdbPeer(_Tree):
    """LMDB with a transaction for each call.

    Without sync a commit is written to the file and not synced: the pages of a process that ends are the kernel's. A
    power cut may then destroy the whole file (http://www.lmdb.tech/doc/, MDB_NOSYNC without MDB_WRITEMAP).
    """

    def __init__(self, folder: str, *, synced: bool):
        super().__init__("lmdb", synced=synced)
        self._environment: Any = import_module("lmdb").open(
            folder, map_size=1 << 34, sync=synced, metasync=synced, max_readers=1024
        )

    def put(self, key: str, record: dict[str, Any]) -> None:
        """One transaction."""
        with self._environment.begin(write=True) as transaction:
            transaction.put(key.encode(), self._encode(record))

    def get(self, key: str) -> dict[str, Any] | None:
        """One read transaction."""
        with self._environment.begin() as transaction:
            image = transaction.get(key.encode())
        return None if image is None else self._decode(image)

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """One transaction."""
        encode = self._encode
        with self._environment.begin(write=True) as transaction:
            transaction.cursor().putmulti([(key.encode(), encode(record)) for key, record in records])

    def patch(self, key: str, changes: dict[str, Any]) -> None:
        """Read and write in one transaction."""
        with self._environment.begin(write=True) as transaction:
            image = transaction.get(key.encode())
            if image is None:
                raise KeyError(key)
            transaction.put(key.encode(), self._encode({**self._decode(image), **changes}))

    def delete(self, key: str) -> None:
        """One transaction."""
        with self._environment.begin(write=True) as transaction:
            transaction.delete(key.encode())

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """A cursor in one read transaction."""
        with self._environment.begin() as transaction, transaction.cursor() as cursor:
            if cursor.set_range(start.encode()):
                yield from self._decoded(cursor, count)

    def close(self) -> None:
        """Close the environment."""
        self._environment.close()


class RocksdictPeer(_Tree):
    """RocksDB as rocksdict opens it in raw mode.

    Its log is written at each write in either way (``manual_wal_flush`` is off), and synced if the write asks for it
    (https://github.com/facebook/rocksdb/wiki/WAL-Performance).
    """

    def __init__(self, folder: str, *, synced: bool):
        super().__init__("rocksdict", synced=synced)
        module: Any = import_module("rocksdict")
        self._new_batch = module.WriteBatch
        self._db: Any = module.Rdict(folder, module.Options(raw_mode=True))
        self._options: Any = module.WriteOptions()
        self._options.sync = synced
        self._db.set_write_options(self._options)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Set."""
        self._db[key.encode()] = self._encode(record)

    def get(self, key: str) -> dict[str, Any] | None:
        """Get."""
        image = self._db.get(key.encode())
        return None if image is None else self._decode(image)

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """One batch."""
        batch = self._new_batch(raw_mode=True)
        for key, record in records:
            batch[key.encode()] = self._encode(record)
        self._db.write(batch, self._options)

    def delete(self, key: str) -> None:
        """Delete."""
        del self._db[key.encode()]

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """An iterator from the first key on."""
        return self._decoded(self._db.items(from_key=start.encode()), count)

    def settle(self) -> None:
        """Write what is in memory into its tables."""
        self._db.flush()

    def close(self) -> None:
        """Close it."""
        self._db.close()


class PlyvelPeer(_Tree):
    """LevelDB as plyvel opens it.

    Its log is written at each write in either way, and synced if the write asks for it
    (https://github.com/google/leveldb/blob/main/doc/index.md, "Synchronous Writes").
    """

    def __init__(self, folder: str, *, synced: bool):
        super().__init__("plyvel", synced=synced)
        self._synced = synced
        self._db: Any = import_module("plyvel").DB(folder, create_if_missing=True)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Put."""
        self._db.put(key.encode(), self._encode(record), sync=self._synced)

    def get(self, key: str) -> dict[str, Any] | None:
        """Get."""
        image = self._db.get(key.encode())
        return None if image is None else self._decode(image)

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """One batch."""
        with self._db.write_batch(transaction=True, sync=self._synced) as batch:
            for key, record in records:
                batch.put(key.encode(), self._encode(record))

    def delete(self, key: str) -> None:
        """Delete."""
        self._db.delete(key.encode(), sync=self._synced)

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """An iterator from the first key on."""
        with self._db.iterator(start=start.encode()) as pairs:
            yield from self._decoded(pairs, count)

    def settle(self) -> None:
        """Write what is in memory into its tables, and merge them."""
        self._db.compact_range()

    def close(self) -> None:
        """Close it."""
        self._db.close()
