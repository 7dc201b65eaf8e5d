"""Steps of putting a new file in an old one's place."""

from __future__ import annotations

import os

from sessiondb.files import File, Files

__all__ = ["keep_owner", "read_whole", "remove", "sync_named"]

READ_BYTES = 4 << 20


def keep_owner(files: Files, path: str, file: File) -> None:
    """The new file gets the mode of the one at the path and, where that is allowed, its owner."""
    old = files.stat(path)
    if old is None:
        return
    file.set_mode(old.mode)
    if (old.uid, old.gid) != (os.geteuid(), os.getegid()):
        try:
            file.set_owner(old.uid, old.gid)
        except PermissionError:
            return  # not ours to give away: the writer owns what it writes
        file.set_mode(old.mode)  # a change of owner clears some bits


def sync_named(files: Files, path: str) -> None:
    """Make the file and its name durable: its writer may have been killed between the rename and the folder's sync."""
    file = files.open(path, read_only=True)
    try:
        file.fsync()
    finally:
        file.close()
    files.sync_folder(os.path.dirname(path))


def read_whole(files: Files, path: str) -> bytes:
    """All bytes of a file."""
    parts: list[bytes] = []
    offset = 0
    file = files.open(path, read_only=True)
    try:
        while part := file.pread(READ_BYTES, offset):
            parts.append(part)
            offset += len(part)
    finally:
        file.close()
    return b"".join(parts)


def remove(files: Files, path: str) -> None:
    """Remove a file if it is there."""
    if files.stat(path) is not None:
        files.unlink(path)
