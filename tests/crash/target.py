"""The stores that the crash kit drives, by backend.

On the simulated disk: ``json``, whose files are simulated byte for byte; SQLite and LMDB, whose files are changed by
atomic steps (see `crash.atomic`); ``memory``: the memory backend with such a disk, the quickest to open; and
``postgres``: a server of which nothing is known but what it promises (see `crash.atomic_server`). On real file systems:
the first three.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

__all__ = ["JSON", "TARGETS", "Target", "real_target"]


class Target(NamedTuple):
    """A store of one backend, on the simulated disk or a real one."""

    name: str
    scheme: str
    path: str
    folder: str
    """Of its log."""

    @property
    def location(self) -> str:
        """What `sessiondb.open` takes."""
        return f"{self.scheme}:{self.path}" if self.scheme.startswith("sim") else self.path


TARGETS = {
    "json": Target("json", "json", "/sim/store.json", "/sim/store.json.wal"),
    "sqlite": Target("sqlite", "simsqlite", "/sim/store.db", "/sim/store.db.wal"),
    "lmdb": Target("lmdb", "simlmdb", "/sim/store.lmdb", "/sim/store.lmdb/wal"),
    "memory": Target("memory", "simmemory", "/sim/store.mem", "/sim/store.mem.wal"),
    "postgres": Target("postgres", "simpostgres", "/sim/server", "/sim/state/sessiondb/store.wal"),
}
JSON = TARGETS["json"]


def real_target(name: str, folder: Path) -> Target:
    """A store in a folder of a real file system."""
    suffix, log = {"json": (".json", ".wal"), "sqlite": (".db", ".wal"), "lmdb": (".lmdb", "/wal")}[name]
    path = str(folder / f"store{suffix}")
    return Target(name, name, path, path + log)
