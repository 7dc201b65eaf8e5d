"""A pytest fixture for programs that keep their records in sessiondb.

Name this module in the ``conftest.py`` at the top of your tests::

    pytest_plugins = ["sessiondb.testing.fixtures"]

It is no plug-in of its own accord: that would make every pytest run of everybody import sessiondb.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sessiondb

__all__ = ["sessiondb_store"]


@pytest.fixture
def sessiondb_store(tmp_path: Path) -> Iterator[sessiondb.Database]:
    """An empty database in a JSON file of the test's own folder, closed after the test.

    Its location is ``sessiondb_store.location``: hand that to the code under test, which shares the database.
    Commits do not wait for the disk (``sync="never"``), so code under test that opens it with other options
    gets a `UsageError`: pass it the database, or make one with `sessiondb.open`.
    """
    with sessiondb.open(tmp_path / "sessiondb_store.json", sync="never") as database:
        yield database
