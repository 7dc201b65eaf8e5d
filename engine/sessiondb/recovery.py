"""Recovery: from whatever a stop left behind to an open log.

Reading and judging is done by `sessiondb.wal.verdict`, which changes nothing. What this module then does, in the
order that makes a crash in the middle harmless:

1. sync the newest segment and the folder: frames and file names may be in caches only, and are about to be served.
   Then read past the page cache: a sync that failed once succeeds when it is asked again, and nothing was written;
2. copy what is cut (a torn tail, an unfinished segment) into ``quarantine/``, durably;
3. go on in the newest segment if nothing was cut and only zeros follow its last frame; otherwise start a new
   one, whose header says where its predecessor ends. Whenever history may have been cut the new segment's epoch is
   one higher than any that was ever used here;
4. begin HEAD anew.

A crash before the new segment is durable leaves the same bytes to be judged again, with the same verdict.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from .backend import Position
from .errors import CorruptionError, StoreFailedError
from .files import File, Files
from .lazy_logging import LazyLogger
from .memtable import Memtable
from .stats import RecoveryReport, TornTailReport
from .wal.format import (
    STATE_OPEN,
    STATE_POISONED,
    HeadSlot,
    SegmentHeader,
    SegmentName,
    decode_position,
    decode_segment_header,
)
from .wal.head import Head, newest_slot, read_head
from .wal.log import AppendLog, LogTail
from .wal.operations import Operation, decode_operations
from .wal.reader import Frame
from .wal.segment import SegmentSyncError, create_segment
from .wal.verdict import LogContents, read_log, segment_names

__all__ = ["Recovered", "check_epoch", "quarantine_cut", "recover", "replay_frame", "survey"]

logger = LazyLogger("sessiondb.recovery")


class Survey(NamedTuple):
    """What is in the log, before anything is done about it."""

    contents: LogContents
    memtable: Memtable
    head_last_lsn: int
    """The last LSN that HEAD knows of in the newest segment's epoch, a hint; 0 when it knows none."""
    poisoned: bool
    notices: list[str]
    began: float


class Recovered(NamedTuple):
    """A log that is ready to be appended to."""

    log: AppendLog
    memtable: Memtable
    report: RecoveryReport


def replay_frame(folder: str, name: SegmentName, frame: Frame) -> Sequence[Operation]:
    """The operations of a transaction frame.

    Raises:
        CorruptionError: the checksum is good but the payload is none: a writer's error, not the disk's.
    """
    try:
        return decode_operations(frame.payload)
    except ValueError as error:
        raise CorruptionError(
            f"the transaction does not decode: {error}",
            path=f"{folder}/{name}", offset=frame.offset, lsn=frame.header.lsn,
        ) from error  # fmt: skip


def survey(files: Files, folder: str, uuid: bytes, applied: int, *, drop_cache: bool = False) -> Survey:
    """Read the log into a memtable. Changes nothing.

    Args:
        files: the file system.
        folder: the log's folder; it exists.
        uuid: the store's.
        applied: the backend's applied LSN.
        drop_cache: read from the disk, not from the page cache; a poisoned store is read so in any case.

    Raises:
        CorruptionError: see `sessiondb.wal.verdict.read_log`.
        StoreFailedError: the operating system could not read it.
    """
    began = time.perf_counter()
    memtable = Memtable(applied)

    def take_in(name: SegmentName, frame: Frame) -> None:
        memtable.apply(frame.header.lsn, replay_frame(folder, name, frame), -1)

    try:
        head = read_head(files, folder)
        slot = newest_slot(head)
        if slot is not None and slot.uuid != uuid:
            slot = None
        poisoned = slot is not None and slot.state == STATE_POISONED
        contents = read_log(files, folder, uuid, applied, head, take_in, drop_cache=drop_cache or poisoned)
    except OSError as error:
        raise StoreFailedError(
            f"cannot read the log: {error.strerror or error} ({error.filename or folder}); nothing was changed"
        ) from error
    memtable.last_lsn = contents.last_lsn
    memtable.bytes = contents.bytes
    notices = []
    if poisoned:
        notices.append("the store was poisoned by a failed sync; the log was read from the disk, past the page cache")
    return Survey(contents, memtable, _head_last_lsn(head, uuid, contents), poisoned, notices, began)


def check_epoch(contents: LogContents, position: Position, folder: str) -> None:
    """Refuse a log that is older than the backend: somebody put back a copy of an earlier state.

    A segment of the current epoch is durable before anything else happens in that epoch, so a log never lags behind.

    Raises:
        CorruptionError: it does.
    """
    newest = contents.newest
    if newest is not None and newest.epoch < position.epoch:
        raise CorruptionError(
            f"the log is older than the store: it ends in epoch {newest.epoch}, the store is at {position}",
            path=folder, lsn=position.lsn, advice="put back the log that belongs to the store",
        )  # fmt: skip


