"""Writing a table: commits of what was computed from records that somebody else may be changing.

What reads before it writes computes its operations without a lock and names what it has read. Under the append lock
the committer asks whether that has changed meanwhile; then all of it starts again.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from .backend import Position
from .codec import RecordCodec
from .commit import Committer, RefusingCommitter
from .config import SyncLevel
from .errors import ConflictError
from .reading import TableReader
from .store import Store
from .views import View, Views
from .wal.operations import Operation, Put, PutBytes

__all__ = ["RANGE_ATTEMPTS", "TableWriter"]

T = TypeVar("T")
ATTEMPTS_MAX = 1_000
"""For single records: others changed the same ones so many times in a row."""
RANGE_ATTEMPTS = 10
"""For ranges: after so many attempts the others have to wait."""


class TableWriter(TableReader[T], Generic[T]):
    """What the changes of `sessiondb.Table` are made of."""

    def __init__(self, store: Store, name: str, codec: RecordCodec[T]):
        super().__init__(store.views, name, codec)
        self._store = store
        self._committer: Committer | RefusingCommitter = store.committer
        if store.options.read_only:
            self._committer = RefusingCommitter(store.must_be_writable)
        self._put_operation: builtins.type[Put | PutBytes] = PutBytes if codec.kind == "bytes" else Put

    def _disconnect(self, reason: str) -> None:
        """The database was closed: every later call says so, without a check in any of them."""
        self._views = Views.closed(reason)
        self._committer = RefusingCommitter(lambda: self._views.triple)

    def _image(self, key: str) -> bytes:
        image = self._views.get(self.name, key)
        if image is None:
            raise KeyError(key)
        return image

    def _commit_range(
        self, build: Callable[[View], list[Operation]], start: str, stop: str | None, sync: SyncLevel | None
    ) -> None:
        """Commit what `build` computes from all records with ``start <= key < stop``.

        First without a lock, again while others change one of them; in the end they have to wait.
        """
        views = self._views
        for _ in range(RANGE_ATTEMPTS):
            with self._pin() as view:
                operations = build(view)
            if not operations:
                return
            lsn = view.lsn
            try:
                self._committer.commit(
                    operations,
                    sync,
                    lambda lsn=lsn: not views.range_changed_since(lsn, self.name, start, stop),  # type: ignore[misc]
                )
                return
            except ConflictError:
                continue
        self._committer.commit_built(build, sync)

    def _put_checked(self, operations: list[Operation], sync: SyncLevel | None) -> Position:
        """Put, unless that would overwrite a record of a later version."""
        keys = [operation.key for operation in operations]  # type: ignore[union-attr]

        def build() -> list[Operation]:
            with self._pin() as view:
                for key, image in view.get_many(self.name, keys).items():
                    self._codec.check_replaced(key, image)
            return operations

        return self._commit_reading(keys, build, sync)

    def _commit_reading(
        self, keys: Iterable[str], build: Callable[[], list[Operation]], sync: SyncLevel | None
    ) -> Position:
        """Commit what `build` computes from the records under `keys`, again if one of them changed meanwhile."""
        views = self._views
        for _ in range(ATTEMPTS_MAX):
            lsn = views.visible_lsn
            operations = build()
            if not operations:
                return Position(self._store.log.epoch, lsn)
            try:
                return self._committer.commit(
                    operations,
                    sync,
                    lambda lsn=lsn: not views.changed_since(lsn, self.name, keys),  # type: ignore[misc]
                )
            except ConflictError:
                continue
        raise _too_many_conflicts(self.name)


def _too_many_conflicts(table: str) -> ConflictError:
    return ConflictError(
        f"table {table!r}: others changed the same records {ATTEMPTS_MAX} times in a row; next: try again later"
    )
