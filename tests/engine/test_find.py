"""Find: backend and memtable merged, as one state, whatever a checkpoint has moved."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sessiondb
from sessiondb import UsageError, ValidationError, absent, between, one_of, prefix
from sessiondb.query import Condition, Equal, Order, Predicate, sort_key
from sessiondb.wal.operations import Drop


class Job(msgspec.Struct, rename="camel"):
    name: str
    run_count: int = 0
    state: str | None = None
    started_at: datetime.datetime | None = None
    tags: list[str] = []


@pytest.fixture
def memory():
    with sessiondb.open("memory:") as db:
        yield db


def keys(found):
    return [key for key, _ in found]


def count_decodes(table):
    """The keys of the records that are decoded from now on."""
    decoded = []
    decode = table._codec.decode
    table._codec.decode = lambda key, image: decoded.append(key) or decode(key, image)
    return decoded


# ---- merging


def test_what_the_memtable_has_hides_what_the_backend_has(memory):
    t = memory.table("t", indexes=["n"])
    t.put_many({f"k{i}": {"n": i % 3} for i in range(9)})
    memory.checkpoint()
    t["k0"] = {"n": 7}
    del t["k3"]
    t["new"] = {"n": 0}
    assert keys(t.find({"n": 0})) == ["k6", "new"]
    assert keys(t.find({"n": 7})) == ["k0"]
    assert t.count(where={"n": 0}) == 2
    assert t.count(where={"n": 7}) == 1


def test_a_limit_counts_after_the_merge(memory):
    t = memory.table("t")
    t.put_many({f"k{i}": {"n": i} for i in range(10)})
    memory.checkpoint()
    t.delete_many(["k0", "k1", "k2"])
    t["k9"] = {"n": -1}
    assert keys(t.find(limit=3)) == ["k3", "k4", "k5"]
    assert keys(t.find(order_by="n", limit=3)) == ["k9", "k3", "k4"]
    assert keys(t.find(order_by="n", limit=2, offset=2)) == ["k4", "k5"]
    assert keys(t.find(order_by="-n", limit=2, offset=5)) == ["k3", "k9"]
    assert keys(t.find(limit=0)) == []
    assert keys(t.find(offset=100)) == []


def test_a_dropped_table_hides_what_the_backend_has(memory):
    t = memory.table("t", indexes=["n"])
    t["a"] = {"n": 1}
    memory.checkpoint()
    memory.drop("t")
    assert keys(t.find({"n": 1})) == []
    assert t.count(where={"n": 1}) == 0
    assert t.indexes() == []
    t["b"] = {"n": 1}
    assert keys(t.find({"n": 1})) == ["b"]


def test_a_search_sees_the_moment_of_the_call(memory):
    t = memory.table("t", indexes=["n"])
    t.put_many({"a": {"n": 1}, "b": {"n": 1}})
    found = t.find({"n": 1})
    t["a"] = {"n": 2}
    t["c"] = {"n": 1}
    memory.checkpoint()
    t["b"] = {"n": 3}
    assert list(found) == [("a", {"n": 1}), ("b", {"n": 1})]
    assert keys(t.find({"n": 1})) == ["c"]


def test_the_memtable_is_searched_at_the_moment_of_the_call_though_its_index_is_newer(memory):
    t = memory.table("t", indexes=["n"])
    t["a"] = {"n": 1}
    before = t.find({"n": 1})
    t["a"] = {"n": 2}
    assert keys(t.find({"n": 2})) == ["a"]  # brings the index up to date
    assert keys(before) == ["a"]
    assert keys(t.find({"n": 1})) == []


# ---- what it costs


@pytest.mark.parametrize("moved", [False, True], ids=["memtable", "backend"])
def test_a_search_by_an_index_decodes_only_matches(memory, moved):
    t = memory.table("t", indexes=["n"])
    t.put_many({f"k{i}": {"n": i % 100} for i in range(1_000)})
    if moved:
        memory.checkpoint()
    decoded = count_decodes(t)
    assert len(list(t.find({"n": 7}))) == 10
    assert len(decoded) == 10
    list(t.find({"n": between(7, 8)}, order_by="-n", limit=5))
    assert len(decoded) == 15


@pytest.mark.parametrize("wanted", [7, one_of(7, 8), between(7, 8)], ids=str)
def test_a_search_by_an_index_in_the_memtable_looks_at_matches_only(memory, monkeypatch, wanted):
    t = memory.table("t", indexes=["n"])
    memory.checkpoint()  # the one that a new index asks for would come at any time
    t.put_many({f"k{i}": {"n": i % 100} for i in range(1_000)})
    list(t.find({"n": 7}))  # makes the index
    looked_at = []
    read = sessiondb.query.FieldReader.read
    monkeypatch.setattr(
        sessiondb.query.FieldReader, "read", lambda self, image: looked_at.append(image) or read(self, image)
    )
    assert len(list(t.find({"n": wanted}))) == len(looked_at) <= 20
    t["new"] = {"n": 7}
    looked_at.clear()
    found = len(list(t.find({"n": wanted})))
    assert len(looked_at) == found + 1  # the new record once more, for the index


def test_a_reader_takes_what_it_needs_and_no_more(memory):
    t = memory.table("t")
    t.put_many({f"k{i:03}": {"n": i} for i in range(500)})
    memory.checkpoint()
    decoded = count_decodes(t)
    found = t.find()
    assert next(found)[0] == "k000"
    assert decoded == ["k000"]


# ---- typed tables


def test_fields_have_their_python_names(memory):
    jobs = memory.table("jobs", Job, indexes=["run_count"])
    jobs["a"] = Job("x", run_count=3)
    jobs["b"] = Job("y", run_count=4)
    assert keys(jobs.find({"run_count": 3})) == ["a"]
    assert keys(jobs.find(order_by="-run_count")) == ["b", "a"]
    assert jobs.indexes() == ["run_count"]
    assert memory.table("jobs").indexes() == ["runCount"]
    for wrong in ("runCount", "nothing"):
        with pytest.raises(UsageError, match=f"no field '{wrong}'.*run_count"):
            jobs.find({wrong: 3})
        with pytest.raises(UsageError, match=wrong):
            jobs.find(order_by=f"-{wrong}")
        with pytest.raises(UsageError, match=wrong):
            memory.table("jobs", Job, indexes=[wrong])


UTC = datetime.UTC


def at(hour: int, minute: int = 0, us: int = 0, offset: int = 0) -> datetime.datetime:
    zone = datetime.timezone(datetime.timedelta(hours=offset)) if offset else UTC
    return datetime.datetime(2026, 5, 1, hour, minute, 0, us, zone)


@pytest.mark.parametrize("indexes", [[], ["started_at"]], ids=["plain", "indexed"])
@pytest.mark.parametrize("moved", [False, True], ids=["memtable", "backend"])
def test_instants_are_compared_as_instants_and_not_as_text(memory, indexes, moved):
    """As text 12:00:00.5Z comes before 12:00:00Z, and 14:00+02:00 is another than 12:00Z."""
    jobs = memory.table("jobs", Job, indexes=indexes)
    times = {
        "a": at(12), "b": at(12, us=500_000), "c": at(14, offset=2), "d": at(13), "e": None, "f": at(11, 59),
    }  # fmt: skip
    jobs.put_many({key: Job(key, started_at=time) for key, time in times.items()})
    if moved:
        memory.checkpoint()
    assert keys(jobs.find({"started_at": between(at(12), at(12, us=500_000))})) == ["a", "b", "c"]
    assert keys(jobs.find({"started_at": at(12)})) == ["a", "c"]
    assert keys(jobs.find({"started_at": one_of(at(13), at(11, 59))})) == ["d", "f"]
    assert keys(jobs.find({"started_at": between(at(12), None)})) == ["a", "b", "c", "d"]
    assert keys(jobs.find({"started_at": between(None, at(11, 59))})) == ["f"]
    assert keys(jobs.find({"started_at": None})) == ["e"]
    assert keys(jobs.find(order_by="started_at")) == ["f", "a", "c", "b", "d", "e"]
    assert keys(jobs.find(order_by="-started_at")) == ["d", "b", "a", "c", "f", "e"]
    assert keys(jobs.find(order_by="-started_at", limit=2, offset=1)) == ["b", "a"]
    assert jobs.count(where={"started_at": at(12)}) == 2


def test_a_naive_and_an_aware_time_cannot_be_compared(memory):
    jobs = memory.table("jobs", Job)
    jobs["a"] = Job("a", started_at=at(12))
    naive = datetime.datetime(2026, 5, 1)
    with pytest.raises(UsageError, match="started_at"):
        list(jobs.find({"started_at": between(naive, None)}))


def test_a_list_cannot_have_an_index(memory):
    with pytest.raises(UsageError, match="tags"):
        memory.table("jobs", Job, indexes=["tags"])


# ---- wrong calls


WRONG_FINDS: list[dict[str, Any]] = [
    *({"where": {"n": value}} for value in ([1], {"x": 1}, float("nan"), 2**64, "\ud800", b"x", one_of([1], [2]))),
    {"where": {"n": between(1, "x")}}, {"where": {"n": between(True, False)}}, {"where": {1: 1}}, {"where": "n"},
    {"order_by": ""}, {"order_by": ["-"]}, {"order_by": [1]},
    {"limit": -1}, {"limit": True}, {"limit": "1"}, {"offset": -1},
]  # fmt: skip


@pytest.mark.parametrize("arguments", WRONG_FINDS, ids=ascii)
def test_a_wrong_search_is_refused_at_once(memory, arguments):
    with pytest.raises(UsageError):
        memory.table("t").find(**arguments)


def test_a_count_takes_a_prefix_of_keys_or_conditions(memory):
    with pytest.raises(UsageError, match="not both"):
        memory.table("t").count("a", where={"n": 1})


@pytest.mark.parametrize("field", ["a\nb", "", "x" * 300, "é" * 101, 7], ids=ascii)
def test_a_field_whose_name_no_index_can_have_is_refused(memory, field):
    with pytest.raises(UsageError):
        memory.table("t").create_index(field)


def test_between_needs_an_end_and_a_prefix_a_text():
    with pytest.raises(UsageError):
        between(None, None)
    with pytest.raises(UsageError):
        prefix(1)


def test_a_table_of_bytes_has_no_fields(memory):
    t = memory.table("b", bytes)
    t["a"] = b"{}"
    assert list(t.find()) == [("a", b"{}")]
    for call in (lambda: t.find({"n": 1}), lambda: t.find(order_by="n"), lambda: t.create_index("n")):
        with pytest.raises(UsageError, match="bytes"):
            call()


# ---- what an indexed field may hold


def test_a_value_that_cannot_be_indexed_is_refused_before_it_is_logged(memory):
    t = memory.table("t", indexes=["n"])
    before = memory.position()
    for value in ([1], {"x": 1}, "a\0b", "é" * 501, "x" * 1_001):
        with pytest.raises(ValidationError) as caught:
            t["a"] = {"n": value}
        assert (caught.value.table, caught.value.key, caught.value.path) == ("t", "a", "$.n")
    assert memory.position() == before
    for value in ("é" * 500, "", None, True, 2**64 - 1, 1e308):
        t["a"] = {"n": value}
    t["b"] = {}
    t["c"] = 3
    with pytest.raises(ValidationError):
        t.put_many({"d": {"n": 1}, "e": {"n": [1]}})
    assert "d" not in t


def test_an_index_is_not_made_over_a_record_that_cannot_be_indexed(memory):
    t = memory.table("t")
    t["a"] = {"n": [1]}
    with pytest.raises(ValidationError, match="list"):
        t.create_index("n")
    assert t.indexes() == []
    t["b"] = {"n": [2]}  # and nothing is checked any more


def test_after_the_index_is_dropped_any_value_goes(memory):
    t = memory.table("t", indexes=["n", "m"])
    assert t.drop_index("n")
    assert not t.drop_index("n")
    t["a"] = {"n": [1]}
    with pytest.raises(ValidationError):
        t["a"] = {"m": [1]}
    memory.drop("t")
    t["a"] = {"m": [1]}


def test_a_handle_without_indexes_keeps_to_those_of_others(memory):
    memory.table("t", indexes=["n"])
    t = memory.table("t")
    assert t.indexes() == ["n"]
    with pytest.raises(ValidationError):
        t["a"] = {"n": [1]}


def test_an_index_that_is_there_is_not_declared_again(memory):
    t = memory.table("t", indexes=["n"])
    before = memory.position()
    memory.table("t", indexes=["n"])
    assert not t.create_index("n")
    assert memory.position() == before


def test_an_index_survives_in_log_and_backend(open_db, monkeypatch):
    db = open_db()
    # A new index makes a checkpoint due in the background; this one stays in the log.
    monkeypatch.setattr(db._open.checkpointer, "became_dirty", lambda _due: None)
    monkeypatch.setattr(db._open.checkpointer, "run", lambda: None)
    db.table("t", indexes=["n"]).put("a", {"n": 1})
    db.close()
    db = open_db()
    assert db.recovery_report.transactions == 2
    t = db.table("t")
    assert t.indexes() == ["n"]
    with pytest.raises(ValidationError):
        t["a"] = {"n": [1]}
    db.close()
    db = open_db()
    assert db.recovery_report.transactions == 0
    assert db.table("t").indexes() == ["n"]
    assert keys(db.table("t").find({"n": 1})) == ["a"]


def test_a_read_only_database_makes_no_index(open_db):
    db = open_db()
    db.table("t")["a"] = {"n": 1}
    db.close()
    db = open_db(read_only=True)
    t = db.table("t", indexes=["n"])
    assert t.indexes() == []
    assert keys(t.find({"n": 1})) == ["a"]


# ---- against a simple model

values = st.sampled_from([None, True, False, 0, 1, 1.0, -3, 2.5, "", "a", "ab", "b", "é", 2**63, [1], {"x": 1}, ...])
records = st.fixed_dictionaries({}, optional={"a": values, "b": values}).map(
    lambda record: {field: value for field, value in record.items() if value is not ...}
)
names = st.sampled_from([f"k{number}" for number in range(8)])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), names, records),
        st.tuples(st.just("delete"), names, st.none()),
        st.tuples(st.sampled_from(["checkpoint", "look", "drop"]), st.none(), st.none()),
    ),
    max_size=25,
)
scalars = st.sampled_from([None, True, False, 0, 1, 1.0, -3, 2.5, "", "a", "ab", "b", "é", 2**63])
numbers = st.sampled_from([0, 1, -3, 2.5, 2**63, None])
texts = st.sampled_from(["", "a", "ab", "b", "é", None])
tests = st.one_of(
    scalars,
    st.just(absent),
    st.lists(scalars, max_size=3).map(one_of),
    st.tuples(numbers, numbers).filter(any).map(lambda ends: between(*ends)),
    st.tuples(texts, texts).filter(lambda ends: ends != (None, None)).map(lambda ends: between(*ends)),
    st.sampled_from(["", "a", "ab", "z"]).map(prefix),
)
queries = st.tuples(
    st.dictionaries(st.sampled_from(["a", "b"]), tests, max_size=2),
    st.lists(st.sampled_from(["a", "-a", "b", "-b"]), max_size=2),
    st.none() | st.integers(0, 4),
    st.integers(0, 3),
)


def expected(model: dict[str, Any], where: Any, order_by: Any, limit: int | None, offset: int) -> list[str]:
    conditions = []
    for field, wanted in where.items():
        test = wanted if isinstance(wanted, (*sessiondb.query.Test.__args__,)) else Equal(wanted)
        conditions.append(Condition(field, test))
    order = [Order(name.lstrip("-"), name.startswith("-")) for name in order_by]
    images = [(key, msgspec.json.encode(record)) for key, record in model.items()]
    chosen = sorted((pair for pair in images if Predicate(conditions).matches(pair[1])), key=sort_key(order))
    return keys(chosen)[offset:][:limit]


def is_indexable(record: dict[str, Any]) -> bool:
    return not isinstance(record.get("a"), (list, dict))


@settings(max_examples=150, deadline=None)
@given(steps=steps, queries=st.lists(queries, min_size=1, max_size=4), indexed=st.booleans())
def test_any_query_finds_what_a_plain_look_finds(steps, queries, indexed):
    with sessiondb.open("memory:") as db:
        t = db.table("t", indexes=["a"] if indexed else [])
        model: dict[str, Any] = {}
        for step, key, record in steps:
            if step == "put" and (is_indexable(record) or not indexed):
                t[key] = model[key] = record
            elif step == "delete":
                t.pop(key, None)
                model.pop(key, None)
            elif step == "checkpoint":
                db.checkpoint()
            elif step == "drop":
                db.drop("t")
                indexed = False
                model.clear()
            elif step == "look":
                list(t.find({"a": 1}))
        for where, order_by, limit, offset in queries:
            found = list(t.find(where, order_by=order_by, limit=limit, offset=offset))
            assert keys(found) == expected(model, where, order_by, limit, offset)
            assert all(record == model[key] for key, record in found)
            assert t.count(where=where) == len(expected(model, where, (), None, 0))


def test_dropping_a_table_while_its_index_is_made_leaves_no_rule(memory):
    """Whoever drops it goes around the handle: through the committer, as another process will."""
    memory.table("t", indexes=["n"])
    memory._open.committer.commit((Drop("t"),))
    assert memory.table("t").indexes() == []
