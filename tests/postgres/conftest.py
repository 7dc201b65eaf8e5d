"""Every statement of every test in this folder is looked at. The other fixtures are in `postgres.fixtures`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from postgres.watching import Watch


@pytest.fixture(autouse=True)
def watch() -> Iterator[Watch]:
    """What the backend has said to the server in this test."""
    looking = Watch()
    try:
        yield looking
        assert looking.left_open() == []
    finally:
        looking.stop()
