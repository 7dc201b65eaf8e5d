"""The backend protocol: what holds the applied state, and the contract it keeps.

A backend stores bytes under (table, key) and the position they are at. It knows nothing of records, logs or
threads. `sessiondb.testing.BackendContract` has one test for each sentence of this file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import msgspec

from .query import Condition, Order
from .replacement import Replaceable

if TYPE_CHECKING:
    from .files import Files
    from .stats import LayoutStats

__all__ = [
    "Backend",
    "BackendView",
    "Changes",
    "ForeignEdit",
    "Found",
    "Identity",
    "Ownership",
    "Pace",
    "Position",
    "TableChanges",
    "TableKind",
]

TableKind = Literal["json", "bytes"]
"""What a table's images are: compact JSON text, or raw bytes."""

Pace = Callable[[], None]
"""Called between small pieces of work; it may sleep, so that others can run."""


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """A place in the history of one store: opaque to callers, ordered, printed as ``epoch:lsn``."""

    epoch: int
    lsn: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.lsn}"


class Identity(NamedTuple):
    """Which store this is and how it is written."""

    uuid: bytes
    """16 random bytes, given when the store was made; the log carries the same."""
    format_version: int


_NONE: Mapping[str, bool] = {}


class TableChanges(NamedTuple):
    """What happens to one table in a checkpoint: first the drop, if any, then the images."""

    kind: TableKind | None
    """The kind of the images; ``None`` when all of them are deletions (then nothing is created)."""
    dropped: bool
    """True: the table as it was goes, with all its records and its kind."""
    images: dict[str, bytes | None]
    """Key to the record's bytes; ``None`` deletes the key, and is harmless where it is absent."""
    indexes: Mapping[str, bool] = _NONE
    """Field to whether it has an index from now on: made over all records, or removed; harmless where nothing is to do.
    An index makes the table, as a record does (`kind` is ``json`` then)."""
    recreated: Sequence[str] = ()
    """Keys that were deleted before they got the record in `images`, in the order of their last deletion: whoever keeps
    records in the order in which they were made puts these last, as if the deletion had come in an earlier call."""


Changes = dict[str, TableChanges]
"""Table name to what happens to it."""


class Found(NamedTuple):
    """What a backend found: all records that satisfy the conditions are among `rows`, each once."""

    rows: Iterator[tuple[str, bytes]]
    """Keys and images."""
    exact: bool
    """True: every row satisfies all conditions. False: the engine looks at each of them."""
    ordered: bool
    """True: the rows come in the order asked for. False: in any."""


