"""Indexes of an open store: declared and dropped by transactions, with the rules for what may be stored in step.

An index is built by the checkpoint that moves its declaration; writes go on meanwhile, and queries read everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from .backend import BackendView
from .commit import Committer
from .index_rules import IndexRules, check_image
from .memtable import Memtable
from .query import FieldReader
from .views import Views
from .wal.operations import Drop, Index, Unindex

__all__ = ["Indexes", "read_rules"]


def read_rules(rules: IndexRules, base: BackendView, memtable: Memtable) -> None:
    """Fill in what backend and log say."""
    for name in base.tables():
        rules.add(name, base.indexes(name))
    for name, layer in memtable.tables.items():
        if layer.dropped_lsn:
            rules.drop(name)
        for field, made in layer.indexes.items():
            if made:
                rules.add(name, [field])
            else:
                rules.discard(name, field)


class Indexes:
    """Makes and drops indexes; fields by their names in the stored documents.

    Args:
        views: where records are read.
        committer: commits the declarations.
        rules: what the committer checks.
        ask_for_checkpoint: called when there is an index to build.
    """

    def __init__(self, views: Views, committer: Committer, rules: IndexRules, ask_for_checkpoint: Callable[[], None]):
        self._views = views
        self._committer = committer
        self._rules = rules
        self._ask_for_checkpoint = ask_for_checkpoint
        self._changing = threading.Lock()

    def create(self, table: str, field: str) -> bool:
        """Keep an index on a field; built by the next checkpoint, which is begun at once.

        Returns:
            Whether there was none.

        Raises:
            ValidationError: a record that is there holds what cannot be indexed; nothing was written.
        """
        with self._changing:
            with self._views.pin() as view:
                if field in view.indexes(table):
                    return False
            with self._views.append_lock:
                self._rules.add(table, [field])  # from here on nobody stores what cannot be indexed
            try:
                with self._views.pin() as view:
                    reader = FieldReader([field])
                    for key, image in view.scan(table):
                        check_image(table, key, reader, image)
                self._committer.commit((Index(table, field),))
            except BaseException:
                self._reset(table)
                raise
        self._ask_for_checkpoint()
        return True

    def drop(self, table: str, field: str) -> bool:
        """Keep no index on a field any more.

        Returns:
            Whether there was one.
        """
        with self._changing:
            with self._views.pin() as view:
                if field not in view.indexes(table):
                    return False
            self._committer.commit((Unindex(table, field),))
            self._reset(table)
        return True

    def drop_table(self, table: str, sync: str | None) -> None:
        """Remove a table with all its records and indexes."""
        with self._changing:
            self._committer.commit((Drop(table),), sync)
            self._reset(table)

    def _reset(self, table: str) -> None:
        with self._views.append_lock, self._views.pin_under_lock() as view:
            self._rules.drop(table)
            self._rules.add(table, view.indexes(table))
