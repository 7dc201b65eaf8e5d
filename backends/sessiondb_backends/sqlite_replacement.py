"""A SQLite file that is made beside another one, and takes its place.

SQLite lays the log that it finds beside a file over that file, whoever wrote it. So no log may be beside the place when
the new file comes there, and none belongs to the new file: both are emptied and removed before.
"""

from __future__ import annotations

import gc

from sessiondb.backend import Backend
from sessiondb.errors import BackendError
from sessiondb.files import Files
from sessiondb.replacement import Replacement

from .file_replacement import BESIDE, COPYING, FileReplacement, copy_beside, remove_files
from .sqlite_connection import is_open, peeking
from .sqlite_file import LOGS

__all__ = ["begin", "copy", "remove_leftovers"]

INDEX = "-shm"
"""Behind the name of the file: the index of SQLite's log."""


def begin(files: Files, backend: type[Backend], path: str, layout: str | None) -> Replacement:
    """Begin a replacement."""
    backend.must_have_layout(layout)
    made = f"{path}{BESIDE}"
    logs = [f"{name}{suffix}" for name in (path, made) for suffix in LOGS]
    return FileReplacement(
        files, backend, path, made, made, path, rivals=logs, helpers=[f"{path}{INDEX}", f"{made}{INDEX}"]
    )


def copy(files: Files, path: str, mark: str) -> tuple[str, str]:
    """Copy the file: SQLite's log of it is empty, and this process has no connection to it."""
    for suffix in LOGS:
        log = files.stat(path + suffix)
        if log is not None and log.size:
            raise BackendError(
                f"cannot copy {path}: another program has it open, and what it wrote is still in {path}{suffix}; "
                "next: end that program and try again"
            )
    info = files.stat(path)
    if info is None:
        raise BackendError(f"the database file {path} is missing")
    with peeking(info.identity) as alone:  # closing a descriptor of ours would take SQLite's locks away
        if not alone:
            raise BackendError(f"{path} is still open in this process; next: close it, and its snapshots")
        return copy_beside(files, path, mark)


def remove_leftovers(files: Files, path: str) -> list[str]:
    """Remove the files of an unfinished replacement or copy; says which were there."""
    info = files.stat(path)
    if info is not None and is_open(info.identity):
        # An attempt that failed in this process left views in its traceback: SQLite's log cannot be emptied as long as
        # one of them reads.
        gc.collect()
    made = f"{path}{BESIDE}"
    names = [f"{name}{suffix}" for name in (made, f"{made}.tmp") for suffix in (*LOGS, INDEX, "")]
    return remove_files(files, [*names, f"{path}{COPYING}"])
