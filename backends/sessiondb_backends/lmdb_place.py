"""What is at the location of a store in LMDB, judged before LMDB sees it; and how a new one comes there.

The order of a creation, and what each step is for:

1. make the database under another name (``creating.mdb``), commit, close, fsync: nothing looks at that name;
2. rename it to ``data.mdb``: a store is there as a whole or not at all;
3. sync the folder, and the folder above: until then a power cut can take the name away, and with it the store.
"""

from __future__ import annotations

import os

from sessiondb.backend import Identity, Position
from sessiondb.errors import BackendError, CorruptionError, WrongBackendError
from sessiondb.files import Files
from sessiondb.location import content_kind

from . import lmdb_env
from .lmdb_format import DIRECTORY, FORMAT_VERSION, STATE_KEY, State, encode_state
from .lmdb_pages import DamagedPages, Meta, NotLmdb, OtherVersion, has_database, missing_pages_are_free, read_meta

__all__ = ["CREATING", "DATA", "LOCK", "LOG", "MIGRATING", "create", "is_store", "look", "make_lock_file", "sync"]

DATA, LOCK, LOG = "data.mdb", "lock.mdb", "wal"
CREATING = ("creating.mdb", "creating.mdb-lock")
"""What an unfinished creation leaves; never read, and removed by the next one."""
MIGRATING = "migrating"
"""A folder in which a replacement is made; never read, and removed by the next one."""
LOOKS_MAX = 100
CREATION_MAP_BYTES = 1 << 20
LOCK_BYTES = 8192
"""Room for more than a hundred readers in LMDB's lock file."""


def is_store(files: Files, path: str) -> bool:
    """Whether there is a store of ours; False when nothing is there. Changes nothing.

    Raises:
        WrongBackendError: something else is there.
        CorruptionError: it is damaged.
    """
    kind = content_kind(files, path)
    if kind == "nothing":
        return False
    if kind == "a folder":
        others = set(files.names(path)) - {LOCK, LOG, MIGRATING, *CREATING}
        if others:
            raise _wrong(path, f"a folder with other files ({', '.join(sorted(others)[:3])})")
        return False
    if kind != "an LMDB folder":
        raise _wrong(path, kind)
    _look_beside_writers(files, path)
    return True


def _look_beside_writers(files: Files, path: str) -> None:
    """`look`, when another process may be writing: a complaint counts if no transaction ended meanwhile.

    The pages of a transaction stay as they are at least until the next but one ends.
    """
    for _ in range(LOOKS_MAX):
        before = _meta_pages(files, path)
        try:
            look(files, path)
            return
        except (WrongBackendError, CorruptionError):
            if _meta_pages(files, path) == before:
                raise
    raise BackendError(f"{path} is written so often that it cannot be looked at; next: try again")


def _meta_pages(files: Files, path: str) -> bytes:
    file = files.open(f"{path}/{DATA}", read_only=True)
    try:
        return file.pread(1 << 16, 0)
    finally:
        file.close()


def look(files: Files, path: str) -> Meta:
    """LMDB's meta page, when the file is whole enough for LMDB to map it, and ours.

    Raises:
        WrongBackendError: no LMDB file, or of another program.
        CorruptionError: LMDB must not see it.
    """
    data = f"{path}/{DATA}"
    file = files.open(data, read_only=True)
    try:
        size = file.size()
        meta = read_meta(file.pread, size)
        needed = (meta.last_page + 1) * meta.page_bytes
        if size < needed and not missing_pages_are_free(file.pread, meta, size):
            raise CorruptionError(f"the file was cut: {size} bytes instead of {needed}", path=data, offset=size)
        if not has_database(file.pread, meta, DIRECTORY):
            raise _wrong(path, "an LMDB folder of another program")
        return meta
    except DamagedPages as error:
        raise CorruptionError(str(error), path=data, offset=error.offset) from error
    except OtherVersion as error:
        raise _wrong(path, f"an LMDB folder that LMDB 0.9 cannot read ({error})") from error
    except NotLmdb as error:
        raise _wrong(path, f"{error} named {DATA}") from error
    finally:
        file.close()


def _wrong(path: str, found: str) -> WrongBackendError:
    return WrongBackendError(
        f"expected a sessiondb LMDB folder, found {found} at {path}; it is untouched; "
        "next: choose the right location or backend"
    )


def sync(files: Files, path: str) -> None:
    """Make what LMDB shows durable.

    The last writer may have been killed when LMDB had written the meta page and was syncing it: the page cache shows
    the transaction, the disk may not have it yet, and the log is let go because of it. The folder's names likewise.
    """
    file = files.open(f"{path}/{DATA}", read_only=True)
    try:
        file.fsync()
    finally:
        file.close()
    files.sync_folder(path)
    files.sync_folder(os.path.dirname(path))


def make_lock_file(files: Files, path: str) -> None:
    """Make the beginning of LMDB's lock file, if it is not there: enough for as many readers as there mostly are.

    LMDB makes it as a hole and maps it: where the disk has no room for what it writes there, the system ends the
    process (SIGBUS). Written by us, it is an error like any other.
    """
    if files.stat(path) is not None:
        return
    file = files.open(path, create=True, exclusive=True)
    try:
        file.pwrite(bytes(LOCK_BYTES), 0)
    except BaseException:
        file.close()
        files.unlink(path)
        raise
    file.close()


def create(files: Files, path: str) -> None:
    """Make an empty store, durably; the steps are in the module's docstring."""
    if files.stat(path) is None:
        files.mkdir(path)
    for name in CREATING:
        if files.stat(f"{path}/{name}") is not None:
            files.unlink(f"{path}/{name}")
    temporary = f"{path}/{CREATING[0]}"
    lmdb = lmdb_env.driver()
    state = State(Identity(os.urandom(16), FORMAT_VERSION), Position(1, 0))
    make_lock_file(files, f"{path}/{CREATING[1]}")
    options = {"map_size": CREATION_MAP_BYTES, "subdir": False, "mode": 0o600, "max_dbs": 1, "lib_version": 0}
    with lmdb_env.failing(lmdb.Error, "create the database", path), lmdb.Environment(temporary, **options) as env:
        directory = env.open_db(DIRECTORY)
        with env.begin(write=True) as transaction:
            transaction.put(STATE_KEY, encode_state(state), db=directory)
    file = files.open(temporary, read_only=True)
    try:
        file.fsync()
    finally:
        file.close()
    files.replace(temporary, f"{path}/{DATA}")
    files.unlink(f"{path}/{CREATING[1]}")
    files.sync_folder(path)
    files.sync_folder(os.path.dirname(path))
