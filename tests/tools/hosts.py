"""Hosts that share a store on a server: in this process, each with a name and a folder for its logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from sessiondb_backends.postgres import PostgresBackend

__all__ = ["READING", "SECRET", "WRITING", "Host"]

SECRET = "geheim"
"""The tests' server takes any password."""

READING = [
    ["get", "a"], ["list"], ["find", "n:=1"], ["tables"], ["status"], ["check"], ["export"], ["log", "dump"],
    ["log", "verify"],
]  # fmt: skip
WRITING = [
    ["put", "a", "1"], ["patch", "a", "n:=2"], ["delete", "a"], ["checkpoint"], ["import", "in.json", "--replace"],
]  # fmt: skip
"""Verbs on a store with the record a; in.json is to be imported."""


class Host:
    """One machine: a name, a folder for its logs, the command.

    Args:
        name: what the server is told.
        folder: where its logs are.
        path: the store, as the fixture `pg_path` has it.
        run: the fixture of that name.
    """

    def __init__(self, name: str, folder: Path, path: str, run: Callable[..., Any]):
        user, _, rest = path.removeprefix("//").partition("@")
        self.name = name
        self.shown = f"postgresql://{rest.partition('?')[0]}"
        """The location as people see it."""
        self.path = f"//{user if ':' in user else f'{user}:{SECRET}'}@{rest}&log_dir={folder}"
        self.url = f"postgresql:{self.path}"
        self._run = run

    @property
    def log(self) -> Path:
        """The folder of its log."""
        return Path(PostgresBackend.log_folder(self.path))

    def __call__(self, *arguments: str, db: str | None = None) -> Any:
        """Run the command here; nothing secret may be printed."""
        with self._named():
            done = self._run(*arguments, "--db", db or self.url)
        assert SECRET not in done.out + done.err
        return done

    def open(self, **options: Any) -> sessiondb.Database:
        """Open the store as a program of this host does."""
        with self._named():
            return sessiondb.open(self.url, **{"checkpoint_age_s": 3600, **options})

    def killed(self, work: Callable[[sessiondb.Database], object]) -> None:
        """Let a program do this and die: nothing is moved to the server, and the locks are free."""
        db = self.open()
        work(db)
        db._store._settle = lambda: None  # type: ignore[union-attr, method-assign]
        db.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        take_over = PostgresBackend.take_over

        def named(
            self: PostgresBackend, owner: bytes, before: bytes, host: str, expected: Any, name: str = self.name
        ) -> Any:
            return take_over(self, owner, before, name, expected)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PostgresBackend, "take_over", named)
            yield
