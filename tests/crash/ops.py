"""The words of a simulated disk's record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["FOLDER", "HALF", "LATE", "WHOLE", "Op", "Stored", "describe"]

FOLDER = 0
"""Stands for the inode of any folder: folders have names, but nothing else that matters."""
HALF = "half"
"""What a hook returns to have half of a write done before it fails with ENOSPC."""
WHOLE = "whole"
"""What a hook returns to have all of a write (or step) done before it fails with ENOSPC."""
LATE = "late"
"""What a hook returns to have a step fail on its way to a server: it is done later (`SimulatedDisk.land`)."""


class Stored(NamedTuple):
    """All that a backend with file I/O of its own holds."""

    digest: bytes
    content: Any
    """What the backend was put into; never changed."""


class Op(NamedTuple):
    """One recorded operation."""

    kind: str
    """create, write, sync, sync_failed, replace, link, unlink, mkdir, sync_folder, step; or an announcement: issued,
    returned, ack, opened, history."""
    path: str
    inode: int = -1
    offset: int = 0
    data: Any = b""
    """The bytes written; for a replace or link the source path; for a step what is `Stored` from then on; for an
    announcement what was announced."""
    mapped: bool = False


def describe(ops: Iterable[Op]) -> str:
    """A log for people, a line an operation."""
    lines = []
    for index, op in enumerate(ops):
        detail = f" {len(op.data)} bytes at {op.offset}" if op.kind == "write" else ""
        if op.kind in ("returned", "ack", "opened"):
            detail = f" {op.data}"
        elif op.kind == "issued":
            detail = f" {op.data[0]}"
        elif op.kind == "step":
            detail = f" {op.data.digest.hex()}"
        lines.append(f"{index:4} {op.kind}{'(mapped)' if op.mapped else ''} {op.path}{detail}")
    return "\n".join(lines)
