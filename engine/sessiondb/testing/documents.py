"""Documents, conditions and orders with which a backend may go wrong, and how an answer is judged.

What is right is said by `sessiondb.query`: a backend may find more and say so (``exact=False``), it may leave the
sorting to the engine (``ordered=False``), but it may not be wrong.
"""

from __future__ import annotations

from itertools import product

from ..backend import BackendView
from ..query import Condition, Equal, Order, Predicate, Test, absent, between, one_of, prefix, sort_key

__all__ = ["CONDITIONS", "DOCUMENTS", "FIELD_NAMES", "ORDERS", "TESTS", "check_answer", "matches"]

_VALUES = [
    "null", "false", "true", "0", "-0.0", "1", "1.0", "0.5", "-3", "1e22", "1e-7", "0.1", "9007199254740993",
    "9007199254740992.0", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "18446744073709551616.0", "-9223372036854775808", "1.7976931348623157e308", "5e-324",
    '""', '"1"', '"1.0"', '"true"', '"null"', '"[1]"', '"{}"', '"a"', '"A"', '"ab"', '"a%"', '"a_b"', '"a*"', '"b"',
    '" a"', '"a "', '"a\\u0000"', '"a\\u0000b"', '"\\u0000"', '"\\u001f"', '"\\"\\\\\\n"', '"é"', '"e\u0301"', '"É"',
    '"\u00ff"', '"\ud7ff"', '"\ue000"', '"\uffff"', '"\U00010000"', '"\U0010ffff"', '"\U0010ffff\U0010ffff"',
    f'"{"x" * 999}y"', f'"{"x" * 999}z"', f'"{"x" * 5_000}y"', f'"{"x" * 5_000}z"',
    "[]", "[1]", '["a"]', "{}", '{"f":1}', '{"f":"a"}',
]  # fmt: skip
"""What the fields ``f`` and ``g`` hold, as JSON text."""

_MORE = ["1", "true", "null", '"f"', '"a"', "[]", '[{"f":1}]', "{}", '{"":1}', '{"F":1}', '{"f ":1}', '{"x":{"f":1}}']


def _documents() -> dict[str, bytes]:
    texts = [f'{{"f":{value}}}' for value in _VALUES]
    texts += [f'{{"g":{value},"n":0,"f":{_VALUES[-1 - n]}}}' for n, value in enumerate(_VALUES)]
    texts += [f'{{"n":{n % 3},"g":"a","f":"a"}}' for n in range(6)]
    return {f"{n * 37 % 1_000:03}": text.encode() for n, text in enumerate(texts + _MORE)}


DOCUMENTS = _documents()
"""Key to image: what a table of JSON records may hold."""

TESTS: list[Test] = [
    absent,
    *(Equal(value) for value in [
        None, False, True, 0, 1, 1.0, -3, 0.1, 0.5, 1e22, 2**53 + 1, 2.0**53, 2**63 - 1, 2**63, 2**64 - 1, 2.0**64,
        -(2**63), -(2.0**63), 5e-324, 7, "", "1", "true", "null", "[1]", "a", "A", "é", "e\u0301", "a\0", "\0",
        "x" * 999 + "y", "x" * 5_000 + "z", "x" * 5_000, "nobody",
    ]),
    one_of(), one_of(None), one_of(True, 0), one_of(1, "1"), one_of("a", "a", 1, 1.0, None),
    one_of("x" * 5_000 + "y", 2),
    one_of(*range(3_000)), one_of(*map(str, range(3_000))),
    prefix(""), prefix("a"), prefix("a%"), prefix("a_"), prefix("a*"), prefix("a\0"), prefix("\0"), prefix("A"),
    prefix("é"), prefix("\ud7ff"), prefix("\U0010ffff"), prefix("x" * 998), prefix("x" * 4_000), prefix("["),
    between(0, 1), between(None, 0), between(0, None), between(1.5, 1.5), between(2**53, 2**53 + 1),
    between(2**63, None),
    between(2.0**63, 2**64 - 1), between(-(2**63), -1), between(1, 0), between(-1e-300, 1e-300), between(None, 1e308),
    between("", None), between(None, ""), between("a", "b"), between("b", "a"), between("A", "a"), between("e", "é"),
    between("\ud7ff", "\uffff"), between("\uffff", None), between("\U00010000", "\U0010ffff"), between("a", "a\0"),
    between(None, "\0"), between("x" * 5_000, None), between("x" * 999, "x" * 999 + "y"), between("[", "{"),
]  # fmt: skip
"""One of each kind of condition for each kind of value."""

_PAIRS = product(
    [Equal("a"), Equal(1), absent, between(0, None), prefix("")],
    [Equal("a"), absent, between("a", "b"), one_of(1, "b")],
)
CONDITIONS: list[tuple[Condition, ...]] = [
    (),
    *((Condition("f", test),) for test in TESTS),
    *((Condition("f", test), Condition("g", other)) for test, other in _PAIRS),  # type: ignore[arg-type]
    (Condition("f", between("a", None)), Condition("f", between(None, "b"))),
    (Condition("f", prefix("a")), Condition("f", one_of("a", "ab")), Condition("missing", absent)),
    (Condition("missing", Equal(None)),),
    (Condition("missing", absent),),
]
"""Conditions that must hold together."""

ORDERS: list[tuple[Order, ...]] = [
    (), (Order("f", False),), (Order("f", True),), (Order("n", False), Order("f", True)), (Order("missing", True),),
    (Order("g", True), Order("f", False)), (Order("n", True), Order("g", False), Order("f", False)),
]  # fmt: skip
"""Orders; ties are broken by the key."""

FIELD_NAMES = [
    "f", "", " ", "a b", "a.b", "$", "$.f", "[0]", "'", "''", '"', "\\", "/", "%", "?", ";--", "é", "e\u0301", "😀",
    "\U0010ffff", "select", "key", "record", "F", "__class__", "f0", "#", "a\nb", "\t", "n" * 200,
]  # fmt: skip
"""Names of fields that a backend may misread; an index may be asked for on those that are printable and not empty."""


def matches(images: dict[str, bytes], where: tuple[Condition, ...]) -> dict[str, bytes]:
    """Those of the documents that satisfy all conditions."""
    predicate = Predicate(where)
    return {key: image for key, image in images.items() if predicate.matches(image)}


def matches_in_order(
    images: dict[str, bytes], where: tuple[Condition, ...], order: tuple[Order, ...]
) -> list[tuple[str, bytes]]:
    """The same, sorted."""
    return sorted(matches(images, where).items(), key=sort_key(order))


def check_answer(
    view: BackendView,
    images: dict[str, bytes],
    where: tuple[Condition, ...],
    order: tuple[Order, ...] = (),
    limit: int | None = None,
) -> None:
    """Compare what the view finds in table ``t`` with what a look at every document gives."""
    wanted = matches_in_order(images, where, order)
    found = view.find("t", where, order, limit)
    rows = list(found.rows)
    as_dict = dict(rows)
    assert len(as_dict) == len(rows), "a record was found twice"
    assert all(images[key] == image for key, image in rows), "an image is not that of its key"
    if found.exact and found.ordered and limit is not None:
        assert rows == wanted[: len(rows)]
        assert len(rows) >= min(limit, len(wanted))
    elif found.exact:
        assert as_dict == dict(wanted)
    else:
        assert dict(wanted).items() <= as_dict.items()
    if found.ordered:
        assert rows == [row for row in matches_in_order(images, (), order) if row[0] in as_dict]
