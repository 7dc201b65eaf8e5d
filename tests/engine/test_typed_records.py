"""Typed tables: what msgspec encodes and decodes to an equal value, under the encoded names."""

from dataclasses import dataclass, field
from typing import Annotated, NotRequired, TypedDict

import msgspec
import pytest

import sessiondb
from sessiondb import UNSET, UsageError, ValidationError


class Session(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    session: str
    task_id: str
    branch_name: str | None = None
    pr_state: str | msgspec.UnsetType | None = UNSET
    retries: Annotated[int, msgspec.Meta(ge=0)] = 0


@dataclass
class Job:
    id: str
    steps: list[str] = field(default_factory=list)
    owner: str | None = None


class Doc(TypedDict):
    id: str
    n: int
    note: NotRequired[str | None]


class Shape(msgspec.Struct, tag="circle", tag_field="kind"):
    radius: float


CASES = {
    "struct": (Session, lambda key: Session(session=key, task_id="t", branch_name="b", pr_state="open"), "session"),
    "dataclass": (Job, lambda key: Job(key, ["a"], None), "id"),
    "typed dict": (Doc, lambda key: Doc(id=key, n=1), "id"),
    "dict": (dict, lambda key: {"id": key, "x": [1]}, "id"),
    "dict of ints": (dict[str, int], lambda key: {"a": len(key)}, None),
    "tagged struct": (Shape, lambda key: Shape(1.5), None),
}


@pytest.mark.parametrize(("type", "make", "id"), CASES.values(), ids=CASES)
def test_records_of_a_type_come_back_equal(db, open_db, type, make, id):
    table = db.table("t", type, id=id)
    for key in "ab":
        if id is None:
            table.insert(key, make(key))
        else:
            table.insert(make(key))
    expected = {key: make(key) for key in "ab"}
    assert dict(table) == expected
    db.close()
    stored = open_db().table("t", type, id=id)
    assert dict(stored) == expected
    assert stored.type is type or stored.type == type


def test_null_and_unset_are_different(db):
    table = db.table("s", Session, id="session")
    raw = db.table("s")
    table.insert(Session(session="a", task_id="t", pr_state=None))
    table.insert(Session(session="b", task_id="t"))
    assert raw["a"] == {"session": "a", "taskId": "t", "prState": None}
    assert raw["b"] == {"session": "b", "taskId": "t"}
    assert (table["a"].pr_state, table["b"].pr_state) == (None, UNSET)
    assert table.patch("a", {"pr_state": UNSET}).pr_state is UNSET
    assert table.patch("b", {"pr_state": None}).pr_state is None
    assert raw["a"] == {"session": "a", "taskId": "t"}
    assert raw["b"] == {"session": "b", "taskId": "t", "prState": None}


def test_patch_takes_python_names_and_stores_encoded_ones(db):
    table = db.table("s", Session, id="session")
    table.insert(Session(session="a", task_id="t"))
    assert table.patch("a", {"branch_name": "main"}) == Session(session="a", task_id="t", branch_name="main")
    assert db.table("s")["a"] == {"session": "a", "taskId": "t", "branchName": "main"}
    for unknown in ("branchName", "nothing"):
        with pytest.raises(ValidationError, match="has no field") as caught:
            table.patch("a", {unknown: "x"})
        assert caught.value.path == f"$.{unknown}"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"branch_name": 1}, "$.branchName"), ({"retries": -1}, "$.retries"), ({"retries": "1"}, "$.retries"),
        ({"task_id": UNSET}, "$"), ({"task_id": None}, "$.taskId"), ({"branch_name": "\ud800"}, "$.branch_name"),
        ({"retries": 2**64}, "$"), ({"retries": True}, "$.retries"),
    ],
    ids=repr,
)  # fmt: skip
def test_patch_refuses_what_does_not_fit_the_type(db, changes, where):
    table = db.table("s", Session, id="session")
    table.insert(Session(session="a", task_id="t"))
    with pytest.raises(ValidationError) as caught:
        table.patch("a", changes)
    assert (caught.value.table, caught.value.key) == ("s", "a")
    assert caught.value.path.startswith(where)
    assert db.table("s")["a"] == {"session": "a", "taskId": "t"}


