"""The contract of indexes: what `Backend.apply` makes and removes; and of `Backend.settle` and `abandon`."""

from __future__ import annotations

import os
import random
import warnings
from contextlib import suppress
from itertools import count

import pytest

from ..backend import Backend, Changes, Position, TableChanges
from ..errors import BackendError
from ..query import Condition, Equal, Order, absent
from .backend_under_test import BackendUnderTest, advance, contents, declare, json_images, no_pause
from .documents import CONDITIONS, DOCUMENTS, TESTS, check_answer, matches
from .faulty_files import FaultyFiles

__all__ = ["IndexContract"]


class IndexContract(BackendUnderTest):
    """Tests of indexes; part of `sessiondb.testing.BackendContract`."""

    # ---- indexes

    def test_no_field_has_an_index_before_one_was_made(self, backend: Backend) -> None:
        assert backend.read().indexes("t") == frozenset()
        assert advance(backend, json_images(a=b"{}")).indexes("t") == frozenset()

    def test_an_index_is_made_over_all_records_and_stays(self, backend: Backend, path: str) -> None:
        advance(backend, {"t": TableChanges("json", False, dict(DOCUMENTS))})
        assert advance(backend, declare(f=True)).indexes("t") == {"f"}
        assert advance(backend, json_images(zz=b'{"f":1}')).indexes("t") == {"f"}
        with self.beside(backend, path) as other:
            view = other.read()
            assert view.indexes("t") == {"f"}
            for test in TESTS:
                check_answer(view, {**DOCUMENTS, "zz": b'{"f":1}'}, (Condition("f", test),))

    def test_an_index_and_records_may_come_in_one_apply(self, backend: Backend, path: str) -> None:
        advance(backend, json_images(a=b'{"f":1}', b=b'{"f":1}'))
        advance(backend, declare("t", {"a": b'{"f":2}', "c": b'{"f":1}'}, f=True))
        with self.beside(backend, path) as other:
            images = {"a": b'{"f":2}', "b": b'{"f":1}', "c": b'{"f":1}'}
            check_answer(other.read(), images, (Condition("f", Equal(1)),))

    def test_an_index_is_removed(self, backend: Backend, path: str) -> None:
        advance(backend, declare("t", dict(DOCUMENTS), f=True, g=True))
        assert advance(backend, declare(f=False)).indexes("t") == {"g"}
        with self.beside(backend, path) as other:
            assert other.read().indexes("t") == {"g"}
            for where in CONDITIONS[::3]:
                check_answer(other.read(), DOCUMENTS, where)

    def test_making_and_removing_again_is_harmless(self, backend: Backend, path: str) -> None:
        for _ in range(2):
            assert advance(backend, declare("t", {"a": b'{"f":1}'}, f=True, g=False)).indexes("t") == {"f"}
        for _ in range(2):
            assert advance(backend, declare(f=False, g=True)).indexes("t") == {"g"}
        with self.beside(backend, path) as other:
            assert other.read().indexes("t") == {"g"}
            check_answer(other.read(), {"a": b'{"f":1}'}, (Condition("g", absent),))

    def test_an_index_makes_the_table_and_removing_one_does_not(self, backend: Backend, path: str) -> None:
        advance(backend, declare("t", f=True) | {"u": TableChanges(None, False, {}, {"f": False})})
        with self.beside(backend, path) as other:
            assert contents(other.read()) == {"t": ("json", {})}
            assert other.read().indexes("t") == {"f"}
            assert other.read().indexes("u") == frozenset()

    def test_indexes_go_with_their_table(self, backend: Backend, path: str) -> None:
        advance(backend, declare("t", {"a": b'{"f":1}'}, f=True) | declare("u", {"a": b'{"f":1}'}, f=True))
        advance(backend, {"t": TableChanges(None, True, {}), "u": TableChanges("json", True, {"b": b'{"f":1}'})})
        with self.beside(backend, path) as other:
            assert contents(other.read()) == {"u": ("json", {"b": b'{"f":1}'})}
            assert other.read().indexes("t") == other.read().indexes("u") == frozenset()
        assert advance(backend, json_images(c=b'{"f":1}')).indexes("t") == frozenset()
        check_answer(backend.read(), {"c": b'{"f":1}'}, (Condition("f", Equal(1)),))

    def test_a_drop_comes_before_the_indexes(self, backend: Backend, path: str) -> None:
        advance(backend, declare("t", {"a": b'{"f":1}'}, f=True, g=True))
        advance(backend, {"t": TableChanges("json", True, {"b": b'{"f":1}'}, {"f": True})})
        with self.beside(backend, path) as other:
            assert other.read().indexes("t") == {"f"}
            check_answer(other.read(), {"b": b'{"f":1}'}, (Condition("f", Equal(1)),))

    def test_a_table_of_bytes_has_no_index_and_may_follow_one_that_had(self, backend: Backend, path: str) -> None:
        advance(backend, declare("t", {"a": b'{"f":1}'}, f=True))
        advance(backend, {"t": TableChanges("bytes", True, {"a": b"\xff\0"})})
        with self.beside(backend, path) as other:
            assert contents(other.read()) == {"t": ("bytes", {"a": b"\xff\0"})}
            assert other.read().indexes("t") == frozenset()
            assert dict(other.read().find("t", ()).rows) == {"a": b"\xff\0"}
            assert other.check() == []

    def test_the_same_apply_with_indexes_may_be_made_again(self, backend: Backend, path: str) -> None:
        advance(backend, declare("t", {"a": b'{"f":1}', "b": b'{"f":1}'}, g=True))
        changes = {"t": TableChanges("json", False, {"a": b'{"f":2}', "b": None}, {"f": True, "g": False})}
        for _ in range(2):
            backend.apply(changes, Position(1, 1), Position(1, 2), no_pause)
            with self.beside(backend, path) as other:
                assert other.read().indexes("t") == {"f"}
                for test in (Equal(1), Equal(2)):
                    check_answer(other.read(), {"a": b'{"f":2}'}, (Condition("f", test),))

    def test_an_index_follows_its_records_through_many_applies(self, backend: Backend, path: str) -> None:
        chance = random.Random(7)
        documents = list(DOCUMENTS.values())
        images: dict[str, bytes] = {}
        advance(backend, declare(f=True, g=True))
        for size in (100, 1, 10, 3, 200, 1, 1, 30, 5, 2):
            changed = {f"k{chance.randrange(150)}": chance.choice([None, *documents]) for _ in range(size)}
            view = advance(backend, {"t": TableChanges("json", False, changed)})
            images |= {key: image for key, image in changed.items() if image is not None}
            images = {key: image for key, image in images.items() if changed.get(key, b"") is not None}
            for where in CONDITIONS[::4]:
                check_answer(view, images, where)
                assert view.count_found("t", where) in (None, len(matches(images, where)))
        with self.beside(backend, path) as other:
            for where in CONDITIONS:
                check_answer(other.read(), images, where, (Order("f", True),))
            assert other.check() == []

    def test_a_view_keeps_its_indexes_and_answers(self, backend: Backend) -> None:
        view = advance(backend, declare("t", dict(DOCUMENTS), f=True))
        half = dict.fromkeys(list(DOCUMENTS)[::2])
        advance(backend, {"t": TableChanges("json", False, {**half, "new": b'{"f":"a"}'}, {"f": False, "g": True})})
        middle = backend.read()
        advance(backend, {"t": TableChanges(None, True, {})})
        assert view.indexes("t") == {"f"}
        assert middle.indexes("t") == {"g"}
        left = {key: image for key, image in DOCUMENTS.items() if key not in half} | {"new": b'{"f":"a"}'}
        for where in CONDITIONS[::3]:
            check_answer(view, DOCUMENTS, where)
            check_answer(middle, left, where)

    def test_views_answer_after_the_backend_is_closed(self, backend: Backend) -> None:
        view = advance(backend, declare("t", dict(DOCUMENTS), f=True))
        backend.close()
        for where in CONDITIONS[::5]:
            check_answer(view, DOCUMENTS, where)
        assert view.indexes("t") == {"f"}

    def test_a_store_opened_read_only_finds_the_same(self, backend: Backend, files: FaultyFiles, path: str) -> None:
        self._must_be_durable()
        advance(backend, declare("t", dict(DOCUMENTS), f=True))
        backend.close()
        opened = self.backend_class.open(files, path, create=False, read_only=True)
        try:
            view = opened.read()
            assert view.indexes("t") == {"f"}
            for where in CONDITIONS:
                check_answer(view, DOCUMENTS, where)
            view.close()
        finally:
            opened.close()

    def test_check_finds_nothing_wrong_with_indexes(self, backend: Backend) -> None:
        view = advance(backend, declare("t", dict(DOCUMENTS), f=True, g=True))
        check_answer(view, DOCUMENTS, (Condition("f", Equal(1)),))
        assert backend.check() == []
        advance(backend, declare("t", dict.fromkeys(list(DOCUMENTS)[::3]), g=False))
        assert backend.check() == []

    def test_changes_with_indexes_are_never_mutated(self, backend: Backend) -> None:
        indexes = {"f": True, "g": False}
        images: dict[str, bytes | None] = {"a": b'{"f":1}', "b": None}
        advance(backend, {"t": TableChanges("json", False, images, indexes)})
        advance(backend, json_images(a=b'{"f":2}'))
        assert (images, indexes) == ({"a": b'{"f":1}', "b": None}, {"f": True, "g": False})

    def test_a_failed_apply_with_an_index_leaves_the_old_state_or_the_new_one(
        self, files: FaultyFiles, path: str
    ) -> None:
        """Each operation on files fails once; then the same apply is made again."""
        self._must_use_files()
        new: Changes = {"t": TableChanges("json", False, {"a": b'{"f":2}'}, {"f": True, "g": False})}
        for number in count(1):
            target = f"{path}-{number}"
            backend = self.backend_class.open(files, target, create=True)
            advance(backend, declare("t", {"a": b'{"f":1}'}, g=True))
            with files.failing_at(number) as failed, suppress(BackendError):
                backend.apply(new, Position(1, 1), Position(1, 2), no_pause)
            with self.beside(backend, target) as other:
                view = other.read()
                is_new = view.position == Position(1, 2)
                assert view.indexes("t") == {"f" if is_new else "g"}
                check_answer(view, {"a": b'{"f":%d}' % (1 + is_new)}, (Condition("f", Equal(2)),))
            backend.apply(new, Position(1, 1), Position(1, 2), no_pause)
            assert backend.read().indexes("t") == {"f"}
            check_answer(backend.read(), {"a": b'{"f":2}'}, (Condition("f", Equal(2)),))
            backend.close()
            if not failed:
                break
        assert number > 3

    # ---- settle, abandon

    def test_settle_changes_nothing_that_a_view_shows(self, backend: Backend, path: str) -> None:
        backend.settle()
        old = advance(backend, declare("t", dict(DOCUMENTS), f=True))
        new = advance(backend, {"t": TableChanges("json", False, dict.fromkeys(list(DOCUMENTS)[::2]))})
        with suppress(BackendError):  # it could not; that is logged, no more
            backend.settle()
        half = {key: image for n, (key, image) in enumerate(DOCUMENTS.items()) if n % 2}
        assert contents(old) == {"t": ("json", DOCUMENTS)}
        assert contents(new) == {"t": ("json", half)}
        assert old.indexes("t") == new.indexes("t") == {"f"}
        for where in CONDITIONS[::5]:
            check_answer(old, DOCUMENTS, where)
            check_answer(new, half, where)
        old.close()
        with suppress(BackendError):
            backend.settle()
        assert self.stored(backend, path) == (Position(1, 2), {"t": ("json", half)})

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_child_abandons_the_backend_and_the_parent_goes_on(self, backend: Backend, path: str) -> None:
        view = advance(backend, declare("t", dict(DOCUMENTS), f=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
            child = os.fork()
        if not child:
            status = 1
            with suppress(BaseException):
                backend.abandon()
                del view
                status = 0
            os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        check_answer(view, DOCUMENTS, (Condition("f", Equal("a")),))
        advance(backend, json_images(zz=b'{"f":1}'))
        assert self.stored(backend, path)[1] == {"t": ("json", {**DOCUMENTS, "zz": b'{"f":1}'})}
