"""The contract of backends that can be the target of a migration: a whole store takes the place of another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..backend import Changes, Identity, Position, TableChanges
from ..errors import UsageError
from ..replacement import Replacement
from .backend_under_test import BackendUnderTest, Contents, contents, json_images, no_pause
from .faulty_files import FaultyFiles
from .view_contract import ODD_KEYS

__all__ = ["ReplacementContract"]

OLD: Changes = {**json_images("old", a=b'{"n":1}'), "t": TableChanges("json", False, {"a": b'"old"', "z": b"1"})}
NEW: Changes = {
    "t": TableChanges("json", False, {key: b'{"n":%d,"text":"\\u0000"}' % n for n, key in enumerate(ODD_KEYS)}),
    "b": TableChanges("bytes", False, {"x": b"\0\xff", "empty": b""}),
    "nothing": TableChanges("json", False, {}),
}
MORE: Changes = {"t": TableChanges("json", False, {"more": b'{"$v":2,"n":-1.50}'}, {"n": True, "text": True})}
RESULT: Contents = {
    "t": ("json", {key: image for change in (NEW, MORE) for key, image in change["t"].images.items() if image}),
    "b": ("bytes", {"x": b"\0\xff", "empty": b""}),
    "nothing": ("json", {}),
}
Before = tuple[Identity, Position] | None


class ReplacementContract(BackendUnderTest):
    """For backends with a `replacement`, beside `BackendContract`: subclass it and set the same names."""

    @pytest.fixture(params=["nothing", "a store"])
    def before(self, request: pytest.FixtureRequest, files: FaultyFiles, path: str) -> Before:
        """What is at the path."""
        if request.param == "nothing":
            return None
        return self.make_store(files, path)

    def make_store(self, files: FaultyFiles, path: str) -> tuple[Identity, Position]:
        """A closed store."""
        backend = self.backend_class.open(files, path, create=True)
        backend.apply(OLD, Position(1, 0), Position(4, 7), no_pause)
        backend.settle()
        made = (backend.identity(), backend.position())
        backend.close()
        return made

    @pytest.fixture
    def made(self, files: FaultyFiles, path: str, before: Before) -> Iterator[Replacement]:
        """A replacement to which everything was added."""
        self.prepare(path)
        made = self.backend_class.replacement(files, path, before)
        for changes in (NEW, MORE):
            made.add(changes, no_pause)
        yield made
        made.discard()

    def prepare(self, path: str) -> None:
        """What the engine makes before a store is made: a folder, where the store is one."""
        folder = self.backend_class.log_folder(path)
        if folder is not None and Path(folder).parent == Path(path):
            Path(path).mkdir(exist_ok=True)

    def there(self, path: str) -> tuple[Identity, Position, Contents] | None:
        """What is at the path."""
        files = FaultyFiles()
        if not self.backend_class.exists(files, path):
            return None
        backend = self.backend_class.open(files, path, create=False)
        try:
            assert backend.check() == []
            view = backend.read()
            found = (backend.identity(), view.position, contents(view))
            view.close()
            return found
        finally:
            backend.close()

    def put_in_place(self, made: Replacement) -> None:
        """As a migration does it: first everything is read back."""
        assert made.check() == []
        view = made.read()
        assert contents(view) == RESULT
        view.close()
        made.take_place()

    def test_until_it_takes_its_place_what_was_there_is_there(
        self, files: FaultyFiles, path: str, before: Before
    ) -> None:
        was = self.there(path)
        assert (was is None) == (before is None)
        self.prepare(path)
        made = self.backend_class.replacement(files, path, before)
        made.add(NEW, no_pause)
        if not self.backend_class.remote:  # else who opens it waits for the transaction that makes the other one
            assert self.there(path) == was
        made.discard()
        assert self.there(path) == was

    def test_it_takes_its_place_with_everything_that_was_added(self, made: Replacement, path: str) -> None:
        self.put_in_place(made)
        found = self.there(path)
        assert found is not None
        assert found[2] == RESULT

    def test_it_has_a_uuid_of_its_own_and_a_position(self, made: Replacement, path: str, before: Before) -> None:
        self.put_in_place(made)
        found = self.there(path)
        assert found is not None
        assert before is None or found[0].uuid != before[0].uuid
        assert found[1] >= Position(1, 1)

    def test_indexes_are_kept(self, made: Replacement, path: str) -> None:
        made.take_place()
        backend = self.backend_class.open(FaultyFiles(), path, create=False)
        view = backend.read()
        assert {name: view.indexes(name) for name in view.tables()} == {
            "t": {"n", "text"}, "b": frozenset(), "nothing": frozenset(),
        }  # fmt: skip
        view.close()
        backend.close()

    def test_it_can_be_written_to_when_it_has_taken_its_place(self, made: Replacement, path: str) -> None:
        self.put_in_place(made)
        backend = self.backend_class.open(FaultyFiles(), path, create=False)
        at = backend.position()
        backend.apply(json_images(new=b"1"), at, Position(at.epoch, at.lsn + 1), no_pause)
        view = backend.read()
        assert view.get("t", "new") == b"1"
        view.close()
        backend.close()

    def test_one_to_which_nothing_was_added_is_a_store_without_tables(
        self, files: FaultyFiles, path: str, before: Before
    ) -> None:
        self.prepare(path)
        self.backend_class.replacement(files, path, before).take_place()
        found = self.there(path)
        assert found is not None
        assert found[2] == {}

    def test_a_discarded_one_leaves_nothing(self, made: Replacement, path: str, before: Before) -> None:
        view = made.read()
        view.close()
        for _ in range(2):
            made.discard()
        found = self.there(path)
        assert (found is None) == (before is None)
        assert found is None or found[2] == {name: (c.kind, dict(c.images)) for name, c in OLD.items()}
        assert self.backend_class.remove_leftovers(FaultyFiles(), path) == []

    def test_to_discard_one_that_has_taken_its_place_does_nothing(self, made: Replacement, path: str) -> None:
        self.put_in_place(made)
        made.discard()
        found = self.there(path)
        assert found is not None
        assert found[2] == RESULT

    def test_what_an_interrupted_one_left_is_removed_and_named(
        self, files: FaultyFiles, path: str, before: Before
    ) -> None:
        self._must_use_files()
        self.prepare(path)
        made = self.backend_class.replacement(files, path, before)
        made.add(NEW, no_pause)
        made.read().close()  # everything is written; then the process ends
        was = self.there(path)
        named = self.backend_class.remove_leftovers(FaultyFiles(), path)
        assert named
        assert not [name for name in named if Path(name).exists()]
        assert self.backend_class.remove_leftovers(FaultyFiles(), path) == []
        assert self.there(path) == was

    def test_a_second_one_begins_anew(self, made: Replacement, files: FaultyFiles, path: str, before: Before) -> None:
        self._must_use_files()
        second = self.backend_class.replacement(files, path, before)
        second.add(MORE, no_pause)
        second.take_place()
        found = self.there(path)
        assert found is not None
        assert found[2] == {"t": ("json", {"more": MORE["t"].images["more"]})}

    def test_a_copy_is_a_store_with_the_same_records_and_the_first_stays_as_it_is(
        self, files: FaultyFiles, path: str
    ) -> None:
        self.make_store(files, path)
        was = self.there(path)
        assert was is not None
        copies = [self.backend_class.copy_aside(files, path, "before-20260131-235959") for _ in range(2)]
        assert len({place for place, _ in copies}) == 2
        for place, shown in copies:
            found = self.there(place)
            assert found is not None
            assert found[2] == was[2]
            assert "before-20260131-235959" in shown
        assert self.there(path) == was

    def test_a_layout_that_is_not_known_is_refused(self) -> None:
        self.backend_class.must_have_layout(None)
        with pytest.raises(UsageError, match="layout"):
            self.backend_class.must_have_layout("no such layout")

    def test_the_backends_own_layout_takes_every_record(self) -> None:
        for table, (kind, images) in RESULT.items():
            assert {self.backend_class.misfit(table, kind, key, image) for key, image in images.items()} <= {""}
