"""The contract of `BackendView` and `Backend.read`: what a reader of the applied state may rely on."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from ..backend import Backend, Position, TableChanges
from .backend_under_test import BackendUnderTest, contents, deletions, json_images, no_pause

__all__ = ["ViewContract"]

ODD_KEYS = [
    " ", "!", '"', "'", "/", "..", "\\", "%", "_", "a\nb", "a\tb", "\x01", "\x7f", "A", "a", "é", "e\u0301", "ß",
    "\ud7ff", "\ue000", "\uffff", "\U00010000", "😀", "\U0010ffff", "k" * 480, "𐍈" * 120,
]  # fmt: skip
"""Keys in whose order or spelling a backend may err."""


class ViewContract(BackendUnderTest):
    """Tests of views; part of `sessiondb.testing.BackendContract`."""

    @pytest.fixture
    def filled(self, backend: Backend) -> Backend:
        """Two tables at position 1:3: JSON records a, c, e in ``t``, one record of raw bytes in ``b``."""
        changes = {
            **json_images(a=b'{"n":1}', c=b'{"n":3}', e=b'{"n":5}'),
            "b": TableChanges("bytes", False, {"x": b"\0\xff"}),
        }
        backend.apply(changes, backend.position(), Position(1, 3), no_pause)
        return backend

    def test_a_view_carries_the_position_of_its_state(self, filled: Backend) -> None:
        assert filled.read().position == Position(1, 3)

    def test_read_shows_the_state_as_stored_now(self, filled: Backend) -> None:
        assert filled.read().get("t", "a") == b'{"n":1}'
        filled.apply(json_images(a=b"2"), Position(1, 3), Position(1, 4), no_pause)
        assert filled.read().get("t", "a") == b"2"

    def test_nothing_that_apply_does_later_shows_in_a_view(self, filled: Backend) -> None:
        view = filled.read()
        before = contents(view)
        changes = {
            "t": TableChanges("json", False, {"a": b"9", "b": b"9", "c": None}),
            "b": TableChanges(None, True, {}),
            "new": TableChanges("json", False, {"k": b"9"}),
        }
        filled.apply(changes, Position(1, 3), Position(1, 4), no_pause)
        assert view.position == Position(1, 3)
        assert contents(view) == before
        assert view.get("t", "a") == b'{"n":1}'
        assert view.get_many("t", ["a", "b", "c"]) == {"a": b'{"n":1}', "c": b'{"n":3}'}
        assert (view.count("t"), view.count("b"), view.count("new")) == (3, 1, 0)

    def test_a_scan_goes_on_in_its_view_while_apply_changes_the_state(self, filled: Backend) -> None:
        scan = filled.read().scan("t")
        assert next(scan) == ("a", b'{"n":1}')
        filled.apply(json_images(b=b"0", c=None, e=b"0"), Position(1, 3), Position(1, 4), no_pause)
        assert list(scan) == [("c", b'{"n":3}'), ("e", b'{"n":5}')]

    def test_a_view_may_be_closed_or_just_forgotten(self, filled: Backend) -> None:
        filled.read().close()
        filled.read()
        filled.apply(json_images(a=b"2"), Position(1, 3), Position(1, 4), no_pause)
        assert filled.read().get("t", "a") == b"2"

    def test_a_view_serves_many_threads(self, filled: Backend) -> None:
        images: dict[str, bytes | None] = {f"{n:04}": b"%d" % n for n in range(500)}
        filled.apply({"t": TableChanges("json", True, images)}, Position(1, 3), Position(1, 4), no_pause)
        view = filled.read()
        start = threading.Barrier(4)
        wrong: list[object] = []

        def read_it_all() -> None:
            start.wait()
            if dict(view.scan("t")) != images or view.count("t") != 500:
                wrong.append("scan or count")
            wrong.extend(key for key, image in images.items() if view.get("t", key) != image)

        threads = [threading.Thread(target=read_it_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    def test_reads_from_other_threads_see_the_state_before_or_after_an_apply(self, backend: Backend) -> None:
        keys = [f"{n:03}" for n in range(100)]
        stop = threading.Event()
        mixtures: list[object] = []

        def watch() -> None:
            while not stop.is_set():
                view = backend.read()
                seen = set(dict(view.scan("t")).values())
                if len(seen) > 1 or (seen and seen != {b"%d" % view.position.lsn}):
                    mixtures.append((view.position, seen))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for lsn in range(1, 30):
                images: dict[str, bytes | None] = dict.fromkeys(keys, b"%d" % lsn)
                backend.apply(
                    {"t": TableChanges("json", False, images)}, Position(1, lsn - 1), Position(1, lsn), no_pause
                )
        finally:
            stop.set()
            watcher.join()
        assert not mixtures

    def test_tables_gives_every_table_with_its_kind(self, filled: Backend) -> None:
        assert filled.read().tables() == {"t": "json", "b": "bytes"}

    def test_a_table_exists_from_its_first_record_until_it_is_dropped(self, filled: Backend, path: str) -> None:
        filled.apply(deletions("t", "a", "c", "e"), Position(1, 3), Position(1, 4), no_pause)
        assert self.stored(filled, path)[1]["t"] == ("json", {})
        filled.apply(deletions("t", dropped=True), Position(1, 4), Position(1, 5), no_pause)
        assert "t" not in self.stored(filled, path)[1]

    def test_get_gives_a_records_bytes(self, filled: Backend) -> None:
        view = filled.read()
        assert view.get("t", "a") == b'{"n":1}'
        assert view.get("b", "x") == b"\0\xff"

    def test_get_gives_none_when_table_or_key_is_absent(self, filled: Backend) -> None:
        view = filled.read()
        assert view.get("t", "b") is None
        assert view.get("absent", "a") is None

    def test_get_many_gives_those_keys_that_are_present(self, filled: Backend) -> None:
        view = filled.read()
        assert view.get_many("t", iter(["c", "b", "a", "c"])) == {"a": b'{"n":1}', "c": b'{"n":3}'}
        assert view.get_many("t", []) == {}
        assert view.get_many("absent", ["a"]) == {}

    def test_get_many_takes_thousands_of_keys(self, backend: Backend) -> None:
        images: dict[str, bytes | None] = {f"k{n}": b"%d" % n for n in range(3_000)}
        backend.apply({"t": TableChanges("json", False, images)}, Position(1, 0), Position(1, 1), no_pause)
        assert backend.read().get_many("t", [*images, "absent"]) == images

    def test_scan_gives_records_from_start_up_to_but_without_stop(self, filled: Backend) -> None:
        view = filled.read()

        def keys(start: str | None, stop: str | None) -> str:
            forward = [key for key, _ in view.scan("t", start, stop)]
            assert [key for key, _ in view.scan("t", start, stop, reverse=True)] == forward[::-1]
            return "".join(forward)

        assert keys(None, None) == "ace"
        assert keys("a", "e") == "ac"
        assert keys("b", "f") == "ce"
        assert keys("c", None) == "ce"
        assert keys(None, "c") == "a"
        assert keys("c", "c") == ""
        assert keys("d", "b") == ""

    def test_scan_of_an_absent_table_is_empty(self, filled: Backend) -> None:
        assert list(filled.read().scan("absent")) == []
        assert list(filled.read().scan("absent", "a", "z", reverse=True)) == []

    def test_scan_is_in_the_order_of_the_keys_utf8_bytes(self, backend: Backend, path: str) -> None:
        images: dict[str, bytes | None] = dict.fromkeys(reversed(ODD_KEYS), b"0")
        backend.apply({"t": TableChanges("json", False, images)}, Position(1, 0), Position(1, 1), no_pause)
        in_order = sorted(ODD_KEYS, key=str.encode)
        with self.beside(backend, path) as other:
            assert [key for key, _ in other.read().scan("t")] == in_order
            assert [key for key, _ in other.read().scan("t", reverse=True)] == in_order[::-1]
            for start, stop in pairwise(in_order):
                assert [key for key, _ in other.read().scan("t", start, stop)] == [start]

    def test_count_gives_the_number_of_records(self, filled: Backend) -> None:
        view = filled.read()
        assert (view.count("t"), view.count("b")) == (3, 1)

    def test_count_of_an_absent_table_is_0(self, filled: Backend) -> None:
        assert filled.read().count("absent") == 0

    def test_views_stay_usable_after_the_backend_is_closed(self, filled: Backend) -> None:
        view = filled.read()
        before = contents(view)
        filled.close()
        assert contents(view) == before