def _head_last_lsn(head: bytes, uuid: bytes, contents: LogContents) -> int:
    position = None if contents.newest is None else decode_position(head, uuid, contents.newest.epoch)
    return 0 if position is None else position[0]


def recover(
    files: Files, folder: str, uuid: bytes, position: Position, *, is_new: bool, new_epoch: bool = False
) -> Recovered:
    """Make the log ready to be appended to. The caller holds every lock of the store.

    Args:
        files: the file system.
        folder: the log's folder; it exists.
        uuid: the store's identity, from the backend.
        position: what the backend holds.
        is_new: the backend was made just now, so a missing log is no surprise.
        new_epoch: the position's epoch begins now: go on in a new segment of it.

    Raises:
        CorruptionError: acknowledged data is damaged or missing; nothing was changed.
        StoreFailedError: the operating system refused.
    """
    _sync_newest(files, folder)
    found = survey(files, folder, uuid, position.lsn, drop_cache=True)
    if not new_epoch:
        check_epoch(found.contents, position, folder)
    elif found.contents.highest_epoch >= position.epoch:
        raise CorruptionError(
            f"the log has epoch {found.contents.highest_epoch}, the server gave out {position.epoch}: it was put back "
            "to an earlier state", path=folder,
            advice=f"find out which one is right; to go on without the log, move {folder} away",
        )  # fmt: skip
    try:
        tail, torn = _continue(files, folder, uuid, position, found, is_new, new_epoch)
        head = _begin_head(files, folder, tail, position)
    except SegmentSyncError as error:
        raise _cannot(folder, error.cause) from error
    except OSError as error:
        raise _cannot(folder, error) from error
    log = AppendLog(files, folder, tail, head, durable_lsn=tail.lsn)
    report = make_report(found, position, tail.segment.epoch, torn)
    _remove_leftovers(files, folder, found, position.lsn)
    if not report.clean:
        logger.info("%s: replayed %d transactions up to LSN %d", folder, report.transactions, report.last_lsn)
    for notice in report.notices:
        logger.warning("%s: %s", folder, notice)
    return Recovered(log, found.memtable, report)


def make_report(found: Survey, position: Position, epoch: int, torn: TornTailReport | None) -> RecoveryReport:
    """The report of a recovery, or of a survey that was left at that."""
    contents = found.contents
    notices = list(found.notices)
    if torn is not None:
        notices.append(
            f"a torn tail of {torn.bytes} bytes in {torn.segment} at offset {torn.offset} ({torn.problem}): "
            + (f"cut, a copy is in {torn.quarantine}" if torn.quarantine else "ignored, nothing was changed")
        )
    lost = max(0, found.head_last_lsn - contents.last_lsn)
    if lost:
        notices.append(
            f"{lost} transactions behind LSN {contents.last_lsn} were committed but not durable, and are gone"
        )
    quiet = not notices and not contents.transactions
    return RecoveryReport(
        clean=quiet,
        epoch=epoch,
        epoch_before=position.epoch if contents.newest is None else contents.newest.epoch,
        applied_lsn=position.lsn,
        last_lsn=contents.last_lsn,
        transactions=contents.transactions,
        records=found.memtable.records,
        bytes=contents.bytes,
        torn_tail=torn,
        undurable_lost=lost,
        notices=notices,
        duration_ms=(time.perf_counter() - found.began) * 1000,
    )


def torn_report(found: Survey, folder: str) -> TornTailReport | None:
    """The torn tail as it stands, for a store that is only read."""
    torn = found.contents.torn
    if torn is None:
        return None
    return TornTailReport(f"{folder}/{torn.segment}", torn.offset, torn.length, torn.problem, None)


def _cannot(folder: str, error: OSError) -> StoreFailedError:
    what = error.strerror or str(error)
    return StoreFailedError(
        f"cannot recover the log: {what} ({error.filename or folder}); what was there is kept; "
        "next: mend the cause and open again"
    )


def _continue(
    files: Files, folder: str, uuid: bytes, position: Position, found: Survey, is_new: bool, new_epoch: bool
) -> tuple[LogTail, TornTailReport | None]:
    """Steps 2 and 3: the tail to append at, and what was cut."""
    contents = found.contents
    newest = contents.newest
    if newest is None and not is_new:
        found.notices.append(f"the log was missing; the store is as the backend has it, at LSN {position.lsn}")
    torn = quarantine_cut(files, folder, contents)
    whole = newest is not None and torn is None and not contents.unfinished and not found.poisoned
    if newest is not None and whole and not contents.sealed and not new_epoch:
        file = files.open(f"{folder}/{newest.name}")
        return LogTail(newest, file, contents.end, contents.last_lsn, contents.last_crc, False), None
    epoch = newest.epoch if newest is not None and whole else max(contents.highest_epoch, position.epoch) + 1
    if new_epoch or (newest is None and is_new):
        epoch = position.epoch
    header = _next_header(uuid, epoch, contents)
    file, header = create_segment(files, folder, header)
    return LogTail(header, file, file.size(), contents.last_lsn, header.crc, False), torn


