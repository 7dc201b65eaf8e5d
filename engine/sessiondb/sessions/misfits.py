"""Indexes of sessions, and what is stored that keeps a field from having one."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ValidationError
from ..index_rules import check_image
from ..lazy_logging import LazyLogger
from ..planning import indexable
from ..query import FieldReader
from ..table import Table
from .codec import document_of
from .record import SessionMisfit, SessionRecord

__all__ = ["INDEXED", "declare_indexes", "unindexable"]

INDEXED = ("task_id", "repo_name", "created_at")
"""The fields that have an index."""

logger = LazyLogger("sessiondb.sessions")


def declare_indexes(table: Table[SessionRecord]) -> None:
    """Keep an index on each of the fields, unless nothing may be written.

    A record that cannot be indexed does not keep all others from being read: then there is no index on the field,
    which says a warning, and answers are the same but slower.
    """
    if table._store.options.read_only:
        return
    for name in INDEXED:
        try:
            table.create_index(name)
        except ValidationError as error:
            logger.warning("the sessions in %s have no index on %s: %s", table._store.location, name, error)


def unindexable(table: Table[SessionRecord]) -> Iterator[SessionMisfit]:
    """What holds a value that no index can hold, in a field that therefore has none."""
    there = table.indexes()
    fields = [indexable(table._codec, name) for name in INDEXED if name not in there]
    if not fields:
        return
    reader = FieldReader(fields)
    with table._pin() as view:
        for key, image in view.scan(table.name):
            try:
                check_image(table.name, key, reader, image)
            except ValidationError as error:
                yield SessionMisfit(key, error.path, error.problem, document_of(image), error)