class BackendView(ABC):
    """One state of the backend, at one position, for as long as the view is referenced.

    Safe for many threads. Nothing that `Backend.apply` does later shows in it. Whatever it holds is released by
    `close` or when the view is garbage.
    """

    position: Position

    @abstractmethod
    def tables(self) -> dict[str, TableKind]:
        """Every table with its kind; a table exists from its first record or index until it is dropped."""

    @abstractmethod
    def get(self, table: str, key: str) -> bytes | None:
        """The record's bytes, or ``None`` when table or key is absent."""

    @abstractmethod
    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, bytes]:
        """The bytes of those keys that are present."""

    @abstractmethod
    def scan(
        self, table: str, start: str | None = None, stop: str | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """Records with ``start <= key < stop`` in the order of the keys' UTF-8 bytes (or its reverse)."""

    @abstractmethod
    def count(self, table: str) -> int:
        """The number of records of the table, 0 when it is absent."""

    def find(
        self, table: str, where: Sequence[Condition], order: Sequence[Order] = (), limit: int | None = None
    ) -> Found:
        """Records of a ``json`` table that satisfy all conditions, as `sessiondb.query` defines them.

        A backend that cannot filter returns more and says that it is not exact; one that cannot sort says that the
        rows are not ordered. Without `order` the order is that of the keys. Only rows that are exact and ordered may
        end early, when there are `limit` of them. Without this method everything is read and the engine decides.
        """
        return Found(self.scan(table), exact=not where, ordered=not order)

    def count_found(self, table: str, where: Sequence[Condition]) -> int | None:
        """How many records satisfy all conditions; ``None``: the engine counts what `find` returns."""
        return None

    def indexes(self, table: str) -> frozenset[str]:
        """The fields that were declared to have an index; empty when the table is absent.

        Also a backend that builds none remembers them: another one, or a later version, may.
        """
        return frozenset()

    def close(self) -> None:  # noqa: B027 - a view that holds nothing need not say so
        """Release what the view holds; it is not used after that."""


class ForeignEdit(NamedTuple):
    """What the backend shows was written by somebody else than sessiondb."""

    logged_lsn: int
    """Up to this LSN the log may hold nothing but what was applied and what `Backend.adopt` has announced."""
    is_logged: bool
    """Whether the transaction of that LSN, if the log has it, is one that makes what the backend shows now."""


class Ownership(NamedTuple):
    """Who writes to a store on a server."""

    is_current: bool
    """Whether the owner that was asked about is the one that writes."""
    lost_after: int | None
    """When somebody else took over from the owner that was asked about: the applied LSN at that moment. What it
    committed behind never reached the server. ``None``: it owns the store, or never did."""
    host: str
    """The name of the machine that owns the store now; empty when nobody has written yet."""
    since_us: int = 0
    """Since when it does, by the server's clock, in microseconds since 1970; 0: not known. For people."""


class Backend(Replaceable, ABC):
    """A location that holds the applied state of one store.

    The engine calls `apply` from one thread at a time and everything else from any. All methods raise
    `BackendError` (or a subclass) for a failure that may pass, `CorruptionError` for damage, and never answer a
    failure as absence.
    """

    scheme: ClassVar[str]
    """The URL scheme, also shown as the backend's name."""
    whole_file: ClassVar[bool] = False
    """True: every `apply` rewrites everything, so checkpoints are rarer, and always made at a clean close."""
    durable: ClassVar[bool] = True
    """False: nothing outlives the process; the store has no log."""
    remote: ClassVar[bool] = False
    """True: the store is on a server that other hosts reach too. Whoever opens it to write takes it over; the log is
    this host's. `path` is what stands behind the scheme in the URL."""
    slice_s: ClassVar[float] = 0.0002
    """How long `apply` works in the background between two pauses, in seconds: whoever commits meanwhile may have to
    wait so long, several times. Less for a library that does not let other threads run while it works."""
    cached: ClassVar[bool] = False
    """True: `BackendView.get` costs enough for the engine to keep records that were read in a cache."""
    layouts: ClassVar[tuple[str, ...]] = ()
    """What may be asked for as ``layout=``, where there is more than one way to write a store. `open` has an argument
    of this name then, and gets it only when a caller of `sessiondb.open` gave one."""
    only_table: str | None = None
    """The one table that this store can hold; `check_record` is called for its records. ``None``: any table."""
    is_new: bool = False
    """True: `open` found the store, but it has its identity only since then, so that no log can belong to it."""

    @classmethod
    @abstractmethod
    def log_folder(cls, path: str) -> str | None:
        """Where the log of a store at `path` lives; ``None`` for a backend that is not durable."""

    @classmethod
    @abstractmethod
    def exists(cls, files: Files, path: str) -> bool:
        """Whether a store of this kind is at the path; False when nothing is there. Changes nothing.

        Raises:
            WrongBackendError: something else is there.
        """

    @classmethod
    @abstractmethod
    def open(cls, files: Files, path: str, *, create: bool, read_only: bool = False) -> Backend:
        """Open the store at the path, or with `create` make a new one with position 1:0 and no tables.

        The engine calls this while it holds the store's locks. Unless `read_only`, what the backend shows is durable
        on return, also what an earlier process wrote and had no time to sync: the log is let go because of it. With
        `read_only` nothing is changed or synced. All files are touched through `files`.

        Raises:
            WrongBackendError: something else is there; it is left untouched.
            CorruptionError: the store is damaged.
            UnsupportedFormatError: a later version wrote it.
        """

    @abstractmethod
    def identity(self) -> Identity:
        """The identity stored at the location."""

    @abstractmethod
    def position(self) -> Position:
        """The position as stored now, read from the location itself, not from memory."""

    @abstractmethod
    def read(self) -> BackendView:
        """A view of the state as stored now."""

    @abstractmethod
    def apply(self, changes: Changes, expected: Position, position: Position, pace: Pace) -> None:
        """Make all changes and store the new position, in one atomic step that is durable on return.

        When the stored position is `position` already (an earlier call did its work, but failed after it), the
        same changes are made again, so that they are durable on return. An image and a position reach the disk
        together or not at all. `changes` is never mutated.

        Raises:
            FencedError: the stored position is neither `expected` nor `position`; nothing was changed.
            BackendError: it failed; the state is the old one or the new one, never a mixture.
        """

    def layout(self) -> LayoutStats | None:
        """How the store is written, when that is not the backend's own way."""
        return None

    def check_record(self, key: str, image: bytes) -> None:
        """Called before a record of the only table is logged, and never while `apply` runs.

        Raises:
            ValidationError: this store cannot hold it.
        """

    # ---- what somebody else wrote into the location

    def foreign_edit(self) -> ForeignEdit | None:
        """What was found when the store was opened; ``None``: it is as sessiondb left it.

        Until it is adopted, `position` and the views have the position from before.
        """
        return None

    def adopt(self, position: Position, fields: Iterable[str], log: Callable[[], None]) -> None:
        """Take what the backend shows for the state at this position, with indexes on these fields.

        Durable on return. First it is announced, durably; then `log` is called, which makes the transaction of this
        position durable in the log. So after a crash in between the next one to open knows what that transaction is.

        Raises:
            FencedError: somebody else has changed it again.
        """
        raise NotImplementedError(f"nobody else writes to a {self.scheme} store")

    def ownership(self, owner: bytes) -> Ownership:
        """Who owns a remote store, and what became of this owner's time."""
        raise NotImplementedError(f"{self.scheme} is not on a server")

    def take_over(self, owner: bytes, before: bytes, host: str, expected: Position) -> Position:
        """Make this owner the one that writes, in a new epoch; `apply` of any other one is fenced from here on.

        Durable on return. When the connection is lost meanwhile it may have happened or not, or still happen; but not
        any more after the store was opened to write anew.

        Args:
            owner: 16 bytes that nobody was called before.
            before: what the same log was called before, when that is the owner; else empty. It is forgotten.
            host: the name of the machine, for people.
            expected: the stored position.

        Returns:
            The stored position with the new epoch.

        Raises:
            FencedError: the stored position is not the expected one: somebody else came in between; try again.
        """
        raise NotImplementedError(f"{self.scheme} is not on a server")

    def settle(self) -> None:
        """Called after each `apply`, when the view of what it stored is in use and the one before it may be let go.

        For what must wait for that, such as giving space back. It changes nothing that a view shows and is not needed
        for durability; a failure may be raised as `BackendError` and is logged, no more.
        """

    @abstractmethod
    def check(self) -> list[str]:
        """Read everything and say what is wrong, a sentence each; empty when all is well."""

    def size(self) -> int:
        """Bytes on disk, 0 where that means nothing."""
        return 0

    @abstractmethod
    def close(self) -> None:
        """Release the location; a second call does nothing. Views stay usable."""

    def abandon(self) -> None:
        """In a forked child: forget everything, and touch nothing that is the parent's; views are not used again."""
