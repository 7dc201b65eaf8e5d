"""The contract of backends on a server: one owner at a time, and every other one is told so."""

from __future__ import annotations

import pytest

from ..backend import Backend, Ownership, Position
from ..errors import FencedError
from .backend_under_test import BackendUnderTest, json_images, no_pause

__all__ = ["OwnershipContract"]

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))
MINE = Ownership(is_current=True, lost_after=None, host="one")


def _of(backend: Backend, owner: bytes) -> Ownership:
    """Without the time, which is for people."""
    return backend.ownership(owner)._replace(since_us=0)


class OwnershipContract(BackendUnderTest):
    """For backends with ``remote = True``, beside `BackendContract`: subclass it and set the same names."""

    def test_the_class_says_that_it_is_on_a_server(self) -> None:
        assert self.backend_class.remote
        assert self.backend_class.durable

    def test_a_new_store_has_no_owner(self, backend: Backend) -> None:
        for owner in (b"", ONE):
            assert _of(backend, owner) == Ownership(is_current=False, lost_after=None, host="")

    def test_taking_over_begins_an_epoch_and_keeps_the_lsn(self, backend: Backend, path: str) -> None:
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 7), no_pause)
        before = self.stored(backend, path)
        assert backend.take_over(ONE, b"", "one", Position(1, 7)) == Position(2, 7)
        assert self.stored(backend, path) == (Position(2, 7), before[1])
        with self.beside(backend, path) as other:
            assert _of(other, ONE) == MINE

    def test_at_another_position_nothing_is_taken_over(self, backend: Backend, path: str) -> None:
        backend.take_over(ONE, b"", "one", Position(1, 0))
        for expected in (Position(1, 0), Position(2, 1), Position(3, 0)):
            with pytest.raises(FencedError):
                backend.take_over(TWO, b"", "two", expected)
        assert self.stored(backend, path) == (Position(2, 0), {})
        assert _of(backend, ONE) == MINE
        assert _of(backend, TWO) == Ownership(is_current=False, lost_after=None, host="one")

    def test_the_owner_before_is_fenced_and_told_where_its_time_ended(self, backend: Backend, path: str) -> None:
        backend.take_over(ONE, b"", "one", Position(1, 0))
        backend.apply(json_images(a=b"1"), Position(2, 0), Position(2, 5), no_pause)
        with self.beside(backend, path) as other:
            other.take_over(TWO, b"", "two", Position(2, 5))
            with pytest.raises(FencedError):
                backend.apply(json_images(a=b"2"), Position(2, 5), Position(2, 6), no_pause)
            other.apply(json_images(b=b"3"), Position(3, 5), Position(3, 9), no_pause)
            for each in (backend, other):
                assert _of(each, ONE) == Ownership(is_current=False, lost_after=5, host="two")
                assert _of(each, TWO) == Ownership(is_current=True, lost_after=None, host="two")
        assert self.stored(backend, path) == (Position(3, 9), {"t": ("json", {"a": b"1", "b": b"3"})})

    def test_everybody_who_was_taken_over_from_is_remembered(self, backend: Backend) -> None:
        backend.take_over(ONE, b"", "one", Position(1, 0))
        backend.take_over(TWO, b"", "two", Position(2, 0))
        backend.apply(json_images(a=b"1"), Position(3, 0), Position(3, 4), no_pause)
        backend.take_over(THREE, b"", "three", Position(3, 4))
        found = [_of(backend, owner) for owner in (ONE, TWO, THREE)]
        assert found == [
            Ownership(is_current=False, lost_after=0, host="three"),
            Ownership(is_current=False, lost_after=4, host="three"),
            Ownership(is_current=True, lost_after=None, host="three"),
        ]

    def test_an_owner_that_goes_on_under_another_id_is_not_taken_over_from(self, backend: Backend) -> None:
        backend.take_over(ONE, b"", "one", Position(1, 0))
        assert backend.take_over(TWO, ONE, "one", Position(2, 0)) == Position(3, 0)
        assert _of(backend, TWO) == MINE
        assert _of(backend, ONE) == Ownership(is_current=False, lost_after=None, host="one")

    def test_an_id_that_is_not_the_owners_any_more_is_not_forgotten(self, backend: Backend) -> None:
        backend.take_over(ONE, b"", "one", Position(1, 0))
        backend.take_over(TWO, b"", "two", Position(2, 0))
        backend.take_over(THREE, ONE, "one", Position(3, 0))
        assert _of(backend, ONE) == Ownership(is_current=False, lost_after=0, host="one")
        assert _of(backend, TWO) == Ownership(is_current=False, lost_after=0, host="one")
