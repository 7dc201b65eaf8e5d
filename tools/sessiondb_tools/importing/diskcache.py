"""``--from diskcache``: a folder that the package diskcache wrote, of a `Cache`, `Index` or `FanoutCache`.

A folder has a database ``cache.db``, and values of 32 KiB and more in files of their own. A `FanoutCache` has a folder
of this form for each shard: ``000``, ``001`` and so on.

* An entry that has expired is left out and counted. One that will expire is refused unless the user says otherwise:
  stored here it would stay for ever.
* What is kept beside a value is left out: times of access, counts, and tags, which are counted.
* A value that was stored as bytes is bytes; ``--values`` says what they hold. With `JSONDisk` keys and values are
  compressed JSON; that does not always stand in the database, and ``--values zlib+json`` says it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sessiondb.codec import RECORD_BYTES_MAX

from .source import Choices, Expired, Found, own_problem
from .sqlite_source import Columns, SqliteFile, cell
from .values import ValueProblem, decode, made

__all__ = ["DATABASE", "is_diskcache", "open_source", "shards"]

DATABASE = "cache.db"
COLUMNS = {"key", "raw", "expire_time", "tag", "mode", "filename", "value"}
RAW, BINARY, TEXT, PICKLE = 1, 2, 3, 4
"""How a value is kept: in the database, in a file of bytes, in a file of text, pickled in either."""
JSON_DISK = "zlib+json"
NAMED = ("cache", "deque", "index")
"""Folders in that of a `FanoutCache`, with caches that have names."""


def open_source(path: str, choices: Choices) -> DiskCache:
    """The cache in a folder, or whose ``cache.db`` the path is."""
    folder = os.path.dirname(path) or "." if os.path.basename(path) == DATABASE else path
    if os.path.isfile(folder):
        raise own_problem(path, "no folder of diskcache, but a file", "choose another kind with --from")
    folders = [folder] if os.path.isfile(os.path.join(folder, DATABASE)) else shards(folder)
    if not folders:
        raise own_problem(path, f"no {DATABASE} in this folder", "name the folder that was given to diskcache")
    others = [name for name in NAMED if os.path.isdir(os.path.join(folder, name))] if folders != [folder] else []
    return DiskCache(path, folders, choices, others)


def shards(folder: str) -> list[str]:
    """The folders of a `FanoutCache`, none if it is no such folder.

    Raises:
        CommandError: one is missing in between.
        OSError: the folder cannot be read.
    """
    there = (name for name in os.listdir(folder) if name.isdecimal() and len(name) >= 3)
    numbers = sorted(int(name) for name in there if os.path.isfile(os.path.join(folder, name, DATABASE)))
    for expected, number in enumerate(numbers):
        if number != expected:
            raise own_problem(
                folder, f"the shard {expected:03} is missing, but {number:03} is there", "put the whole folder back"
            )
    return [os.path.join(folder, f"{number:03}") for number in numbers]


def is_diskcache(tables: Mapping[str, Columns]) -> bool:
    """Whether diskcache makes such tables."""
    return "Settings" in tables and "Cache" in tables and COLUMNS.issubset(tables["Cache"].names)


class DiskCache:
    """The entries of a cache, or of all shards of one."""

    in_order = False

    def __init__(self, path: str, folders: list[str], choices: Choices, others: list[str]):
        self.name = path
        self._choices = choices
        self._others = others
        self._tagged = 0
        self._shards: list[tuple[str, SqliteFile, bool]] = []
        try:
            for folder in folders:
                self._shards.append((folder, *self._open(os.path.join(folder, DATABASE))))
        except BaseException:
            self.close()
            raise

    def _open(self, path: str) -> tuple[SqliteFile, bool]:
        """A shard's database, and whether it was written with `JSONDisk`."""
        file = SqliteFile(path)
        try:
            if not is_diskcache(file.tables):
                raise own_problem(path, "no database of diskcache", "choose another kind with --from")
            settings = {key for (key,) in file.rows('SELECT key FROM "Settings"')}
            return file, self._choices.values == JSON_DISK or b"disk_compress_level" in settings
        except BaseException:
            file.close()
            raise

    def __iter__(self) -> Iterator[Found]:
        self._tagged = 0
        for folder, file, json_disk in self._shards:
            for row in file.rows(
                f"SELECT rowid, raw, mode, expire_time, tag IS NOT NULL, filename, {file.content('key')}, "
                f'{file.content("value")} FROM "Cache" ORDER BY rowid'
            ):
                shard = f"{os.path.basename(folder)}, " if len(self._shards) > 1 else ""
                yield self._found(folder, json_disk, f"{shard}row {row[0]}", row[1:])

    def _found(self, folder: str, json_disk: bool, place: str, row: tuple[Any, ...]) -> Found:
        raw, mode, expire_time, tagged, filename = row[:5]
        if isinstance(expire_time, (int, float)) and expire_time <= self._choices.now:
            return Expired(place)
        self._tagged += bool(tagged)
        key = partial(_key, raw, json_disk, *row[5:8])
        value = partial(self._value, folder, json_disk, mode, filename, *row[8:11])
        return made(self._choices, place, key, value, "" if expire_time is None else _moment(expire_time))

    def _value(self, folder: str, json_disk: bool, mode: Any, filename: Any, *column: Any) -> Any:
        if mode not in (RAW, BINARY, TEXT, PICKLE):
            raise ValueProblem(f"its mode is {mode!r}, which no diskcache writes")
        found = cell(*column) if filename is None else _content(folder, filename)
        if mode == PICKLE:
            return decode(_bytes(found), "pickle")
        if mode == TEXT:
            return decode(_bytes(found), "text")
        encoding = JSON_DISK if json_disk else self._choices.values
        return decode(found, encoding) if encoding is not None and isinstance(found, bytes) else found

    def remarks(self) -> list[str]:
        """How many entries have tags, and which other caches are in the folder."""
        tags = [f"entries with a tag, which is not kept: {self._tagged:,}"] if self._tagged else []
        return tags + [f"not read: the caches in {os.path.join(self.name, name)}" for name in self._others]

    def close(self) -> None:
        """Close the databases."""
        for _, file, _ in self._shards:
            file.close()


