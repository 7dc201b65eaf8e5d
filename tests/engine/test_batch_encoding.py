"""Records that are encoded together: the same bytes, the same refusals, and no record is another one's."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessiondb import batch_encoding
from sessiondb.batch_encoding import encode_all
from sessiondb.codec import RecordCodec
from sessiondb.errors import TransactionTooLargeError, ValidationError

MANY = 2 * batch_encoding.TOGETHER_MAX + 3


class Job(msgspec.Struct):
    id: str
    n: int = 0
    when: datetime.datetime | None = None


class Odd(msgspec.Struct, eq=False):
    n: int


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.lists(values, max_size=6))
def test_the_bytes_are_those_of_one_by_one(records: list[Any]) -> None:
    codec: RecordCodec[Any] = RecordCodec("t")
    pairs = [(f"k{number}", record) for number, record in enumerate(records)]
    assert encode_all(codec, pairs) == [codec.encode(key, record) for key, record in pairs]


@pytest.mark.parametrize("count", [0, 1, batch_encoding.TOGETHER_MAX, MANY])
def test_any_number_of_them(count: int) -> None:
    codec: RecordCodec[Any] = RecordCodec("t")
    assert encode_all(codec, [(f"k{n}", {"n": n}) for n in range(count)]) == [b'{"n":%d}' % n for n in range(count)]


@pytest.mark.parametrize("at", [0, 1, batch_encoding.TOGETHER_MAX, MANY - 1])
@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"x": float("nan")}, "$.x"), ({"x": (1, 2)}, "$.x"), ({"x": b"y"}, "$.x"), ({"x": 2**64}, "$.x"), ({1: 2}, ""),
        ({"x": object()}, "$.x"), (msgspec.Raw(b"1],[2"), ""), (msgspec.Raw(b"1,2"), ""), (Job("k0"), ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_key(at: int, wrong: object, problem: str) -> None:
    codec: RecordCodec[Any] = RecordCodec("t")
    pairs: list[tuple[str, Any]] = [(f"k{n}", {"n": n}) for n in range(MANY)]
    pairs[at] = (f"k{at}", wrong)
    with pytest.raises(ValidationError) as caught:
        encode_all(codec, pairs)
    assert caught.value.key == f"k{at}"
    assert problem in str(caught.value)


def test_what_is_too_large_or_too_deep_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    codec: RecordCodec[Any] = RecordCodec("t")
    deep: Any = "x"
    for _ in range(201):
        deep = [deep]
    with pytest.raises(ValidationError, match="200 levels"):
        encode_all(codec, [("a", 1), ("b", [deep, "y" * 500])])
    monkeypatch.setattr("sessiondb.codec.RECORD_BYTES_MAX", 1000)
    with pytest.raises(TransactionTooLargeError):
        encode_all(codec, [("a", 1), ("b", "y" * 1001)])


def test_types_ids_hooks_versions_and_bytes_are_as_one_by_one() -> None:
    when = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
    jobs = [(f"k{n}", Job(f"k{n}", n, when)) for n in range(5)]
    typed: RecordCodec[Job] = RecordCodec("t", Job, id="id")
    assert encode_all(typed, jobs) == [typed.encode(key, job) for key, job in jobs]
    with pytest.raises(ValidationError, match="not the key") as caught:
        encode_all(typed, [*jobs, ("other", Job("k9"))])
    assert caught.value.key == "other"
    odd: RecordCodec[Odd] = RecordCodec("t", Odd)
    assert encode_all(odd, [("a", Odd(1)), ("b", Odd(2))]) == [b'{"n":1}', b'{"n":2}']
    marked: RecordCodec[Any] = RecordCodec("t", version=2, upgrades={1: lambda document: document})
    assert encode_all(marked, [("a", {"n": 1}), ("b", {})]) == [marked.encode("a", {"n": 1}), marked.encode("b", {})]
    hooked: RecordCodec[Any] = RecordCodec("t", enc_hook=str)
    with pytest.raises(ValidationError):
        encode_all(hooked, [("a", 1), ("b", {"x": object()})])
    raw: RecordCodec[Any] = RecordCodec("t", bytes)
    assert encode_all(raw, [("a", b"1"), ("b", bytearray(b"2"))]) == [b"1", b"2"]


def test_a_record_that_is_used_again_by_a_generator_is_stored_as_it_was(db: Any) -> None:
    def reused() -> Any:
        record = {}
        for n in range(5):
            record["n"] = n
            yield f"k{n}", record

    table = db.table("t")
    table.put_many(reused())
    assert [record["n"] for record in table.values()] == [0, 1, 2, 3, 4]
    same = {"n": 7}
    table.put_many([("k0", same), ("k1", same)])
    assert (table["k0"], table["k1"]) == (same, same)