@pytest.mark.parametrize(
    "record",
    [
        Session(session="a", task_id=1), Session(session="a", task_id="t", retries=-1),
        Session(session="a", task_id="t", branch_name=b"x"), Session(session="a", task_id="\ud800"),
        {"session": "a", "taskId": "t"}, Job("a"), None, "text", 7, Session,
    ],
    ids=ascii,
)  # fmt: skip
def test_a_record_that_does_not_fit_the_type_is_refused(db, record):
    table = db.table("s", Session)
    with pytest.raises(ValidationError) as caught:
        table["a"] = record
    assert (caught.value.table, caught.value.key) == ("s", "a")
    assert dict(table) == {}
    assert db.tables() == {}


def test_a_stored_record_that_does_not_fit_the_type_is_an_error_that_names_it(db):
    raw = db.table("s")
    raw.update(a={"session": "a", "taskId": "t"}, b={"session": "b", "taskId": 7}, c=[1])
    table = db.table("s", Session)
    assert table["a"].task_id == "t"
    for key, path in (("b", "$.taskId"), ("c", "$")):
        with pytest.raises(ValidationError, match="stored record") as caught:
            table[key]
        assert (caught.value.key, caught.value.path) == (key, path)
        assert key in table
    with pytest.raises(ValidationError):
        dict(table)
    assert table.delete_many(["b", "c"]) == 2
    assert list(table) == ["a"]


@pytest.mark.parametrize("type", [Session, Job, Doc, Shape], ids=lambda type: type.__name__)
def test_unknown_fields_survive_patch_and_modify_and_not_put(db, type):
    raw = db.table("t")
    known = msgspec.to_builtins(CASES_BY_TYPE[type]("a"))
    raw["a"] = {"first": 0, **known, "future": {"deep": [1, None]}}
    table = db.table("t", type)
    name, value = {Session: ("task_id", "u"), Job: ("owner", "me"), Doc: ("note", None), Shape: ("radius", 2.5)}[type]
    table.patch("a", {name: value})
    assert raw["a"].items() >= {"first": 0}.items()
    assert raw["a"]["future"] == {"deep": [1, None]}
    table.modify("a", lambda record: record)
    assert raw["a"]["future"] == {"deep": [1, None]}
    assert next(iter(raw["a"])) == "first"
    table["a"] = table["a"]
    if type is not Doc:
        assert "future" not in raw["a"]


CASES_BY_TYPE = {type: make for type, make, _ in CASES.values()}


def test_modify_removes_a_known_field_and_keeps_an_unknown_one(db):
    raw = db.table("s")
    raw["a"] = {"session": "a", "taskId": "t", "branchName": "b", "future": 1}

    def clear(record):
        record.branch_name = None
        return record

    assert db.table("s", Session).modify("a", clear).branch_name is None
    assert raw["a"] == {"session": "a", "taskId": "t", "future": 1}


def test_a_tag_is_stored_and_asked_for(db):
    table = db.table("t", Shape)
    table["a"] = Shape(1.0)
    assert db.table("t")["a"] == {"kind": "circle", "radius": 1.0}
    db.table("t")["b"] = {"kind": "square", "radius": 1.0}
    with pytest.raises(ValidationError):
        table["b"]
    table.modify("a", lambda shape: Shape(2.0))
    assert db.table("t")["a"] == {"kind": "circle", "radius": 2.0}


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None


class Bill(msgspec.Struct):
    total: Money


def encode_money(value):
    if isinstance(value, Money):
        return f"{value.cents}c"
    raise NotImplementedError


def decode_money(type, value):
    return Money(int(value[:-1])) if type is Money else value


