"""Arguments of the wrong type: refused before anything is read or written."""

from collections.abc import Iterator
from typing import Any

import pytest

import sessiondb


@pytest.fixture(params=[False, True], ids=["memtable", "backend"])
def table(request: pytest.FixtureRequest) -> Iterator[sessiondb.Table[Any]]:
    with sessiondb.open("memory:") as db:
        made = db.table("t")
        made.put_many({"a": 1, "b": 2})
        if request.param:
            db.checkpoint()
        yield made
        assert dict(made) == {"a": 1, "b": 2}


@pytest.mark.parametrize("prefix", [None, 0, b"", False, []], ids=repr)
def test_a_prefix_that_is_no_text_deletes_nothing(table: sessiondb.Table[Any], prefix: Any) -> None:
    """``delete_prefix(None)``, a setting that was missing, once wiped the table."""
    with pytest.raises(sessiondb.UsageError, match="prefix"):
        table.delete_prefix(prefix)
    with pytest.raises(sessiondb.UsageError, match="prefix"):
        table.scan(prefix)
    with pytest.raises(sessiondb.UsageError, match="prefix"):
        table.count(prefix)


@pytest.mark.parametrize("bound", ["start", "stop"])
def test_a_bound_that_is_no_text_is_refused(table: sessiondb.Table[Any], bound: str) -> None:
    with pytest.raises(sessiondb.UsageError, match=bound):
        table.scan(**{bound: b"a"})  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", ["ab", b"ab"], ids=repr)
def test_one_key_is_not_taken_for_several(table: sessiondb.Table[Any], keys: Any) -> None:
    """``delete_many("ab")`` once deleted the records "a" and "b"."""
    with pytest.raises(sessiondb.UsageError, match="pass a list"):
        table.delete_many(keys)
    with pytest.raises(sessiondb.UsageError, match="pass a list"):
        table.get_many(keys)


@pytest.mark.parametrize("limit", [-1, 1.5, "2"], ids=repr)
def test_a_limit_that_is_no_count_is_refused(table: sessiondb.Table[Any], limit: Any) -> None:
    with pytest.raises(sessiondb.UsageError, match="limit"):
        table.scan(limit=limit)
