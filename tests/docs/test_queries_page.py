"""What the how-to on queries says of indexes and of cost is true. Each test quotes the words it proves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from docs.pages import ROOT
from sessiondb import absent, between, one_of, prefix
from sessiondb.query import FieldReader

TEXT = re.sub(r"\s+", " ", (ROOT / "docs" / "how-to" / "queries.md").read_text("utf-8"))

CONDITIONS = [
    pytest.param("n-07", id="value"),
    pytest.param(one_of("n-07", "n-08"), id="one_of"),
    pytest.param(between("n-07", "n-08"), id="between"),
    pytest.param(prefix("n-07"), id="prefix"),
    pytest.param(absent, id="absent"),
]


def says(words: str) -> None:
    assert words in TEXT, "the page does not say this any more: change this test with it"


def make(location: str, *, indexed: bool) -> None:
    with sessiondb.open(location) as db:
        table = db.table("t", indexes=["f"] if indexed else [])
        table.put_many({f"k{number:03}": {"f": f"n-{number % 50:02}", "pad": "intact"} for number in range(500)})
        table.put_many({f"none{number}": {"pad": "intact"} for number in range(5)})
        db.checkpoint()


def rot(location: str, is_chosen: Callable[[dict[str, Any]], bool]) -> int:
    """Make the chosen records in the file no JSON, by a byte in each; how many there were."""
    with sessiondb.open(location) as db:
        keys = [key for key, record in db.table("t").scan() if is_chosen(record)]
    path = Path(location)
    file = path / "data.mdb" if path.is_dir() else path
    data = file.read_bytes()
    for key in keys:
        at = [match.start() for match in re.finditer(re.escape(key.encode()), data)]
        for place in at:
            end = data.find(b"intact", place, place + 120)
            if end > 0:
                data = data[:end] + b'in"act' + data[end + 6 :]
    file.write_bytes(data)
    return len(keys)


@pytest.mark.parametrize("wanted", CONDITIONS)
@pytest.mark.parametrize("location", ["x.db", "x.lmdb"])
def test_with_an_index_only_what_matches_is_read(location: str, wanted: Any, empty_folder: Path) -> None:
    """All other records are damaged: whoever reads one gets an error."""
    says("With one it reads only what may match")
    says("For a condition on its field: a value, `one_of`, `between`, `prefix`, `absent`.")
    make(location, indexed=True)
    with sessiondb.open(location) as db:
        expected = dict(db.table("t").find({"f": wanted}))
    assert rot(location, lambda record: record not in expected.values()) == 505 - len(expected)
    with sessiondb.open(location) as db:
        table = db.table("t")
        assert dict(table.find({"f": wanted})) == expected
        assert table.count(where={"f": wanted}) == len(expected) > 0
        with pytest.raises(sessiondb.CorruptionError):
            dict(table.find({"pad": "intact"}))


@pytest.mark.parametrize("location", ["x.db", "x.lmdb"])
def test_without_an_index_every_record_is_read(location: str, empty_folder: Path) -> None:
    says("Without an index `find` reads every record of the table")
    make(location, indexed=False)
    assert rot(location, lambda record: record.get("f") == "n-30") == 10
    with sessiondb.open(location) as db, pytest.raises(sessiondb.CorruptionError):
        dict(db.table("t").find({"pad": prefix("int")}))


@pytest.mark.parametrize("location", ["x.json", "memory:"])
@pytest.mark.parametrize("wanted", CONDITIONS)
def test_in_memory_too_an_index_leads_to_the_matches(
    location: str, wanted: Any, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sessiondb.open(location) as db:
        table = db.table("t", indexes=["f"])
        table.put_many({f"k{number:03}": {"f": f"n-{number % 50:02}"} for number in range(500)})
        table["none"] = {}
        db.checkpoint()
        expected = dict(table.find({"f": wanted}))  # makes the index
        looked_at = []
        read = FieldReader.read
        monkeypatch.setattr(FieldReader, "read", lambda self, image: looked_at.append(image) or read(self, image))
        assert dict(table.find({"f": wanted})) == expected
        assert len(looked_at) <= len(expected) <= 20


@pytest.mark.parametrize("location", ["x.json", "x.db", "x.lmdb", "memory:"])
def test_only_what_is_returned_is_decoded(location: str, empty_folder: Path) -> None:
    says("Records are decoded when you get to them.")
    with sessiondb.open(location) as db:
        table = db.table("t")
        table.put_many({f"k{number:03}": {"f": number} for number in range(100)})
        for moved in (False, True):
            decoded: list[str] = []
            decode = table._codec.decode
            table._codec.decode = lambda key, image: decoded.append(key) or decode(key, image)  # type: ignore[method-assign]  # noqa: B023
            found = table.find({"f": between(10, 20)}, order_by="-f")
            assert next(found)[0] == "k020"
            assert decoded == ["k020"]
            found.close()  # type: ignore[attr-defined]
            table._codec.decode = decode  # type: ignore[method-assign]
            if not moved:
                db.checkpoint()


@pytest.mark.parametrize("location", ["x.json", "x.db", "x.lmdb"])
def test_an_index_survives_a_program_that_does_not_name_it(location: str, empty_folder: Path) -> None:
    says("An index stays until `drop_index`, also when a later program does not name it")
    with sessiondb.open(location) as db:
        db.table("t", indexes=["f"])["a"] = {"f": 1}
    with sessiondb.open(location) as db:
        assert db.table("t").indexes() == ["f"]
        with pytest.raises(sessiondb.ValidationError):
            db.table("t")["b"] = {"f": [1]}
        assert db.table("t").drop_index("f")
    with sessiondb.open(location) as db:
        assert db.table("t").indexes() == []


@pytest.mark.parametrize("location", ["x.db", "x.lmdb"])
def test_a_record_that_rots_may_be_missed_by_a_search_but_is_never_returned_and_check_finds_it(
    location: str, empty_folder: Path
) -> None:
    """SQLite looks at the field before the checksum is: guarantees.md says so."""
    guarantees = re.sub(r"\s+", " ", (ROOT / "docs" / "guarantees.md").read_text("utf-8"))
    assert "may be left out of a result or a count without an error; it is never returned" in guarantees
    with sessiondb.open(location) as db:
        db.table("t").put_many({"a": {"f": "before"}, "b": {"f": "other!"}})
        db.checkpoint()
    path = Path(location)
    file = path / "data.mdb" if path.is_dir() else path
    file.write_bytes(file.read_bytes().replace(b"before", b"behind"))
    with sessiondb.open(location) as db:
        table = db.table("t")
        with pytest.raises(sessiondb.CorruptionError):
            list(table.find({"f": "behind"}))
        try:
            assert list(table.find({"f": "before"})) == []
        except sessiondb.CorruptionError:
            assert location == "x.lmdb"
        assert any("'a'" in problem for problem in db.check())
