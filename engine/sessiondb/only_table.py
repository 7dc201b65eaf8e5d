"""Stores that hold one table, of records that the backend has a look at: session files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .backend import Backend
from .errors import UsageError
from .wal.operations import Operation, Put

__all__ = ["must_be_only_table", "operations_check"]


def must_be_only_table(backend: Backend, name: str) -> None:
    """Refuse every other table.

    Raises:
        UsageError: the store cannot hold this one.
    """
    only = backend.only_table
    if only is None or name == only:
        return
    step = "use that one, or move everything to a store that holds any table, with `sessiondb migrate`"
    layout = backend.layout()
    if layout is not None and layout.name == "empty":
        step += "; or, if nothing was in the empty file, remove it and its .wal folder to have a new store made"
    raise UsageError(f"a session file holds one table, {only!r}, and cannot hold {name!r}; next: {step}")


def operations_check(backend: Backend) -> Callable[[Sequence[Operation]], None] | None:
    """What looks at operations before they are logged; ``None``: they may be any."""
    if backend.only_table is None:
        return None

    def check(operations: Sequence[Operation]) -> None:
        for operation in operations:
            must_be_only_table(backend, operation.table)
            if type(operation) is Put:
                backend.check_record(operation.key, operation.image)

    return check
