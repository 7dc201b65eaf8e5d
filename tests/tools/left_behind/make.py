"""Makes the files of this folder, with the packages themselves: ``python make.py FOLDER`` where they are installed.

What is here was made by sqlitedict 2.1.0, diskcache 5.6.3 and tinydb 4.9.0, and packed by `pack`.
"""

from __future__ import annotations

import base64
import json
import pickle
import sqlite3
import sys
import zlib
from datetime import UTC, datetime
from pathlib import Path

PLAIN = {
    "task-1": {"branch": "main", "n": 1, "ratio": 0.5, "done": False, "tags": ["a", "ü"], "none": None},
    "task-2": [1, [2, {"x": ""}]],
    "task-3": "text",
    "task-4": 2**64 - 1,
}
"""What a record can hold as it is."""
OTHERS = {
    "tuple": (1, "two"),
    "set": {3, 1, 2},
    "bytes": b"\x00\xff",
    "time": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    "big": 2**80,
    "numbered": {1: "one"},
    "blob": b"z" * 40_000,
}
"""What it can hold after a conversion."""
LARGE = {"text": "x" * 40_000, "list": [f"{number:0100}" for number in range(400)]}
"""What diskcache keeps in files."""


def make_sqlitedict(path: Path) -> None:
    """Two tables: pickles, and JSON."""
    from sqlitedict import SqliteDict

    with SqliteDict(str(path), autocommit=True) as store:
        store.update(PLAIN | OTHERS)
    with SqliteDict(str(path), tablename="as JSON", encode=json.dumps, decode=json.loads, autocommit=True) as store:
        store.update(PLAIN)


def make_compressed_sqlitedict(path: Path) -> None:
    """Values as the documentation compresses them."""
    from sqlitedict import SqliteDict

    def encode(value: object) -> memoryview:
        return sqlite3.Binary(zlib.compress(pickle.dumps(value)))

    with SqliteDict(str(path), encode=encode, decode=None, autocommit=True) as store:
        store.update(PLAIN)


def make_diskcache(folder: Path, *, expiring: bool = False) -> None:
    """All ways of keeping a value, keys that are no texts, and with `expiring` what has expired and what will."""
    from diskcache import Cache

    with Cache(str(folder)) as cache:
        for key, value in (PLAIN | OTHERS | LARGE).items():
            cache.set(key, value, tag="tagged" if key == "task-1" else None)
        cache[7] = "seven"
        cache[b"key"] = cache[1.5] = cache["pair", 1] = "odd key"
        if expiring:
            cache.set("old", 1, expire=-1)
            cache.set("new", 2, expire=100_000_000)


def make_fanout(folder: Path) -> None:
    """Three shards."""
    from diskcache import FanoutCache

    with FanoutCache(str(folder), shards=3) as cache:
        for number in range(20):
            cache[f"k{number}"] = {"n": number}


def make_json_disk(folder: Path, **settings: int) -> None:
    """Keys and values as compressed JSON; only with a setting does the database say so."""
    from diskcache import Cache, JSONDisk

    with Cache(str(folder), disk=JSONDisk, **settings) as cache:
        for key, value in (PLAIN | LARGE).items():
            cache[key] = value


def make_tinydb(path: Path) -> None:
    """The default table and another one."""
    from tinydb import TinyDB

    with TinyDB(str(path)) as database:
        database.insert_multiple({"name": f"n{number}", "tags": [number, None]} for number in range(12))
        database.table("empty")
        database.table("people").insert({"id": "ann", "age": 30})


def pack(path: Path) -> str:
    """A file, or a folder of files, as text."""
    paths = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    files = {str(each.relative_to(path.parent)): base64.b64encode(each.read_bytes()).decode() for each in paths}
    return base64.encodebytes(zlib.compress(json.dumps(files).encode(), 9)).decode()


def unpack(text: str, folder: Path) -> None:
    """Put what was packed into a folder."""
    for name, content in json.loads(zlib.decompress(base64.decodebytes(text.encode()))).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(base64.b64decode(content))


MAKERS = {
    "words.sqlite": make_sqlitedict,
    "compressed.sqlite": make_compressed_sqlitedict,
    "cache": make_diskcache,
    "shards": make_fanout,
    "json_disk": make_json_disk,
    "json_disk_6": lambda path: make_json_disk(path, disk_compress_level=6),
    "tiny.json": make_tinydb,
}


def main(folder: Path) -> None:
    """Make and pack all of them."""
    for name, make in MAKERS.items():
        make(folder / name)
        Path(__file__).with_name(f"{name}.packed").write_text(pack(folder / name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
