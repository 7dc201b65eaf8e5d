"""Writing the log: append, shared sync, growth, seal and roll, poison.

Who may call what: `append` and `roll` only under the append lock (`roll` also in the sync role); `wait_durable`
from any thread, without the append lock.

The sync role. A durable commit appends under the append lock, lets go of it, and waits for a sync that began
after its append. One waiter takes the role and syncs for all who appended before that moment; when it is done,
the next waiter syncs for the rest. So N threads share syncs, and nobody syncs under the append lock but `roll`.

A failed sync poisons the log (the kernel reports the error once and says OK on a retry, while the page is gone):
every waiter gets `DurabilityUnknownError`, nothing is written or synced again, opening anew recovers. A failed
write is overwritten with zeros, so that nothing stands behind the end; if that fails too, the log is poisoned.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import DurabilityUnknownError, StoreFailedError
from ..files import File, Files
from ..lazy_logging import LazyLogger
from .format import (
    SEAL,
    SEGMENT_HEADER_BYTES,
    STATE_CLEAN,
    STATE_POISONED,
    TRANSACTION,
    SegmentHeader,
    SegmentName,
    decode_segment_header,
    encode_frame,
)
from .head import Head
from .reader import Frame, FrameReader
from .segment import SegmentSyncError, create_segment

__all__ = ["AppendLog", "LogTail"]

GROW_BYTES_MIN = 16 * 1024
GROW_BYTES_MAX = 256 * 1024
# Measured, unsynced appends of 344 bytes: 0.95 us with steps of 256 KiB, 1.55 us with 1 MiB (the zeros leave the CPU's
# cache before they are overwritten); a durable append pays for a changed size once in 750 frames.

logger = LazyLogger("sessiondb.log")


class LogTail(NamedTuple):
    """Where the next frame goes; replaced as a whole by a single assignment."""

    segment: SegmentHeader
    file: File
    end: int
    lsn: int
    """The last transaction's LSN."""
    crc: int
    sealed: bool


_ZEROS = memoryview(bytes(GROW_BYTES_MAX))
_new_tail = tuple.__new__  # half the cost of LogTail(...), on the hot path


