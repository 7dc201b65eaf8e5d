"""Every error of sessiondb, in one tree.

::

    SessionDBError
    ├── UsageError                  the call is wrong: change the program
    ├── ConfigError                 a setting is wrong: change the setting it names
    ├── ValidationError             the record, key or field is not storable: change the record
    ├── TransactionTooLargeError    split the transaction
    ├── DuplicateKeyError           the key exists: put replaces, patch changes
    ├── ConflictError               somebody else was first: run the transaction again
    ├── StoreBusyError              another process has the store: wait, or end that process
    ├── ReadOnlyError               opened read-only: open for writing
    ├── ClosedError                 the database was closed, or belongs to the parent process
    ├── CorruptionError             a stored byte is wrong: do not write; verify, restore or repair
    ├── UnsupportedFormatError      written by a newer version: upgrade sessiondb, or the program
    ├── WrongBackendError           the location holds something else: choose the right location
    └── StoreFailedError            the store cannot do this now: mend the cause, then open it again
        ├── DurabilityUnknownError  the write may or may not survive: open again and look
        ├── FencedError             another owner took the store over: stop writing here
        └── BackendError            the backend refused or failed: see the cause
            └── BackendUnavailableError  the backend cannot be reached now: try again later

A missing key is never an error of this tree: reads answer ``None``, ``False`` or ``KeyError`` as a dict does.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BackendUnavailableError",
    "ClosedError",
    "ConfigError",
    "ConflictError",
    "CorruptionError",
    "DuplicateKeyError",
    "DurabilityUnknownError",
    "FencedError",
    "ReadOnlyError",
    "SessionDBError",
    "StoreBusyError",
    "StoreFailedError",
    "TransactionTooLargeError",
    "UnsupportedFormatError",
    "UsageError",
    "ValidationError",
    "WrongBackendError",
]


class SessionDBError(Exception):
    """The root: catch it to catch whatever sessiondb raises on purpose. It can be pickled and copied."""

    def __reduce__(self) -> tuple[object, ...]:
        # As Exception does it, but without calling __init__ of the class again: its arguments are not `args`.
        return _rebuilt, (type(self), self.args), self.__dict__


def _rebuilt(kind: type[SessionDBError], args: tuple[object, ...]) -> SessionDBError:
    error = kind.__new__(kind)
    error.args = args
    return error


class UsageError(SessionDBError):
    """The call itself is wrong (a bad argument, conflicting options): change the calling program."""


class ConfigError(SessionDBError):
    """A setting is unknown or has a bad value: correct it where the message says it comes from."""


class ValidationError(SessionDBError):
    """A key, record or field cannot be stored faithfully: change it. Nothing was logged.

    Attributes:
        table: the table's name, or ``None`` when no table is involved.
        key: the record's key, or ``None``.
        path: where in the record, as ``$.a[2].b``; ``$`` is the record itself.
    """

    def __init__(self, problem: str, *, table: str | None = None, key: object = None, path: str = "$"):
        self.problem = problem
        self.table = table
        self.key = key
        self.path = path
        where = "" if table is None else f"table {table!r}: "
        what = "" if key is None else f"key {_short(key)}: "
        super().__init__(f"{where}{what}{problem}" + ("" if path == "$" else f" (at {path})"))


class TransactionTooLargeError(SessionDBError):
    """The transaction or record exceeds the limit on write: split it. Nothing was logged."""


class DuplicateKeyError(SessionDBError):
    """``insert`` found a record with this key: use ``put`` to replace or ``patch`` to change it."""

    def __init__(self, table: str, key: str):
        self.table = table
        self.key = key
        super().__init__(f"table {table!r}: key {_short(key)} exists already; put() replaces, patch() changes it")


class ConflictError(SessionDBError):
    """A record that was read has changed meanwhile: run the whole transaction again."""


class StoreBusyError(SessionDBError):
    """Another process holds the store: wait for it, or end it; the message names it."""


class ReadOnlyError(SessionDBError):
    """The database was opened read-only: open it for writing to change it."""


class ClosedError(SessionDBError):
    """The database is closed, or it was opened by the process this one was forked from: open it again."""


class CorruptionError(SessionDBError):
    """Stored bytes are damaged or missing. Nothing was changed; do not write until it is resolved.

    Attributes:
        path: the damaged file or folder.
        offset: byte offset in that file, or ``None`` when the file as a whole is meant.
        lsn: the first log sequence number that is affected, or ``None``.
    """

    def __init__(self, problem: str, *, path: str, offset: int | None = None, lsn: int | None = None, advice: str = ""):
        self.problem = problem
        self.path = path
        self.offset = offset
        self.lsn = lsn
        place = path if offset is None else f"{path}, offset {offset}"
        number = "" if lsn is None else f", LSN {lsn}"
        step = advice or "copy the store aside, then run `sessiondb log verify` on it and restore a backup"
        super().__init__(f"{problem} ({place}{number}); next: {step}")


class UnsupportedFormatError(SessionDBError):
    """The file, or a record, was written by a newer version of sessiondb or of the program; it is untouched."""


class WrongBackendError(SessionDBError):
    """The location holds another kind of file than expected: it was left untouched."""


class StoreFailedError(SessionDBError):
    """The store cannot do this (disk full, I/O error, failed checkpoint): mend the cause named."""


class DurabilityUnknownError(StoreFailedError):
    """A sync failed or the store changed hands: the write may or may not survive. Open again and look."""


class FencedError(StoreFailedError):
    """Another owner took the store over: this one must stop writing."""


class BackendError(StoreFailedError):
    """The backend refused or failed; the message and ``__cause__`` say why."""


class BackendUnavailableError(BackendError):
    """The backend cannot be reached now: try again later; the log keeps what was written."""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
