"""Migrations that are interrupted: what they move, and what must be true of both stores whenever one looks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import sessiondb
from sessiondb.files import Files
from sessiondb.migration.run import migrate

from .oracle import HUGE

__all__ = ["NEW", "OLD", "SCENARIOS", "Everything", "Scenario", "look", "make_stores", "must_be_whole", "run"]

Everything = dict[str, tuple[str, dict[str, Any], list[str]]]
"""Table to its kind, its records, and its indexes."""

SESSIONS = {f"s{number}": {"session": f"s{number}", "n": number, "text": "x" * number} for number in range(9)}
NEW: Everything = {
    "blobs": ("bytes", {"logo": b"\x00\xff", "none": b""}, []),
    "sessions": ("json", SESSIONS, ["n"]),
    "t": ("json", {f"k{number:03}": [number, "ü" * (number % 40)] for number in range(40)}, []),
}
OLD: Everything = {"sessions": ("json", {"s1": {"session": "s1"}, "old": {"session": "old", "n": 1.5}}, [])}
ONLY_SESSIONS: Everything = {"sessions": NEW["sessions"]}


class Scenario(NamedTuple):
    """Where a migration begins and ends, in a folder."""

    source: str
    target: str
    before: str | None
    """The layout in which a JSON target has been, ``""`` for a target in its backend's own; ``None``: nothing."""
    layout: str | None = None
    """Of the new target."""

    @property
    def content(self) -> Everything:
        """What is moved."""
        return NEW if self.layout is None else ONLY_SESSIONS

    @property
    def old(self) -> Everything | None:
        """What is there before; ``None``: nothing."""
        return None if self.before is None else OLD

    def __str__(self) -> str:
        there = "nothing" if self.before is None else self.before or "a store"
        return f"{self.source} to {self.target} ({there} there, layout {self.layout})"


SCENARIOS = [
    Scenario("source.json", "target.json", ""),
    Scenario("source.json", "target.json", None),
    Scenario("source.json", "target.json", "", "array"),
    Scenario("source.json", "target.json", None, "sessions"),
    Scenario("source.json", "target.json", "array"),
    Scenario("source.json", "target.json", "array", "array"),
    Scenario("source.lmdb", "target.json", ""),
    Scenario("source.json", "target.db", ""),
    Scenario("source.lmdb", "target.db", None),
    Scenario("source.json", "target.lmdb", ""),
    Scenario("source.db", "target.lmdb", None),
]
QUIET = {"checkpoint_bytes": HUGE, "checkpoint_records": HUGE, "checkpoint_age_s": 1e9, "lock_timeout": 0.0}


def _fill(files: Files, path: str, content: Everything, layout: str | None = None) -> sessiondb.Database:
    """Half of it goes into the backend, the other half stays in the log."""
    db = sessiondb.open(path, files=files, layout=layout or None, **QUIET)
    for name, (kind, records, indexes) in content.items():
        table: Any = db.table(name, bytes) if kind == "bytes" else db.table(name, indexes=indexes)
        items = list(records.items())
        table.put_many(dict(items[: len(items) // 2]))
    db.checkpoint()
    for name, (kind, records, _) in content.items():
        table = db.table(name, bytes) if kind == "bytes" else db.table(name)
        table.put_many(dict(list(records.items())[len(records) // 2 :]))
    return db


def make_stores(files: Files, folder: str, scenario: Scenario) -> list[sessiondb.Database]:
    """The source, and what is at the target before: open, for whoever calls to kill the process that has them open."""
    made = [_fill(files, f"{folder}/{scenario.source}", scenario.content)]
    if scenario.before is not None:
        made.append(_fill(files, f"{folder}/{scenario.target}", OLD, scenario.before))
    return made


def look(files: Files, path: str, *, read_only: bool = False) -> Everything:
    """Everything in a store; its own check finds nothing."""
    with sessiondb.open(path, files=files, create=False, read_only=read_only, **QUIET) as db:
        assert db.check() == [], path
        found: Everything = {}
        for name, kind in db.tables().items():
            table: Any = db.table(name, bytes) if kind == "bytes" else db.table(name)
            found[name] = (kind, dict(table.scan()), list(table.indexes()))
        return found


def records_of(content: Everything | None) -> Mapping[str, Any] | None:
    """Without the indexes, and without tables that hold nothing."""
    return None if content is None else {name: what[:2] for name, what in content.items() if what[1]}


def must_be_whole(files: Files, folder: str, scenario: Scenario) -> bool:
    """After an interruption: look at both stores, go on, and look again; whether the target had been replaced already.

    The folder must have a name for the system (`os.listdir`), or a simulated disk for `files`.
    """
    source, target = f"{folder}/{scenario.source}", f"{folder}/{scenario.target}"
    found = look(files, target) if _exists(files, target) else None
    # Only after the target: the next one who opens it is not always a migration.
    assert look(files, source) == scenario.content, "the source is not what it was"
    is_new = records_of(found) == records_of(scenario.content)
    assert is_new or records_of(found) == records_of(scenario.old), f"the target holds neither: {found}"
    result = migrate(source, target, execute=True, replace=True, layout=scenario.layout, lock_timeout=0.0, files=files)
    assert result.outcome == ("already there" if is_new else "migrated")
    assert look(files, target) == scenario.content, "the second run did not complete it"
    assert look(files, source) == scenario.content
    names = files.names(folder)
    assert not [name for name in names if "migrating" in name], names
    if scenario.target.endswith(".lmdb"):
        assert sorted(set(files.names(target)) - {"data.mdb", "wal", "lock.mdb"}) == []
    copies = [name for name in names if "-before-" in name and not name.endswith(".wal")]
    assert copies or scenario.before is None, "what was there is nowhere"
    for name in copies:
        assert records_of(look(files, f"{folder}/{name}", read_only=True)) == records_of(OLD), name
    return is_new


def _exists(files: Files, path: str) -> bool:
    if path.endswith(".lmdb"):
        return files.stat(f"{path}/data.mdb") is not None
    return files.stat(path) is not None


def run(files: Files, folder: str, scenario: Scenario) -> None:
    """The migration that is interrupted."""
    source, target = os.path.join(folder, scenario.source), os.path.join(folder, scenario.target)
    migrate(source, target, execute=True, replace=True, layout=scenario.layout, lock_timeout=0.0, files=files)