class AppendLog:
    """The log of an open store, after recovery."""

    def __init__(self, files: Files, folder: str, tail: LogTail, head: Head, durable_lsn: int):
        self.files = files
        self.folder = folder
        self.head = head
        self.epoch = tail.segment.epoch
        self.tail = tail
        self.durable_lsn = durable_lsn
        self.syncs = 0
        self.failure: Exception | None = None
        self._generation = head.generation()
        self._capacity = tail.file.size()
        self._pending = 0  # bytes that an append may have left behind the end without finishing
        self._role_owner = 0  # the thread that has the sync role
        self._role_lock = threading.Lock()
        self._role_free = threading.Condition(self._role_lock)

    @property
    def last_lsn(self) -> int:
        """LSN of the last transaction appended."""
        return self.tail.lsn

    # ---- append

    def append(self, payload: bytes) -> int:
        """Write one transaction frame and return its LSN. Under the append lock.

        Raises:
            DurabilityUnknownError: it failed and could not be taken back; the log is poisoned.
            StoreFailedError: nothing was appended; the log is usable unless it says that it is poisoned.
        """
        if self.tail.sealed:
            self._start_next_segment()  # an earlier roll could not
        lsn = self.tail.lsn + 1
        self._write_frame(TRANSACTION, lsn, payload)
        return lsn

    def _write_frame(self, kind: int, lsn: int, payload: bytes) -> None:
        if self.failure is not None:
            raise self._poisoned()
        if self._pending:
            self._zero_pending()
        segment, file, start, last_lsn, prev, _ = self.tail
        undurable, now_us = lsn - self.durable_lsn, time.time_ns() // 1000
        frame, crc = encode_frame(kind, lsn, payload, prev, undurable, now_us, segment.salt)
        end = start + len(frame)
        # From here an exception of any kind, Ctrl-C too, may leave bytes behind the end: the next append sees
        # `_pending` and writes zeros over them first.
        self._pending = len(frame)
        try:
            if end > self._capacity:
                self._grow(file, end)
            file.pwrite(frame, start)
        except OSError as error:
            self._zero_pending()
            raise StoreFailedError(
                f"cannot append to the log: {error.strerror or error} ({file.path}); nothing was written; "
                "next: make room or mend the disk, then try again"
            ) from error
        if kind == TRANSACTION:
            self.tail = _new_tail(LogTail, (segment, file, end, lsn, crc, False))
        else:
            self.tail = _new_tail(LogTail, (segment, file, end, last_lsn, crc, True))
            lsn = last_lsn
        self._pending = 0
        self.head.publish(end, lsn)

    def _grow(self, file: File, needed: int) -> None:
        """Add zeros: a sync of bytes inside the file is 30-40 % cheaper than one that also changes its size."""
        chunk = min(self._capacity, GROW_BYTES_MAX)
        target = -(-max(needed, self._capacity + chunk) // GROW_BYTES_MIN) * GROW_BYTES_MIN
        offset = self._capacity
        while offset < target:
            count = min(GROW_BYTES_MAX, target - offset)
            file.pwrite(_ZEROS[:count], offset)
            offset += count
            self._capacity = offset

    def take_back(self) -> None:
        """Overwrite what an interrupted append may have left behind the end. Under the append lock.

        Raises:
            DurabilityUnknownError: it cannot be; the log is poisoned.
        """
        if self._pending:
            self._zero_pending()

    def _zero_pending(self) -> None:
        """Nothing but zeros may stand behind the end: a later append must not bury part of an earlier one."""
        file, start = self.tail.file, self.tail.end
        try:
            # Whatever was written lies inside the file; beyond its end there is nothing to overwrite.
            count = min(self._pending, file.size() - start)
            if count > 0:
                file.pwrite(bytes(count), start)
                # The caller is told that nothing was written: until the zeros are on disk a power cut can undo that.
                file.fdatasync()
            self._capacity = file.size()
        except OSError as error:
            self.poison(error, f"cannot take back a failed append in {file.path}")
            raise DurabilityUnknownError(
                f"an append to the log failed and could not be taken back: {error.strerror or error} ({file.path}); "
                "whether the transaction survives is unknown; next: close the database, open it again and look"
            ) from error
        self._pending = 0

    # ---- sync

    def wait_durable(self, lsn: int) -> None:
        """Return when the transaction is on disk, syncing for everybody if nobody else does.

        Raises:
            DurabilityUnknownError: a sync failed, or the log changed hands meanwhile.
        """
        if self.durable_lsn >= lsn:
            return
        try:
            if self._take_role(lsn):
                self._sync()
        finally:
            self.release_role()

    def take_role(self) -> None:
        """Become the one who syncs: while this lasts no sync runs and none begins.

        Call it inside the ``try`` whose ``finally`` calls `release_role`: a Ctrl-C may come right behind it.
        """
        self._take_role(None)

    def _take_role(self, lsn: int | None) -> bool:
        me = threading.get_ident()
        with self._role_lock:  # not the condition: its __exit__ is Python code, in which a Ctrl-C keeps the lock
            while True:
                if self.failure is not None:
                    raise self._unknown()
                if lsn is not None and self.durable_lsn >= lsn:
                    return False
                # Its own: a Ctrl-C came before the release, and whatever this thread was doing then is over.
                if self._role_owner in (0, me):
                    self._role_owner = me
                    return True
                self._role_free.wait()

    def release_role(self) -> None:
        """Let the next waiter sync; nothing unless this thread has the role."""
        if self._role_owner == threading.get_ident():
            with self._role_lock:
                self._role_owner = 0
                self._role_free.notify_all()

    def _sync(self) -> None:
        """Sync what has been appended so far. In the sync role."""
        tail = self.tail  # read before the sync begins: only what was appended before it is covered
        try:
            tail.file.fdatasync()
        except OSError as error:
            self.failure = error  # first of all: a Ctrl-C in here must not hide that the sync failed
            self.poison(error, f"cannot sync {tail.file.path}")
            raise self._unknown() from error
        self.syncs += 1
        if self.head.generation() != self._generation:
            # Somebody recovered or poisoned the store since the append: the frame may have been cut.
            self.failure = StoreFailedError("the store was recovered or poisoned by another process")
            raise self._unknown()
        self.head.publish_durable(tail.lsn)
        if tail.lsn > self.durable_lsn:
            self.durable_lsn = tail.lsn

    # ---- roll

    def roll(self) -> None:
        """Seal the active segment and go on in a new one. Under the append lock and in the sync role.

        Raises:
            StoreFailedError: the seal or the new segment could not be written; the next append or roll tries the
                new segment again.
            DurabilityUnknownError: a sync failed.
        """
        if self.tail.end == SEGMENT_HEADER_BYTES:
            return  # nothing is in it: it is the new segment already
        if not self.tail.sealed:
            self._write_frame(SEAL, self.tail.lsn + 1, b"")
            # Before the successor exists: its header proves that this segment was durable up to its end.
            self._sync()
        self._start_next_segment()

    def _start_next_segment(self) -> None:
        self._must_be_usable()
        before, old, end, lsn, crc, _ = self.tail
        header = SegmentHeader(
            before.uuid,
            self.epoch,
            0,
            lsn + 1,
            before.epoch,
            crc,
            before.first_lsn,
            end,
            time.time_ns() // 1000,
        )
        path = f"{self.folder}/{header.name}"
        try:
            if self.files.stat(path) is not None:
                self.files.unlink(path)  # what an earlier attempt left; no frame was ever written to it
            file, header = create_segment(self.files, self.folder, header)
        except SegmentSyncError as error:
            self.poison(error.cause, f"cannot sync the new segment {path}")
            raise self._unknown() from error.cause
        except OSError as error:
            raise StoreFailedError(
                f"cannot start a new log segment: {error.strerror or error} ({path}); "
                "next: make room or mend the disk, then try again"
            ) from error
        self._capacity = SEGMENT_HEADER_BYTES
        self.tail = LogTail(header, file, SEGMENT_HEADER_BYTES, lsn, header.crc, False)
        self.head.set_segment(header.name, SEGMENT_HEADER_BYTES, lsn)
        old.close()  # nobody syncs it: whoever would needs the role, or sees the new tail

    def frames(self, after: int, until: int) -> Iterator[Frame]:
        """The transactions with ``after < LSN <= until``, read back from the segments. Under the append lock.

        Raises:
            OSError: a segment cannot be read.
            ValueError: a frame that must be there is not.
        """
        headers = [self.tail.segment]
        while headers[0].first_lsn > after + 1 and headers[0].predecessor is not None:
            headers.insert(0, self._header(headers[0].predecessor))
        expected = after + 1
        for header in headers:
            file = self.files.open(f"{self.folder}/{header.name}", read_only=True)
            try:
                for frame in FrameReader(file, header):
                    if frame.header.type == TRANSACTION and expected <= frame.header.lsn <= until:
                        expected += 1
                        yield frame
            finally:
                file.close()
        if expected != until + 1:
            raise ValueError(f"LSN {expected} cannot be read back")

    def _header(self, name: SegmentName) -> SegmentHeader:
        file = self.files.open(f"{self.folder}/{name}", read_only=True)
        try:
            header = decode_segment_header(file.pread(SEGMENT_HEADER_BYTES, 0))
        finally:
            file.close()
        if header is None:
            raise ValueError(f"the header of {name} cannot be read back")
        return header

    # ---- states

    def poison(self, error: Exception, what: str) -> None:
        """Latch the failure, here and in HEAD: from now on nothing is written or synced."""
        self.failure = error
        logger.error("%s: %s; the store is poisoned until it is opened again", what, error)
        self.head.set_state(STATE_POISONED, self.tail.end, self.tail.lsn)
        self._generation = -1
        with self._role_lock:
            self._role_free.notify_all()

    def _must_be_usable(self) -> None:
        if self.failure is not None:
            raise self._poisoned()

    def _poisoned(self) -> StoreFailedError:
        return StoreFailedError(
            f"the store is poisoned: {self.failure} ({self.folder}); reads go on up to LSN {self.durable_lsn}; "
            "next: close the database and open it again, which recovers it"
        )

    def _unknown(self) -> DurabilityUnknownError:
        return DurabilityUnknownError(
            f"a sync of the log failed: {self.failure} ({self.folder}); whether transactions behind LSN "
            f"{self.durable_lsn} survive is unknown; next: close the database, open it again and look"
        )

    def close(self, *, clean: bool) -> None:
        """Let go of the files. `clean`: say so in HEAD, a hint for people."""
        if clean:
            self.head.set_owner(False)
            self.head.set_state(STATE_CLEAN, self.tail.end, self.tail.lsn)
            if self.tail.end > SEGMENT_HEADER_BYTES:
                self._sync_head()
        self.head.close()
        self.tail.file.close()

    def _sync_head(self) -> None:
        """The log is not empty: its witness should outlive a power cut. Nothing is lost when it does not."""
        try:
            self.head.sync()
        except OSError as error:
            logger.warning("%s: HEAD could not be synced at close: %s", self.folder, error)
