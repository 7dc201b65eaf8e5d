"""Checkpoint: move committed changes from the log into the backend, in the background.

The order, and which crash each step is for:

1. sync the log, so that step 2 is short;
2. under the append lock and in the sync role: SEAL, sync, next segment (durable, its name too), swap memtables. The
   frozen memtable is now exactly the sealed segments;
3. one backend transaction with the frozen memtable's final images and its LSN, durable on return;
4. read the position back from the location: only what is really stored may let the log go;
5. install the new triple, by a single assignment: a reader has the frozen memtable or a view that covers it;
6. only now remove the sealed segments, then sync the folder. A removal that a crash undoes is harmless: recovery
   ignores what the backend has;
7. let the backend tidy up: the view before this one is not used any more.

A failure leaves the frozen memtable in place and is tried again; reads and writes go on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .backend import Backend, Pace, Position
from .cache import BaseReader
from .config import Limits, Options
from .errors import BackendError, ClosedError, FencedError, SessionDBError, StoreFailedError
from .files import Files
from .lazy_logging import LazyLogger
from .memtable import Memtable
from .views import Triple, Views
from .wal.log import AppendLog
from .wal.no_log import NoLog
from .wal.verdict import segment_names

__all__ = ["Checkpointer", "Pacer", "must_be_stored"]

PAUSE_S = 0.00005
LET_GO = 500
RETRY_S_MIN = 0.1
RETRY_S_MAX = 30.0
WHOLE_FILE_BYTES_MAX = 64 * 1024 * 1024

logger = LazyLogger("sessiondb.checkpoint")


class Pacer:
    """Lets other threads run after each slice of work: a long encode in one piece raises their p99 fifty-fold."""

    def __init__(self, slice_s: float) -> None:
        self._slice_s = slice_s
        self._began = time.perf_counter()

    def __call__(self) -> None:
        """Sleep a little when the slice is used up."""
        if time.perf_counter() - self._began > self._slice_s:
            time.sleep(PAUSE_S)
            self._began = time.perf_counter()


class Checkpointer:
    """Checkpoints of one store: on demand from any thread, and by itself from a thread of its own."""

    def __init__(
        self,
        files: Files,
        log: AppendLog | NoLog,
        views: Views,
        backend: Backend,
        reader: BaseReader,
        options: Options,
        limits: Limits,
        before_roll: Callable[[], None],
        after_failure: Callable[[], None],
    ):
        """Wire it up.

        `limits` is kept in step with the backend's size; `before_roll` is called under the append lock before
        memtables are swapped, `after_failure` without locks when the log was poisoned.
        """
        self._files = files
        self._log = log
        self._views = views
        self._backend = backend
        self._reader = reader
        self._options = options
        self._limits = limits
        self._before_roll = before_roll
        self._after_failure = after_failure
        self._running = threading.RLock()  # not for reentrance: it knows its owner, also when a Ctrl-C came at acquire
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._due = False
        self._retry_at = 0.0
        """After anybody's failure the thread leaves the cause so much time."""
        self._stopping = False
        self._stopped = threading.Event()
        self._attempted = threading.Condition()
        """Notified after each attempt, for those who wait for the thread to make room."""
        self._attempts = self._waiting = 0
        self._hurry = threading.Event()
        """Somebody waits: the thread makes its pauses short."""
        self._thread: threading.Thread | None = None
        self.checkpoints = 0
        self.failures = 0
        self.last_error: str | None = None
        self.fenced: FencedError | None = None
        """Somebody else took the store over: nothing can be moved any more, and nothing more is written."""
        self.waits = 0
        """Commits that had to wait for room in the log."""
        self._set_limits()

    # ---- one checkpoint

    def run(self, pace: Pace | None = None) -> None:
        """Move everything committed so far into the backend.

        Raises:
            StoreFailedError: the log or the backend failed; nothing is lost, try again.
        """
        target = self._views.visible_lsn
        while self._views.triple.base.position.lsn < target:
            self._run_once(pace or _no_pause)

    def _run_once(self, pace: Pace, timeout: float = -1, *, only_if_due: bool = False) -> None:
        """Freeze if nothing is frozen, and move what is; nothing when another checkpoint runs for all of the timeout.

        With `only_if_due`, do nothing either when the checkpoint waited for has done the work.
        """
        try:
            if not self._running.acquire(timeout=timeout):
                return
            if only_if_due and self._seconds_until_due() != 0:
                return
            self._due = False
            self._freeze()
            frozen = self._views.triple.frozen
            if frozen is not None:
                parts = self._move(frozen, pace)
                del frozen
                _let_go(parts, pace)
            self.last_error = None
        except SessionDBError as error:
            self.failures += 1
            self.last_error = str(error)
            if isinstance(error, FencedError):
                self.fenced = error
            self._retry_at = time.monotonic() + RETRY_S_MIN
            raise
        finally:
            if self._running._is_owned():  # type: ignore[attr-defined]
                self._running.release()
            with self._attempted:
                self._attempts += 1
                self._attempted.notify_all()
            if self._log.failure is not None:
                self._after_failure()

    def _freeze(self) -> None:
        views, log = self._views, self._log
        active, frozen, base = views.triple
        if frozen is not None or active.last_lsn == base.position.lsn:
            return
        log.wait_durable(log.last_lsn)
        try:
            log.take_role()
            with views.append_lock:
                self._before_roll()
                log.roll()
                views.install(Triple(Memtable(log.last_lsn), views.triple.active, base))
        finally:
            log.release_role()

    def _move(self, frozen: Memtable, pace: Pace) -> list[object]:
        """Move it into the backend; returns its parts, for `_let_go`."""
        views, backend = self._views, self._backend
        expected = views.triple.base.position
        target = Position(self._log.epoch, frozen.last_lsn)
        changes = frozen.changes(pace)
        backend.apply(changes, expected, target, pace)
        must_be_stored(backend.position(), target)
        base = self._reader.read(changes)
        must_be_stored(base.position, target)
        with views.append_lock:
            views.install(Triple(views.triple.active, None, base))
            if isinstance(self._log, AppendLog):
                tail = self._log.tail
                self._log.head.set_applied(target.lsn, tail.end, tail.lsn)
        self.checkpoints += 1
        self._set_limits()
        if isinstance(self._log, AppendLog):
            self._drop_segments(self._log)
        try:
            backend.settle()
        except SessionDBError as error:
            # The checkpoint itself is done: this is about space.
            logger.warning("%s could not tidy up after a checkpoint: %s", backend.scheme, error)
        return frozen.parts()

    def _drop_segments(self, log: AppendLog) -> None:
        """Everything before the active segment is in the backend."""
        try:
            active = log.tail.segment.name
            for name in segment_names(self._files, log.folder):
                if name < active:
                    self._files.unlink(f"{log.folder}/{name}")
            self._files.sync_folder(log.folder)
        except OSError as error:
            # Harmless but for the space: the next checkpoint and recovery remove them too.
            logger.warning("%s: a segment could not be removed: %s", log.folder, error)

    # ---- when

    def _set_limits(self) -> None:
        """A file that is rewritten as a whole raises the limit to its size: that bounds write amplification."""
        size = self._backend.size() if self._backend.whole_file else 0
        self._limits.bytes_max = max(self._options.checkpoint_bytes, min(size, WHOLE_FILE_BYTES_MAX))

    def became_dirty(self, due: bool) -> None:
        """There is something to move: now (`due`), or when it gets old."""
        if due:
            self._due = True
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._start()
        self._wake.set()

    def make_room(self, size: int) -> None:
        """Wait, and help, until the log has room for `size` bytes: its cap is four times the limits.

        Raises:
            StoreFailedError: there was none within `Options.lock_timeout`; the message gives the last failure.
        """
        self._must_own()
        if not self._is_over(size):
            return
        self.waits += 1
        deadline = time.monotonic() + self._options.lock_timeout
        while self._is_over(size):
            left = 0.0 if self._stopping else max(deadline - time.monotonic(), 0)
            error: StoreFailedError | None = None
            if self._backend.remote:
                self._have_room_made(size, left)
                if self._log.failure is not None:
                    return  # the append says so
                self._must_own()
            else:
                try:
                    self._run_once(_no_pause, left)
                except StoreFailedError as failure:
                    if self._log.failure is not None:
                        raise
                    error = failure
                    self._stopped.wait(min(RETRY_S_MIN, left))
            if not left and self._is_over(size):
                raise self._no_room(error) from error

    def _must_own(self) -> None:
        if self.fenced is not None:
            # What failed is still frozen, so every commit comes by here.
            raise FencedError(f"{self.fenced}; nothing was written") from self.fenced

    def _have_room_made(self, size: int, left: float) -> None:
        """Have the thread make an attempt: a server may take longer to answer than whoever writes may wait."""
        self.became_dirty(True)
        with self._attempted:
            seen = self._attempts
            self._waiting += 1
            try:
                self._hurry.set()
                self._attempted.wait_for(
                    lambda: self._attempts != seen or self._stopping or not self._is_over(size), left
                )
            finally:
                self._waiting -= 1
                if not (self._waiting or self._stopping):
                    self._hurry.clear()

    def _no_room(self, error: StoreFailedError | None) -> StoreFailedError:
        cause = error or self.last_error or "the checkpoint that is running has not finished"
        return StoreFailedError(
            f"the log is full: checkpoints made no room within {self._options.lock_timeout} s ({cause}); "
            "nothing was written; next: mend that, then write again"
        )

    def _is_over(self, size: int) -> bool:
        active, frozen, _ = self._views.triple
        in_log = active.bytes + (0 if frozen is None else frozen.bytes)
        records = active.records + (0 if frozen is None else frozen.records)
        if records > 4 * self._limits.records_max:
            return True
        return in_log > 0 and in_log + size > 4 * self._limits.bytes_max

    # ---- the thread

    def _start(self) -> None:
        thread = threading.Thread(target=self._loop, name="sessiondb-checkpoint", daemon=True)
        thread.start()
        self._thread = thread

    def stop(self) -> None:
        """End the thread; a checkpoint that is running is finished first."""
        with self._attempted:
            self._stopping = True
            self._hurry.set()
            self._attempted.notify_all()
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        pause = 0.0
        while not self._stopping:
            wait = self._seconds_until_due()
            if wait is None or wait > 0:
                self._wake.wait(wait)
                self._wake.clear()
                continue
            pause = max(pause, self._retry_at - time.monotonic())
            hurried = pause > 0 and self._hurry.wait(pause)  # a write must not shorten the pause, a stop must
            if hurried:
                self._stopped.wait(min(pause, RETRY_S_MIN))
            if self._stopping:
                return
            try:
                self._run_once(self._pace(), only_if_due=True)
                pause = 0.0
            except SessionDBError as error:
                if self._log.failure is not None or isinstance(error, (ClosedError, FencedError)):
                    logger.error("checkpoints have ended: %s", error)
                    return
                if not hurried:
                    pause = min(max(pause * 2, RETRY_S_MIN), RETRY_S_MAX)
                    logger.error("a checkpoint failed, next attempt in %.1f s: %s", pause, error)

    def _pace(self) -> Pace:
        """Pauses, unless somebody waits for the end of it."""
        pacer = Pacer(self._backend.slice_s)
        return lambda: None if self._waiting else pacer()

    def _seconds_until_due(self) -> float | None:
        active, frozen, _ = self._views.triple
        # While attempts failed, more may have come than one checkpoint moves.
        too_much = active.records >= self._limits.records_max or active.bytes >= self._limits.bytes_max
        if self._due or frozen is not None or too_much:
            return 0.0
        if not active.first_us:
            return None
        age_s = (time.monotonic_ns() // 1000 - active.first_us) / 1e6
        return max(self._options.checkpoint_age_s - age_s, 0.0)


def must_be_stored(found: Position, target: Position) -> None:
    """Refuse to go on from what this owner did not store: a checkpoint upon another one's state would pass for theirs.

    Raises:
        FencedError: another owner was quicker.
        BackendError: the backend said that it had stored something, and has not.
    """
    if found.epoch > target.epoch:
        raise FencedError(
            f"another owner took the store over at {found}, after this one had stored {target}; the log is kept"
        )
    if found != target:
        raise BackendError(f"storing {target} reported success, but the backend is at {found}; the log is kept")


def _let_go(parts: list[object], pace: Pace) -> None:
    """Free a memtable in slices: in one piece that stops every other thread for milliseconds."""
    while parts:
        del parts[-LET_GO:]
        pace()


def _no_pause() -> None:
    """Whoever asked for the checkpoint waits for it: no pauses."""
