"""The engine of one open location, shared by every `Database` of this process that opened it."""

from __future__ import annotations

import threading
import time
import weakref

import msgspec

from .adoption import adopt, must_be_empty, refused
from .backend import Backend, BackendView, ForeignEdit, Position
from .cache import BaseReader
from .checkpoint import Checkpointer, must_be_stored
from .commit import Committer
from .config import Limits, Options
from .errors import BackendUnavailableError, ReadOnlyError, SessionDBError, StoreFailedError
from .files import Files
from .index_rules import IndexRules
from .indexing import Indexes, read_rules
from .lazy_logging import LazyLogger
from .location import Location
from .lock import StoreLocks
from .memtable import Memtable
from .only_table import operations_check
from .ownership import claim, is_current
from .recovery import check_epoch, make_report, recover, survey, torn_report
from .stats import RecoveryReport, Stats
from .views import Triple, View, Views
from .wal.log import AppendLog
from .wal.no_log import NoLog
from .wal.verdict import segment_names

__all__ = ["Store"]

CLOSE_BYTES_MIN = 1 << 20
"""A log smaller than this is left at a clean close, unless the backend is rewritten as a whole anyway, or on a server:
then the next one to open it may be another host."""

logger = LazyLogger("sessiondb")


class Store:
    """An open store: its backend, its log, its views, and who works on them."""

    def __init__(self, files: Files, location: Location, options: Options, locks: StoreLocks, backend: Backend):
        self.files = files
        self.location = location
        self.options = options
        self.backend = backend
        self.identity = backend.identity()
        self.reader = BaseReader(backend, options.cache_bytes)
        self.report: RecoveryReport
        self._locks = locks
        self._syncer: _Syncer | None = None
        self._starting = threading.Lock()
        self._closed = False

    def start(self, *, is_new: bool) -> None:
        """Recover the log and begin; the caller holds the locks that the options call for.

        After an exception of any kind call `abort`.
        """
        folder = type(self.backend).log_folder(self.location.path)
        remote = type(self.backend).remote and folder is not None
        notices: list[str] = []
        if remote and folder is not None and not self.options.read_only:
            position, goes_on, notices = claim(self.files, folder, self.backend, str(self.location))
            is_new = not goes_on
        else:
            position = self.backend.position()
        base = self.reader.read()
        if remote and not self.options.read_only:
            must_be_stored(base.position, position)
        memtable = Memtable(position.lsn)
        if folder is None:
            self.log = NoLog(position.epoch, position.lsn)
            self.report = _nothing_to_recover(position)
        elif self.options.read_only:
            memtable = self._survey(folder, position)
        else:
            edit = self.backend.foreign_edit()
            if edit is not None:
                must_be_empty(self.files, folder, self.identity.uuid, position, edit)
            recovered = recover(self.files, folder, self.identity.uuid, position, is_new=is_new, new_epoch=remote)
            self.log, memtable, self.report = recovered
            if edit is not None:
                memtable, base = self._adopt(recovered.log, edit)
            for notice in notices:
                self._note(notice)
        self.views = Views(memtable.last_lsn, base)
        self.views.install(Triple(memtable, None, base))
        self._begin(base, memtable)
        _open_stores.add(self)

    def _adopt(self, log: AppendLog, edit: ForeignEdit) -> tuple[Memtable, BackendView]:
        """Make what somebody else wrote into the location a transaction of this store."""
        position = adopt(log, self.backend, edit)
        self.report = msgspec.structs.replace(self.report, clean=False, applied_lsn=position.lsn, last_lsn=position.lsn)
        self._note(f"another program changed the file; what it holds now is the transaction {position}")
        return Memtable(position.lsn), self.reader.read()

    def _note(self, notice: str) -> None:
        logger.warning("%s: %s", self.location, notice)
        self.report = msgspec.structs.replace(self.report, notices=[*self.report.notices, notice])

    def abort(self) -> None:
        """Let go of everything after `start` was left by an exception; nothing is written."""
        self._closed = True
        if hasattr(self, "checkpointer"):
            self.checkpointer.stop()
        _open_stores.discard(self)
        if hasattr(self, "log") and isinstance(self.log, AppendLog):
            self.log.close(clean=False)

    log: AppendLog | NoLog
    views: Views
    checkpointer: Checkpointer
    committer: Committer
    indexes: Indexes

    def _survey(self, folder: str, position: Position) -> Memtable:
        if self.files.stat(folder) is None or (
            # What another host has written since does not stand on this host's log.
            type(self.backend).remote and not is_current(self.files, folder, self.backend)
        ):
            self.log = NoLog(position.epoch, position.lsn)
            self.report = _nothing_to_recover(position)
            return Memtable(position.lsn)
        found = survey(self.files, folder, self.identity.uuid, position.lsn)
        if not type(self.backend).remote:
            check_epoch(found.contents, position, folder)
        epoch = position.epoch if found.contents.newest is None else found.contents.newest.epoch
        edit = self.backend.foreign_edit()
        if edit is not None and found.contents.last_lsn > edit.logged_lsn:
            raise refused(folder, position, found.contents.last_lsn)
        self.log = NoLog(epoch, position.lsn if edit is not None else found.contents.last_lsn)
        self.report = make_report(found, position, epoch, torn_report(found, folder))
        if edit is not None:
            self._note(
                "another program changed the file; what it holds now is shown, and adopted by who opens to write"
            )
            return Memtable(position.lsn)
        return found.memtable

    def _begin(self, base: BackendView, memtable: Memtable) -> None:
        options = self.options
        rules = IndexRules()
        read_rules(rules, base, memtable)
        limits = Limits(options.checkpoint_bytes, options.checkpoint_records)
        self.checkpointer = Checkpointer(
            self.files,
            self.log,
            self.views,
            self.backend,
            self.reader,
            options,
            limits,
            before_roll=lambda: self.views.catch_up(),
            after_failure=lambda: self.committer.roll_back_to_durable(),
        )
        self.committer = Committer(
            self.log,
            self.views,
            limits,
            rules,
            options.sync,
            self.checkpointer.make_room,
            self._became_dirty,
            self._sync_later,
            operations_check(self.backend),
        )
        self.indexes = Indexes(self.views, self.committer, rules, lambda: self._became_dirty(True))
        if memtable.records and not options.read_only:
            memtable.first_us = time.monotonic_ns() // 1000
            due = memtable.bytes >= limits.bytes_max or memtable.records >= limits.records_max
            self._became_dirty(due)

    def _sync_later(self) -> None:
        if self._syncer is None:
            with self._starting:
                if self._syncer is None:
                    self._syncer = _Syncer(self.committer, self.log, self.options.sync_interval_ms / 1000)

    def _became_dirty(self, due: bool) -> None:
        self.checkpointer.became_dirty(due)

    # ---- what databases ask for

    def must_be_writable(self) -> None:
        """Raise unless commits are allowed.

        Raises:
            ReadOnlyError: the store was opened read-only.
        """
        if self.options.read_only:
            raise ReadOnlyError(f"{self.location} was opened read-only; next: open it without read_only to change it")

    def pin(self) -> View:
        """A view of everything that is visible now."""
        return self.views.pin()

    def sync(self) -> Position:
        """Make everything committed so far durable.

        Raises:
            DurabilityUnknownError: the sync failed.
        """
        lsn = self.views.visible_lsn
        self.wait_durable(lsn)
        return Position(self.log.epoch, lsn)

    def wait_durable(self, lsn: int) -> None:
        """Return when the LSN is on disk."""
        _ = self.views.triple  # closed stores say so
        self.committer.wait_durable(lsn)

    def check(self) -> list[str]:
        """Have the backend read everything it holds; a sentence for each thing that is wrong."""
        _ = self.views.triple
        return self.backend.check()

    def checkpoint(self) -> None:
        """Move everything committed so far into the backend.

        Raises:
            StoreFailedError: the log or the backend failed; nothing is lost.
        """
        self.must_be_writable()
        self.checkpointer.run()

    def stats(self) -> Stats:
        """Counters and states as they are now.

        Raises:
            StoreFailedError: the log's folder cannot be looked at.
        """
        active, frozen, base = self.views.triple
        log = self.log
        try:
            segments, disk_bytes = self._segments()
        except OSError as error:
            raise StoreFailedError(f"cannot look at the log of {self.location}: {error}") from error
        failure, cache = log.failure, self.reader.cache
        state = "poisoned" if failure is not None else "read-only" if self.options.read_only else "open"
        if self.checkpointer.fenced is not None:
            state = "fenced"
        return Stats(
            location=str(self.location),
            backend=self.backend.scheme,
            backend_format=self.identity.format_version,
            state=state,
            uuid=self.identity.uuid.hex(),
            epoch=log.epoch,
            last_lsn=self.views.visible_lsn,
            durable_lsn=log.durable_lsn,
            applied_lsn=base.position.lsn,
            log_bytes=active.bytes + (0 if frozen is None else frozen.bytes),
            log_records=active.records + (0 if frozen is None else frozen.records),
            log_segments=segments,
            log_disk_bytes=disk_bytes,
            backend_bytes=self._backend_bytes(),
            commits=self.committer.commits,
            syncs=log.syncs,
            checkpoints=self.checkpointer.checkpoints,
            checkpoint_failures=self.checkpointer.failures,
            last_checkpoint_error=self.checkpointer.last_error,
            back_pressure_waits=self.checkpointer.waits,
            cache_hits=0 if cache is None else cache.hits,
            cache_misses=0 if cache is None else cache.misses,
            cache_bytes=0 if cache is None else cache.bytes,
            failure=None if failure is None else str(failure),
            layout=self.backend.layout(),
        )

    def _backend_bytes(self) -> int | None:
        try:
            return self.backend.size()
        except BackendUnavailableError:
            return None

    def _segments(self) -> tuple[int, int]:
        folder = type(self.backend).log_folder(self.location.path)
        if folder is None or self.files.stat(folder) is None:
            return 0, 0
        sizes = [self.files.stat(f"{folder}/{name}") for name in segment_names(self.files, folder)]
        return len(sizes), sum(info.size for info in sizes if info is not None)

    # ---- the end

    def close(self) -> None:
        """End cleanly: everything durable, the log short, the locks free. A second call does nothing.

        Raises:
            StoreFailedError: the last sync failed; everything is released all the same.
        """
        if self._closed:
            return
        self._closed = True
        if self._syncer is not None:
            self._syncer.stop()
        self.checkpointer.stop()
        usable = not self.options.read_only and self.log.failure is None
        try:
            if usable:
                self._settle()
        finally:
            self._release(clean=usable and self.log.failure is None)

    def _settle(self) -> None:
        self.committer.settle()
        self.committer.wait_durable(self.views.visible_lsn)
        active, frozen, _ = self.views.triple
        waiting = active.bytes + (0 if frozen is None else frozen.bytes)
        if waiting and (self.backend.whole_file or self.backend.remote or waiting > CLOSE_BYTES_MIN):
            try:
                self.checkpointer.run()
            except SessionDBError as error:
                if self.log.failure is not None:
                    raise
                logger.warning("%s: no checkpoint at close, the log keeps what it has: %s", self.location, error)

    def _release(self, *, clean: bool) -> None:
        _open_stores.discard(self)
        try:
            self.views.close(f"the database {self.location} is closed; next: open it again")
            if isinstance(self.log, AppendLog):
                self.log.close(clean=clean)
            self.backend.close()
        finally:
            self._locks.release()

    def abandon(self) -> None:
        """After a fork, in the child: let go of the descriptors without a word to the locks, which are the parent's."""
        self._closed = True
        self.views.close(f"the database {self.location} belongs to the parent process; next: open it in this process")
        if isinstance(self.log, AppendLog):
            self.log.tail.file.close()
        self.backend.abandon()
        self._locks.release()  # closing a descriptor that the parent still has open unlocks nothing


class _Syncer:
    """Syncs within the interval after a commit that did not wait for it."""

    def __init__(self, committer: Committer, log: AppendLog | NoLog, interval_s: float):
        self._committer = committer
        self._log = log
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="sessiondb-sync", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._stop.wait(self._interval_s):
            if self._log.durable_lsn < self._log.last_lsn:
                try:
                    self._committer.wait_durable(self._log.last_lsn)
                except SessionDBError as error:
                    logger.error("the log could not be synced: %s", error)
                    return

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


def _nothing_to_recover(position: Position) -> RecoveryReport:
    return RecoveryReport(
        clean=True, epoch=position.epoch, epoch_before=position.epoch, applied_lsn=position.lsn,
        last_lsn=position.lsn, transactions=0, records=0, bytes=0, torn_tail=None, undurable_lost=0, notices=[],
        duration_ms=0.0,
    )  # fmt: skip


_open_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def abandon_all() -> None:
    """In a forked child: no store of the parent is the child's."""
    for store in list(_open_stores):
        store.abandon()
    _open_stores.clear()
