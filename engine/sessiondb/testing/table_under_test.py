"""A table whose store is opened again before each read, or not: what `sessiondb.testing.TableContract` looks at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import sessiondb

from ..files import Files
from .faulty_files import FaultyFiles

__all__ = ["TableSetup", "TableUnderTest"]


class TableUnderTest:
    """One table of a store.

    Args:
        location: the store's path or URL.
        stored: bring everything into the backend before each `read`: close and open the store, or, where nothing
            outlives it, make a checkpoint.
        durable: whether the store can be opened again.
        files: the file system.
    """

    def __init__(self, location: str, *, stored: bool, durable: bool, files: Files):
        self._location = location
        self._stored = stored
        self._durable = durable
        self._files = files
        self._how: dict[str, Any] = {"name": "records"}
        self._open()

    def _open(self) -> None:
        self.database = sessiondb.open(self._location, files=self._files, sync="never")
        self._table: sessiondb.Table[Any] = self.database.table(**self._how)

    def of(self, type: Any = Any, *, name: str = "records", **how: Any) -> TableUnderTest:
        """The same store, another table: the arguments of `sessiondb.Database.table`."""
        self._how = {"name": name, "type": type, **how}
        self._table = self.database.table(**self._how)
        return self

    @property
    def write(self) -> sessiondb.Table[Any]:
        """The table, to write to."""
        return self._table

    @property
    def read(self) -> sessiondb.Table[Any]:
        """The table, to read from."""
        if self._stored and not self._durable:
            self.database.checkpoint()
        elif self._stored:
            self.close()
            self._open()
        return self._table

    def close(self) -> None:
        """Close the store."""
        self.database.close()


class TableSetup:
    """The part of `sessiondb.testing.TableContract` that a backend fills in."""

    url: ClassVar[str]
    """The store's URL; ``{path}`` in it stands for a path in the test's own folder, without a suffix."""
    durable: ClassVar[bool] = True
    """False: nothing outlives the database, so it cannot be opened again."""

    @pytest.fixture
    def location(self, tmp_path: Path) -> str:
        """Where a new store goes."""
        return self.url.format(path=tmp_path / "store")

    @pytest.fixture(params=[False, True], ids=["plain", "stored"])
    def records(self, request: pytest.FixtureRequest, location: str) -> Iterator[TableUnderTest]:
        """An untyped, empty table."""
        under_test = TableUnderTest(location, stored=request.param, durable=self.durable, files=FaultyFiles())
        yield under_test
        under_test.close()
