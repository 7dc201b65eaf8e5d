"""What the backend contract needs to know of a backend, and how its tests reach the location around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from ..backend import Backend, BackendView, Changes, Pace, Position, TableChanges, TableKind
from .faulty_files import FaultyFiles

__all__ = ["BackendUnderTest", "advance", "contents", "declare", "deletions", "json_images", "no_pause"]

Contents = dict[str, tuple[TableKind, dict[str, bytes]]]
"""Table to its kind and all its records."""
Images = Mapping[str, bytes | None]


class BackendUnderTest:
    """The part of `sessiondb.testing.BackendContract` that a backend fills in."""

    backend_class: ClassVar[type[Backend]]
    uses_files: ClassVar[bool] = True
    """False: the backend's files are touched by a library of its own, so no disk can be put under it."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        """Where a new store goes; nothing is there."""
        return str(tmp_path / "store")

    @pytest.fixture
    def files(self) -> FaultyFiles:
        """The disk under the backend."""
        return FaultyFiles()

    @pytest.fixture
    def backend(self, files: FaultyFiles, path: str) -> Iterator[Backend]:
        """A new store, open."""
        opened = self.backend_class.open(files, path, create=True)
        yield opened
        opened.close()

    def put_foreign(self, path: str) -> None:
        """Put something at the path that is no store of this backend."""
        Path(path).write_bytes(b"#!/bin/sh\necho 'not a store'\n")

    def damage(self, path: str) -> None:
        """Damage the closed store at the path, so that it must be noticed."""
        pytest.skip("this backend's contract test does not say how to damage a store")

    def make_newer(self, path: str) -> None:
        """Let the closed store at the path look as if a later version had written it."""
        pytest.skip("this backend's contract test does not say how to make a store newer")

    def _must_be_durable(self) -> None:
        if not self.backend_class.durable:
            pytest.skip("nothing of this backend outlives the process")

    def _must_use_files(self) -> None:
        self._must_be_durable()
        if not self.uses_files:
            pytest.skip("this backend's files are touched by a library of its own")

    @contextmanager
    def beside(self, backend: Backend, path: str) -> Iterator[Backend]:
        """A second object on the same location: it sees what is stored there, not what the first remembers."""
        if not self.backend_class.durable:
            yield backend
            return
        second = self.backend_class.open(FaultyFiles(), path, create=False)
        try:
            yield second
        finally:
            second.close()

    def stored(self, backend: Backend, path: str) -> tuple[Position, Contents]:
        """Position and contents as they are at the location."""
        with self.beside(backend, path) as other:
            view = other.read()
            assert view.position == other.position()
            return other.position(), contents(view)


def contents(view: BackendView) -> Contents:
    """Everything that a view shows, read by `scan`."""
    return {name: (kind, dict(view.scan(name))) for name, kind in view.tables().items()}


def json_images(table: str = "t", **images: bytes | None) -> Changes:
    """Changes that put JSON records (or delete, with ``None``)."""
    return {table: TableChanges("json", False, dict(images))}


def deletions(table: str, *keys: str, dropped: bool = False) -> Changes:
    """Changes that hold nothing but deletions."""
    return {table: TableChanges(None, dropped, dict.fromkeys(keys))}


def declare(table: str = "t", images: Images | None = None, **indexes: bool) -> Changes:
    """Changes that make indexes (or remove them, with False), and put records."""
    return {table: TableChanges("json", False, dict(images or {}), indexes)}


def no_pause() -> None:
    """A pace that goes on at once."""


def advance(backend: Backend, changes: Changes, pace: Pace = no_pause) -> BackendView:
    """Apply as the next transaction, and a view of the state after it."""
    before = backend.position()
    backend.apply(changes, before, Position(before.epoch, before.lsn + 1), pace)
    return backend.read()