def test_hooks_store_own_types(db):
    table = db.table("bills", Bill, enc_hook=encode_money, dec_hook=decode_money)
    table["a"] = Bill(Money(5))
    assert table["a"] == Bill(Money(5))
    assert db.table("bills")["a"] == {"total": "5c"}
    assert table.patch("a", {"total": Money(6)}) == Bill(Money(6))
    assert table.modify("a", lambda bill: Bill(Money(bill.total.cents + 1))) == Bill(Money(7))
    assert table.replace("a", Bill(Money(7)), Bill(Money(8))) is True
    assert db.table("bills")["a"] == {"total": "8c"}


def test_an_own_type_without_hooks_is_refused_with_its_path(db):
    with pytest.raises(ValidationError):
        db.table("bills", Bill)["a"] = Bill(Money(5))
    assert db.tables() == {}


def test_a_hook_that_fails_changes_nothing(db):
    def fail(value):
        raise ZeroDivisionError

    table = db.table("bills", Bill, enc_hook=fail, dec_hook=decode_money)
    with pytest.raises(ZeroDivisionError):
        table["a"] = Bill(Money(5))
    assert dict(table) == {}


def test_a_hook_that_loses_something_is_caught(db):
    table = db.table("bills", Bill, enc_hook=lambda value: "0c", dec_hook=decode_money)
    with pytest.raises(ValidationError, match="come back") as caught:
        table["a"] = Bill(Money(5))
    assert caught.value.path == "$.total"


def test_a_struct_without_equality_is_compared_by_its_bytes(db):
    class Plain(msgspec.Struct, eq=False):
        n: int

    table = db.table("t", Plain)
    table["a"] = Plain(1)
    assert table["a"].n == 1
    with pytest.raises(ValidationError):
        table["a"] = Plain("text")


class Position(msgspec.Struct, array_like=True):
    x: int


@pytest.mark.parametrize(
    "type", [int, str, list, list[int], tuple, set, None, 7, "Session", Position, Session | Shape, complex], ids=str
)
def test_a_type_that_is_no_record_is_refused(db, type):
    with pytest.raises(UsageError, match="'t'"):
        db.table("t", type)


@pytest.mark.parametrize(("type", "id"), [(Session, "nothing"), (Job, "x"), (Doc, "x"), (bytes, "id")], ids=str)
def test_an_id_that_the_type_does_not_have_is_refused(db, type, id):
    with pytest.raises(UsageError, match="is no field"):
        db.table("t", type, id=id)


@pytest.mark.parametrize(
    "write",
    [
        lambda table: table.put("b", Job("a")),
        lambda table: table.insert("b", Job("a")),
        lambda table: table.put_many({"b": Job("a")}),
        lambda table: table.modify("a", lambda job: Job("b")),
        lambda table: table.modify("b", lambda job: job, default=Job("a")),
        lambda table: table.patch("a", {"id": "b"}),
        lambda table: table.patch("a", {"id": "a"}),
        lambda table: table.patch("a", {"id": UNSET}),
        lambda table: table.replace("a", Job("a"), Job("b")),
    ],
    ids=["put", "insert", "put_many", "modify", "default", "patch", "patch the same", "patch away", "replace"],
)
def test_the_id_cannot_change(db, write):
    table = db.table("t", Job, id="id")
    table.insert(Job("a"))
    with pytest.raises(ValidationError, match="id") as caught:
        write(table)
    assert caught.value.path == "$.id"
    assert dict(table) == {"a": Job("a")}


@pytest.mark.parametrize("key", ["", None, 7, "x\0", "k" * 481], ids=ascii)
def test_an_id_that_is_no_key_is_refused(db, key):
    with pytest.raises(ValidationError):
        db.table("t", dict, id="id").insert({"id": key})
    assert db.tables() == {}


def test_one_table_may_be_seen_as_several_types(db):
    db.table("t", Job)["a"] = Job("a", ["s"])
    assert db.table("t", dict)["a"] == {"id": "a", "steps": ["s"], "owner": None}
    with pytest.raises(sessiondb.UsageError, match="json"):
        db.table("t", bytes)
