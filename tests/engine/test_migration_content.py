"""The content digest is what docs/format/content-digest.md says, for ever, and the same on every backend."""

import hashlib

import pytest

from sessiondb.migration.content import NAMED_MAX, Problems, read_content, record_digest

TABLES = {
    "sessions": ("json", {"a": b'{"n":1.0}', "\u00e9": b"null", "b": b'"\\u0000"'}),
    "blobs": ("bytes", {"logo": b"\x00\xff", "none": b""}),
    "nothing": ("json", {}),
}


class View:
    """A state, whose keys come in the order that is given."""

    def __init__(self, tables, counts=None):
        self._tables = tables
        self._counts = counts or {}

    def tables(self):
        return {name: kind for name, (kind, _) in self._tables.items()}

    def scan(self, table):
        records = self._tables[table][1]
        return iter(sorted(records.items()) if isinstance(records, dict) else records)

    def count(self, table):
        return self._counts.get(table, len(self._tables[table][1]))

    def indexes(self, table):
        return frozenset({"n", "a"}) if table == "sessions" else frozenset()


def sized(*texts):
    return b"".join(len(data).to_bytes(8, "little") + data for data in (text.encode() for text in texts))


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def test_the_digests_are_these_and_no_others():
    """A store that was written down by its digest is recognised by every later version."""
    found = read_content(View(TABLES))
    assert found.digest == "8ef12f411b00d141f8e885c0afd9bbf2a254768863d3f3185bace078736397db"
    assert (
        record_digest("sessions", "json", "a", b'{"n":1.0}').hex()
        == "f12cfb8c147e14e034c17a87e279f999d90a2dd38e71dabbdf790bf53d35388d"
    )
    assert read_content(View({})).digest == hashlib.sha256().hexdigest()


def test_they_can_be_computed_from_the_specification_alone():
    tables = []
    for name in sorted(TABLES):
        kind, records = TABLES[name]
        keys = sorted(records, key=str.encode)
        digests = [sha256(sized(name, kind, key), records[key]) for key in keys]
        assert digests == [record_digest(name, kind, key, records[key]) for key in keys]
        tables.append(sha256(sized(name, kind), *digests))
    found = read_content(View(TABLES))
    assert [table.digest for table in found.tables.values()] == [digest.hex() for digest in tables]
    assert found.digest == sha256(*tables).hex()


def test_counts_and_sizes_and_indexes_are_told():
    found = read_content(View(TABLES))
    assert list(found.tables) == ["blobs", "nothing", "sessions"]
    assert found.records == 5
    sessions = found.tables["sessions"]
    assert (sessions.kind, sessions.records, sessions.indexes) == ("json", 3, ["a", "n"])
    assert sessions.bytes == len(b'a{"n":1.0}' + "\u00e9null".encode() + b'b"\\u0000"')


@pytest.mark.parametrize(
    "other",
    [
        {"sessions": ("json", {"a": b'{"n":1}'})},
        {"sessions": ("json", {"b": b'{"n":1.0}'})},
        {"sessions": ("bytes", {"a": b'{"n":1.0}'})},
        {"session": ("json", {"a": b'{"n":1.0}'})},
        {"sessions": ("json", {})},
        {"sessions": ("json", {"a": b'{"n":1.0}', "b": b"1"})},
        {"sessions": ("json", {"a": b'{"n":1.0}'}), "empty": ("json", {})},
        {},
    ],
    ids=repr,
)
def test_whatever_differs_has_another_digest(other):
    assert read_content(View(other)).digest != read_content(View({"sessions": ("json", {"a": b'{"n":1.0}'})})).digest


def test_no_text_can_be_taken_for_two():
    """Each part has its length before it."""
    one = read_content(View({"t": ("bytes", {"ab": b"c"})}))
    assert one.digest != read_content(View({"t": ("bytes", {"a": b"bc"})})).digest
    assert record_digest("ab", "json", "c", b"") != record_digest("a", "json", "bc", b"")


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([("b", b"1"), ("a", b"1")], "key 'a': it comes behind 'b', out of order"),
        ([("a", b"1"), ("a", b"1")], "out of order"),
        ([("", b"1")], "key ''"),
        ([("a\0", b"1")], "NUL"),
        ([("\ud800", b"1")], "key '\\ud800'"),
        ([("a", b"{")], "it is no JSON (1 bytes)"),
        ([("a", b'"\xff"')], "it is no JSON"),
        ([("a", b"")], "it is no JSON"),
    ],
    ids=repr,
)
def test_a_record_that_is_none_is_named(records, problem):
    problems = Problems()
    read_content(View({"t": ("json", records)}), problems)
    assert problems.count == 1
    assert problem in str(problems)
    assert "table 't'" in str(problems)


def test_bytes_are_not_looked_into():
    problems = Problems()
    read_content(View({"t": ("bytes", {"a": b"{"})}), problems)
    assert problems.count == 0


def test_a_count_that_is_wrong_is_named():
    problems = Problems()
    read_content(View({"t": ("json", {"a": b"1"})}, {"t": 2}), problems)
    assert str(problems) == "table 't' counts 2 records, 1 were found"


def test_many_problems_are_counted():
    problems = Problems()
    for number in range(NAMED_MAX + 5):
        problems.note(f"p{number}")
    problems.note("")
    assert str(problems).endswith("p9; and 5 more")


def test_what_is_read_is_reported_and_looked_at():
    seen, reports = [], []
    tables = {"t": ("json", {f"{n:04}": b"1" for n in range(2500)})}
    read_content(View(tables), None, lambda *numbers: reports.append(numbers), lambda *record: seen.append(record))
    assert reports == [(1000, 2500), (2000, 2500), (2500, 2500)]
    assert seen[0] == ("t", "json", "0000", b"1")
    assert len(seen) == 2500