def _next_header(uuid: bytes, epoch: int, contents: LogContents) -> SegmentHeader:
    newest = contents.newest
    first, now = contents.last_lsn + 1, time.time_ns() // 1000
    if newest is None:
        return SegmentHeader(uuid, epoch, 0, first, 0, 0, 0, 0, now)
    return SegmentHeader(uuid, epoch, 0, first, newest.epoch, contents.last_crc, newest.first_lsn, contents.end, now)


def _sync_newest(files: Files, folder: str) -> None:
    """Step 1, before anything is read: what the newest segment holds is on the disk.

    Its writer may have been killed before it synced the frames, or the folder that holds the segment's name. If that
    sync fails, or the one of the process before us did, the next one succeeds all the same while the bytes are only in
    the page cache: so the log is read past the cache after it, and what is not on the disk is not found.

    Raises:
        StoreFailedError: the operating system refused.
    """
    try:
        names = segment_names(files, folder)
        if not names:
            return
        file = files.open(f"{folder}/{names[-1]}")
        try:
            file.fsync()
        finally:
            file.close()
        files.sync_folder(folder)
    except OSError as error:
        raise _cannot(folder, error) from error


def quarantine_cut(files: Files, folder: str, contents: LogContents) -> TornTailReport | None:
    """Keep a copy of what is no frame at the end of the log; returns what there was."""
    torn = _quarantine_tail(files, folder, contents)
    for name in contents.unfinished:
        _quarantine_unfinished(files, folder, name)
    return torn


def _quarantine_tail(files: Files, folder: str, contents: LogContents) -> TornTailReport | None:
    torn = contents.torn
    if torn is None:
        return None
    path = f"{folder}/{torn.segment}"
    copy = _quarantine(files, folder, path, torn.offset, torn.length)
    return TornTailReport(path, torn.offset, torn.length, torn.problem, copy)


def _quarantine_unfinished(files: Files, folder: str, name: SegmentName) -> None:
    path = f"{folder}/{name}"
    info = files.stat(path)
    if info is not None and info.size:
        _quarantine(files, folder, path, 0, info.size)
    files.unlink(path)
    files.sync_folder(folder)


def _quarantine(files: Files, folder: str, path: str, offset: int, length: int) -> str:
    """Copy bytes aside, durably, under a name of their own; returns the copy's path."""
    target_folder = f"{folder}/quarantine"
    if files.stat(target_folder) is None:
        files.mkdir(target_folder)
        files.sync_folder(folder)
    stem = f"{target_folder}/{path.rsplit('/', 1)[1]}-{offset:x}"
    number = 0
    while files.stat(target := f"{stem}.{number}.torn") is not None:
        number += 1
    source = files.open(path, read_only=True)
    try:
        copy = files.open(target, create=True, exclusive=True)
        try:
            _copy(source, copy, offset, length)
            copy.fsync()
        finally:
            copy.close()
    finally:
        source.close()
    files.sync_folder(target_folder)
    return target


def _copy(source: File, target: File, offset: int, length: int) -> None:
    done = 0
    while done < length:
        data = source.pread(min(1 << 20, length - done), offset + done)
        if not data:
            break
        target.pwrite(data, done)
        done += len(data)


def _begin_head(files: Files, folder: str, tail: LogTail, position: Position) -> Head:
    slot = HeadSlot(
        uuid=tail.segment.uuid,
        boot_id=files.boot_id(),
        epoch=tail.segment.epoch,
        state=STATE_OPEN,
        segment=tail.segment.name,
        applied=position.lsn,
        sequence=0,
        end=tail.end,
        last_lsn=tail.lsn,
    )
    head = Head.begin(files, folder, slot, tail.lsn)
    head.set_owner(True)
    return head


def _remove_leftovers(files: Files, folder: str, found: Survey, applied: int) -> None:
    """Remove segments that nothing needs: a checkpoint's unlink that a crash undid, a history that was cut."""
    for name in found.contents.leftovers:
        path = f"{folder}/{name}"
        try:
            file = files.open(path, read_only=True)
            try:
                header = decode_segment_header(file.pread(128, 0))
            finally:
                file.close()
            if header is not None and header.first_lsn <= applied + 1:
                files.unlink(path)
        except OSError as error:
            logger.warning("%s: a segment that is not needed any more could not be removed: %s", path, error)
