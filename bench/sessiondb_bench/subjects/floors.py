"""The least that the work can cost: a dict, and bare writes and syncs of a file. None of them is a store.

A floor of writes prepares its bytes when it meets a size of batch for the first time, and writes the same bytes ever
after: what it is timed for is the system call and the disk. It has the size of what the engine would log, and no
meaning; so there is nothing to get.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar

import msgspec

from sessiondb.files import File
from sessiondb.wal.format import encode_frame
from sessiondb.wal.operations import Put, encode_operations

from ..results import Guarantee, Kind
from .subject import Subject

__all__ = ["CODED", "GROWING", "UNSYNCED", "ZEROED", "DictFloor", "EncodedFloor", "FileFloor", "floor_subjects"]

CODED = "dict + msgspec"
UNSYNCED = "pwrite"
GROWING = "pwrite + fdatasync, growing file"
ZEROED = "pwrite + fdatasync, zero-filled file"
ZEROED_BYTES = 16 << 20


class _Sorted(dict[str, Any]):
    """A dict whose keys are sorted when somebody asks for their order."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[str] = []

    def keys_from(self, start: str, count: int) -> Iterator[str]:
        """So many keys from one on."""
        if len(self._keys) != len(self):  # good enough: nobody deletes one key and adds another between two scans
            self._keys = sorted(self)
        return islice(self._keys, bisect_left(self._keys, start), bisect_left(self._keys, start) + count)


class DictFloor(Subject):
    """A dict of the very objects: what no store can be, for its callers would share what they change."""

    kind: ClassVar[Kind] = "floor"
    guarantee: Guarantee = "nothing"
    name = "dict"

    def __init__(self) -> None:
        self._records = _Sorted()
        records = self._records  # its own methods: a call in between would cost more than they do
        vars(self).update(put=records.__setitem__, get=records.get, put_many=records.update, delete=records.__delitem__)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Set."""
        self._records[key] = record

    def get(self, key: str) -> dict[str, Any] | None:
        """Look up."""
        found: dict[str, Any] | None = self._records.get(key)
        return found

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Over the sorted keys."""
        records = self._records
        return ((key, records[key]) for key in records.keys_from(start, count))

    def close(self) -> None:
        """Forget everything."""
        self._records.clear()


class EncodedFloor(Subject):
    """A dict of encoded records: each caller gets one of their own, as of a store."""

    kind: ClassVar[Kind] = "floor"
    guarantee: Guarantee = "nothing"
    name = CODED

    def __init__(self) -> None:
        self._images = _Sorted()
        self._encode = msgspec.json.Encoder().encode
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(Any).decode
        vars(self).update(delete=self._images.__delitem__)

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Encode and set."""
        self._images[key] = self._encode(record)

    def get(self, key: str) -> dict[str, Any] | None:
        """Look up and decode."""
        image = self._images.get(key)
        return None if image is None else self._decode(image)

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Encode and set, one after the other."""
        encode, images = self._encode, self._images
        for key, record in records:
            images[key] = encode(record)

    def scan(self, start: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Over the sorted keys, decoding."""
        images, decode = self._images, self._decode
        return ((key, decode(images[key])) for key in images.keys_from(start, count))

    def close(self) -> None:
        """Forget everything."""
        self._images.clear()


class FileFloor(Subject):
    """One write of a frame as the engine's log has it, and a sync if there is one.

    Args:
        name: which of them.
        folder: where the file goes.
        synced: fdatasync after each write (F_FULLFSYNC on macOS), as the engine does it.
        zeroed: a file that was filled with zeros before, and is written again from its start at its end: a sync then
            changes no size. Else each write makes the file longer.
    """

    kind: ClassVar[Kind] = "floor"

    def __init__(self, name: str, folder: str, *, synced: bool, zeroed: bool):
        self.name = name
        self.guarantee = "power" if synced else "kill"
        self._file = File(
            os.open(f"{folder}/frames", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "frames"
        )
        self._sync: Callable[[], object] = self._file.fdatasync if synced else int
        self._frames: dict[int, bytes] = {}
        self._position = 0
        self._end = ZEROED_BYTES if zeroed else 0
        for offset in range(0, self._end, 1 << 20):
            self._file.pwrite(bytes(1 << 20), offset)
        self._file.fsync()

    def put(self, key: str, record: dict[str, Any]) -> None:
        """Write the frame of one record."""
        frame = self._frames.get(1)
        self._write(self._prepared([(key, record)]) if frame is None else frame)

    def get(self, key: str) -> dict[str, Any] | None:
        """There is nothing to get."""
        raise NotImplementedError(f"{self.name} writes, and nothing else")

    def put_many(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Write the frame of all of them at once."""
        pairs = records if isinstance(records, list) else list(records)
        frame = self._frames.get(len(pairs))
        self._write(self._prepared(pairs) if frame is None else frame)

    def patch(self, key: str, changes: dict[str, Any]) -> None:
        """The log has the whole record of a patch, too."""
        self.put(key, changes)

    def delete(self, key: str) -> None:
        """Write a frame; that of a deletion is shorter, which a disk does not notice."""
        self.put(key, {})

    def _prepared(self, pairs: list[tuple[str, dict[str, Any]]]) -> bytes:
        payload = encode_operations([Put("sessions", key, msgspec.json.encode(record)) for key, record in pairs])
        frame, _ = encode_frame(1, 1, payload, 0, 0, 0, 1)
        self._frames[len(pairs)] = frame
        return frame

    def _write(self, frame: bytes) -> None:
        position = self._position
        if self._end and position + len(frame) > self._end:
            position = 0
        self._position = position + len(frame)  # of two threads one may write over the other: nobody reads it
        self._file.pwrite(frame, position)
        self._sync()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def floor_subjects() -> list[tuple[str, Callable[[str], Subject]]]:
    """Each floor's name, and what makes one in a folder in which nothing is."""
    return [
        ("dict", lambda _: DictFloor()),
        (CODED, lambda _: EncodedFloor()),
        (UNSYNCED, lambda folder: FileFloor(UNSYNCED, folder, synced=False, zeroed=False)),
        (GROWING, lambda folder: FileFloor(GROWING, folder, synced=True, zeroed=False)),
        (ZEROED, lambda folder: FileFloor(ZEROED, folder, synced=True, zeroed=True)),
    ]
