"""The contract of `BackendView.find` and `count_found`.

Every question is asked without an index, with one that was made over the records, and with one that saw them come.
"""

from __future__ import annotations

import threading

import msgspec
import pytest

from ..backend import Backend, BackendView, TableChanges
from ..query import Condition, Equal, Order, absent, between, one_of, prefix
from .backend_under_test import BackendUnderTest, advance, declare
from .documents import CONDITIONS, DOCUMENTS, FIELD_NAMES, ORDERS, check_answer, matches

__all__ = ["QueryContract"]


class QueryContract(BackendUnderTest):
    """Tests of queries and indexes; part of `sessiondb.testing.BackendContract`."""

    @pytest.fixture(params=["plain", "made after", "made before"])
    def asked(self, request: pytest.FixtureRequest, backend: Backend) -> BackendView:
        """A view of `DOCUMENTS` in table ``t``: without an index, or with indexes on ``f`` and ``g``."""
        if request.param == "made before":
            advance(backend, declare(f=True, g=True))
        view = advance(backend, {"t": TableChanges("json", False, dict(DOCUMENTS))})
        return advance(backend, declare(f=True, g=True)) if request.param == "made after" else view

    # ---- find

    def test_find_returns_every_record_that_satisfies_the_conditions_once(self, asked: BackendView) -> None:
        for where in CONDITIONS:
            check_answer(asked, DOCUMENTS, where)

    def test_exact_and_ordered_are_true_where_they_are_said(self, asked: BackendView) -> None:
        for order in ORDERS:
            for where in CONDITIONS[::7]:
                check_answer(asked, DOCUMENTS, where, order)

    def test_without_an_order_the_order_is_that_of_the_keys(self, asked: BackendView) -> None:
        for where in CONDITIONS:
            found = asked.find("t", where)
            keys = [key for key, _ in found.rows]
            assert not found.ordered or keys == sorted(keys, key=str.encode)

    @pytest.mark.parametrize("limit", [0, 1, 7, 1_000])
    def test_only_rows_that_are_exact_and_ordered_end_early(self, asked: BackendView, limit: int) -> None:
        for order in ORDERS:
            for where in CONDITIONS[::5]:
                check_answer(asked, DOCUMENTS, where, order, limit)

    @pytest.mark.parametrize("kind", ["text", "integer"])
    def test_a_field_of_one_kind_is_sorted_as_that_kind(self, backend: Backend, kind: str) -> None:
        values = ["2", "10", "-1", "9223372036854775807"] if kind == "integer" else ['"b"', '"a"', '"é"', '"\uffff"']
        texts = [f'{{"f":{value}}}' for value in [*values, "null", values[0]]]
        images = {f"{n}": text.encode() for n, text in enumerate([*texts, "{}"])}
        for indexes in ({}, {"f": True}):
            view = advance(backend, {"t": TableChanges("json", False, dict(images), indexes)})
            for descending in (False, True):
                order = (Order("f", descending, kind),)  # type: ignore[arg-type]
                for limit in (None, 2):
                    check_answer(view, images, (), order, limit)
                    check_answer(view, images, (Condition("f", Equal(None)),), order, limit)

    def test_rows_are_keys_and_images_byte_for_byte(self, asked: BackendView) -> None:
        assert dict(asked.find("t", ()).rows) == DOCUMENTS

    def test_find_in_an_absent_table_is_empty(self, backend: Backend) -> None:
        view = backend.read()
        for where in CONDITIONS[:3]:
            assert list(view.find("t", where, (Order("f", True),), 5).rows) == []
            assert view.count_found("t", where) in (None, 0)

    @pytest.mark.parametrize("name", FIELD_NAMES, ids=ascii)
    def test_odd_field_names_find_the_same(self, backend: Backend, name: str) -> None:
        field = msgspec.json.encode(name)
        values = [b"1", b'"a"', b"null", b"true", b'"ab"', b"0.5"]
        images = {f"{n}": b'{"other":1,%s:%s}' % (field, value) for n, value in enumerate(values)}
        images |= {"x": b"{}", "y": b'{"other":{%s:1}}' % field}
        has_index = name.isprintable() and name != ""
        for indexes in ({}, {name: True})[: 1 + has_index]:
            view = advance(backend, {"t": TableChanges("json", False, dict(images), indexes)})
            assert view.indexes("t") == frozenset(indexes)
            for test in (
                Equal(1),
                Equal("a"),
                Equal(None),
                Equal(True),
                absent,
                prefix("a"),
                between(0, 1),
                one_of(1, "a"),
            ):
                check_answer(view, images, (Condition(name, test),))
            for order in ((Order(name, False),), (Order(name, True), Order("other", False))):
                check_answer(view, images, (), order, 3)
        view = advance(backend, {"t": TableChanges(None, False, {}, {name: False})})
        assert view.indexes("t") == frozenset()

    def test_find_sees_odd_table_names(self, backend: Backend) -> None:
        for name in ["a b", 'a"b', "a'b", "a\\b", "é", "select", "T", "t"]:
            view = advance(backend, declare(name, {"a": b'{"f":1}', "b": b'{"f":2}'}, f=True))
            assert view.indexes(name) == {"f"}
            found = view.find(name, (Condition("f", Equal(2)),))
            assert found.exact is False or dict(found.rows) == {"b": b'{"f":2}'}

    def test_find_goes_on_in_its_view_while_apply_changes_the_state(self, backend: Backend) -> None:
        images = {f"{n:03}": b'{"f":%d}' % (n % 2) for n in range(100)}
        view = advance(backend, declare("t", images, f=True))
        rows = view.find("t", (Condition("f", between(0, 1)),)).rows
        seen = [next(rows)]
        advance(backend, {"t": TableChanges("json", True, {"000": b'{"f":7}'})})
        assert dict([*seen, *rows]) == images

    def test_find_serves_many_threads_from_its_first_use(self, backend: Backend) -> None:
        images = {f"{n:04}": b'{"f":%d,"g":"%d"}' % (n % 10, n % 7) for n in range(700)}
        view = advance(backend, declare("t", images, f=True, g=True))
        start = threading.Barrier(4)
        done = []

        def ask() -> None:
            start.wait()
            for number in range(10):
                check_answer(view, images, (Condition("f", Equal(number)), Condition("g", prefix("3"))))
                check_answer(view, images, (Condition("g", between("2", "4")),), (Order("f", True),), 9)
            done.append(True)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == 4

    # ---- count_found

    def test_count_found_agrees_with_find_or_is_none(self, asked: BackendView) -> None:
        for where in CONDITIONS:
            assert asked.count_found("t", where) in (None, len(matches(DOCUMENTS, where)))
