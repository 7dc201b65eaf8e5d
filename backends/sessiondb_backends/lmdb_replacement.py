"""A store in LMDB that is made inside the folder of another one, and takes its place: one file takes another's."""

from __future__ import annotations

import os

from sessiondb.backend import Backend
from sessiondb.files import Files
from sessiondb.replacement import Replacement

from .file_replacement import COPYING, FileReplacement, copy_file, free_name, remove_files
from .lmdb_place import CREATING, DATA, LOCK, MIGRATING

__all__ = ["begin", "copy", "remove_leftovers"]


def begin(files: Files, backend: type[Backend], path: str, layout: str | None) -> Replacement:
    """Begin a replacement: inside, so that it is in the same file system, also where the folder is a mount point.

    LMDB's lock file goes with the old data file: its table of readers knows the transactions of that one.
    """
    backend.must_have_layout(layout)
    made = f"{path}/{MIGRATING}"
    return FileReplacement(files, backend, path, made, f"{made}/{DATA}", f"{path}/{DATA}", helpers=[f"{path}/{LOCK}"])


def copy(files: Files, path: str, mark: str) -> tuple[str, str]:
    """Copy the data file into a folder beside this one, which is renamed when it is complete."""
    made = f"{path}{COPYING}"
    _remove_folder(files, made)
    target = free_name(files, path, mark)
    name = made
    try:
        files.mkdir(made)
        copy_file(files, f"{path}/{DATA}", f"{made}/{DATA}")
        files.sync_folder(made)
        files.replace(made, target)
        name = target
        files.sync_folder(os.path.dirname(path))
    except BaseException:
        _remove_folder(files, name)
        raise
    return target, target


def remove_leftovers(files: Files, path: str) -> list[str]:
    """Remove the folders of an unfinished replacement or copy; says which were there."""
    found = [folder for folder in (f"{path}/{MIGRATING}", f"{path}{COPYING}") if files.stat(folder) is not None]
    for folder in found:
        _remove_folder(files, folder)
    return found


def _remove_folder(files: Files, folder: str) -> None:
    if files.stat(folder) is None:
        return
    remove_files(files, [f"{folder}/{name}" for name in (DATA, LOCK, *CREATING)])
    files.rmdir(folder)
    files.sync_folder(os.path.dirname(folder))
