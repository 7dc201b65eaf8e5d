"""What somebody else wrote into the location of a store becomes a transaction of it.

A file that belongs to another program too may be changed by it while no sessiondb has it open. When the log holds
nothing, what the file says now is taken for the state, and logged, so that every LSN still names one state: the
transaction drops the table and puts all that is there. When the log holds transactions that the file never got, nobody
can tell what is meant: both are kept, and opening is refused.
"""

from __future__ import annotations

from .backend import Backend, BackendView, ForeignEdit, Position
from .errors import FencedError, TransactionTooLargeError, ValidationError
from .files import Files
from .index_rules import check_image
from .query import FieldReader
from .recovery import survey
from .wal.format import PAYLOAD_BYTES_MAX
from .wal.log import AppendLog
from .wal.operations import Drop, Index, Operation, Put, encode_operations

__all__ = ["adopt", "must_be_empty", "refused"]


def must_be_empty(files: Files, folder: str, uuid: bytes, position: Position, edit: ForeignEdit) -> None:
    """Refuse an edit under a log that holds something; nothing is changed.

    Raises:
        FencedError: it does.
        CorruptionError: the log is damaged.
    """
    last = survey(files, folder, uuid, position.lsn).contents.last_lsn
    if last > edit.logged_lsn:
        raise refused(folder, position, last)


def refused(folder: str, position: Position, last: int) -> FencedError:
    """The error for a file and a log that both changed."""
    return FencedError(
        f"another program changed the file behind LSN {position.lsn}, and the log holds what the file never got (LSN "
        f"{position.lsn + 1} to {last}, {folder}); both are kept as they are; next: decide with `sessiondb repair "
        "--keep-file` or `--keep-log`, once there is such a verb; today: `sessiondb log dump` shows what the log "
        f"holds; to go on with the file, move {folder} away; to go on with the log, put the file back as it was"
    )


def adopt(log: AppendLog, backend: Backend, edit: ForeignEdit) -> Position:
    """Log what the backend shows, and let the backend take it for the state after that.

    Args:
        log: recovered, with nothing that the backend lacks but what an earlier attempt has logged.
        backend: which found the edit.
        edit: what it found.

    Raises:
        FencedError: somebody else has changed it again.
        TransactionTooLargeError: it does not fit into one transaction.
        StoreFailedError: the log or the backend failed; the next one to open tries again.
    """
    table = backend.only_table
    assert table is not None  # what has several tables is nobody else's
    view = backend.read()
    fields = [field for field in sorted(view.indexes(table)) if _is_indexable(view, table, field)]
    operations: list[Operation] = [Drop(table)]
    operations += [Put(table, key, image) for key, image in view.scan(table)]
    operations += [Index(table, field) for field in fields]
    payload = encode_operations(operations)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise TransactionTooLargeError(
            f"another program changed the file, and with {len(payload)} bytes it does not fit into one transaction "
            f"(the limit is {PAYLOAD_BYTES_MAX}); next: move {log.folder} away, and open it anew"
        )
    is_logged = edit.is_logged and log.last_lsn == edit.logged_lsn
    lsn = log.last_lsn if is_logged else log.last_lsn + 1

    def write() -> None:
        if not is_logged:
            log.append(payload)
        log.wait_durable(lsn)

    position = Position(log.epoch, lsn)
    backend.adopt(position, fields, write)
    log.head.set_applied(lsn, log.tail.end, lsn)
    return position


def _is_indexable(view: BackendView, table: str, field: str) -> bool:
    """Whether the index can stay: the other program knew nothing of what it may not hold."""
    reader = FieldReader([field])
    try:
        for key, image in view.scan(table):
            check_image(table, key, reader, image)
    except ValidationError:
        return False
    return True