def _key(raw: Any, json_disk: bool, *column: Any) -> Any:
    found = cell(*column)
    if not raw:
        return decode(_bytes(found), "pickle")
    if not isinstance(found, bytes):
        return found
    if json_disk:
        return decode(found, JSON_DISK)
    if _is_json_disk(found):
        raise ValueProblem("the key is compressed JSON, as JSONDisk writes it (--values zlib+json would read it)")
    return found


def _is_json_disk(key: bytes) -> bool:
    try:
        decode(key, JSON_DISK)
    except ValueProblem:
        return False
    return True


def _bytes(found: Any) -> bytes:
    if not isinstance(found, bytes):
        raise ValueProblem(f"bytes are expected in the database, found {type(found).__name__}")
    return found


def _content(folder: str, filename: Any) -> bytes:
    """The file of a value; never one outside the cache's folder, whatever the database says."""
    name = decode(_bytes(filename), "text")
    path = os.path.realpath(os.path.join(folder, name.replace("\0", "")))
    if "\0" in name or not path.startswith(os.path.join(os.path.realpath(folder), "")):
        raise ValueProblem(f"its file {name!r} is outside the folder")
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise ValueProblem(f"its file {name!r} is no file")
            if info.st_size > RECORD_BYTES_MAX:
                raise ValueProblem(f"its file has {info.st_size} bytes, the limit of a record is {RECORD_BYTES_MAX}")
            return file.read(RECORD_BYTES_MAX + 1)
    except OSError as error:
        raise ValueProblem(f"its file {name!r} cannot be read: {error.strerror}") from None


def _moment(expire_time: Any) -> str:
    try:
        return f"at {datetime.fromtimestamp(expire_time, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (TypeError, ValueError, OverflowError, OSError):
        return f"at {expire_time!r}"
