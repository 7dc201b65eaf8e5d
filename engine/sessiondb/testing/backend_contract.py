"""The contract of `Backend`: one test for each sentence of `sessiondb.backend`."""

from __future__ import annotations

import errno
from copy import deepcopy
from itertools import count
from pathlib import Path

import pytest

from ..backend import Backend, Changes, Position, TableChanges
from ..errors import BackendError, CorruptionError, FencedError, SessionDBError, UnsupportedFormatError
from ..errors import WrongBackendError as WrongBackend
from .backend_under_test import contents, deletions, json_images, no_pause
from .faulty_files import FaultyFiles
from .index_contract import IndexContract
from .query_contract import QueryContract
from .view_contract import ODD_KEYS, ViewContract

__all__ = ["BackendContract"]


def folder_bytes(path: str) -> dict[str, bytes]:
    """Every file around a path."""
    root = Path(path).parent
    return {str(file): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


class BackendContract(ViewContract, QueryContract, IndexContract):
    """Subclass it in a test module and set `backend_class`; the other names of `BackendUnderTest` as needed.

    The tests look at a location through a second backend object, so what only the first one remembers does not
    count as stored.
    """

    # ---- open, exists, log_folder

    def test_the_class_says_its_scheme(self) -> None:
        assert self.backend_class.scheme.isidentifier()

    def test_a_durable_backend_names_its_log_folder_and_another_one_has_none(self, path: str) -> None:
        folder = self.backend_class.log_folder(path)
        assert (folder is not None) == self.backend_class.durable
        assert folder is None or not Path(folder).exists()

    def test_exists_is_false_when_nothing_is_there_and_changes_nothing(self, files: FaultyFiles, path: str) -> None:
        assert self.backend_class.exists(files, path) is False
        assert not Path(path).exists()

    def test_exists_is_true_for_a_store(self, backend: Backend, files: FaultyFiles, path: str) -> None:
        backend.close()
        before = folder_bytes(path)
        assert self.backend_class.exists(files, path) is self.backend_class.durable
        assert folder_bytes(path) == before

    def test_something_else_is_refused_and_left_untouched(self, files: FaultyFiles, path: str) -> None:
        self._must_be_durable()
        self.put_foreign(path)
        before = folder_bytes(path)
        with pytest.raises(WrongBackend, match="expected"):
            self.backend_class.exists(files, path)
        for create in (False, True):
            with pytest.raises(WrongBackend):
                self.backend_class.open(files, path, create=create)
        assert folder_bytes(path) == before

    def test_a_new_store_is_at_position_1_0_and_has_no_tables(self, backend: Backend, path: str) -> None:
        assert self.stored(backend, path) == (Position(1, 0), {})

    def test_opening_without_create_makes_nothing(self, files: FaultyFiles, path: str) -> None:
        self._must_be_durable()
        with pytest.raises(SessionDBError):
            self.backend_class.open(files, path, create=False)
        assert folder_bytes(path) == {}

    def test_a_new_store_is_durable_when_open_returns(self, path: str) -> None:
        self._must_use_files()
        files = FaultyFiles()
        self.backend_class.open(files, path, create=True).close()
        assert files.counts["fsync"] + files.counts["fdatasync"] >= 1
        assert files.counts["sync_folder"] >= 1

    def test_what_an_earlier_process_did_not_sync_is_durable_when_open_returns(
        self, backend: Backend, path: str
    ) -> None:
        self._must_use_files()
        backend.close()
        files = FaultyFiles()
        self.backend_class.open(files, path, create=False).close()
        assert files.counts["fsync"] + files.counts["fdatasync"] >= 1
        assert files.counts["sync_folder"] >= 1

    def test_opening_read_only_changes_and_syncs_nothing(self, backend: Backend, path: str) -> None:
        self._must_use_files()
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
        backend.close()
        before = folder_bytes(path)
        files = FaultyFiles()
        opened = self.backend_class.open(files, path, create=False, read_only=True)
        assert contents(opened.read()) == {"t": ("json", {"a": b"1"})}
        opened.close()
        assert folder_bytes(path) == before
        assert set(files.counts) <= {"open", "pread", "names", "map"}

    def test_a_store_that_cannot_be_read_is_a_failure_and_not_empty(self, backend: Backend, path: str) -> None:
        self._must_use_files()
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
        backend.close()
        for operation in ("open", "pread"):
            files = FaultyFiles()
            with files.failing(operation), pytest.raises(BackendError):
                self.backend_class.open(files, path, create=True)
        assert self.stored(backend, path)[1] == {"t": ("json", {"a": b"1"})}

    def test_all_files_are_touched_through_files(self, path: str) -> None:
        self._must_use_files()
        files = FaultyFiles()
        with files.failing("*"), pytest.raises(BackendError):
            self.backend_class.open(files, path, create=True)
        assert folder_bytes(path) == {}

    def test_damage_is_refused(self, backend: Backend, files: FaultyFiles, path: str) -> None:
        self._must_be_durable()
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
        backend.close()
        self.damage(path)
        before = folder_bytes(path)
        with pytest.raises(CorruptionError):
            self.backend_class.open(files, path, create=True)
        assert folder_bytes(path) == before

    def test_a_store_of_a_later_version_is_refused(self, backend: Backend, files: FaultyFiles, path: str) -> None:
        self._must_be_durable()
        backend.close()
        self.make_newer(path)
        before = folder_bytes(path)
        with pytest.raises(UnsupportedFormatError, match="upgrade"):
            self.backend_class.open(files, path, create=True)
        assert folder_bytes(path) == before

    # ---- identity, position

    def test_the_identity_is_16_bytes_that_no_other_store_has(self, backend: Backend, path: str) -> None:
        other = self.backend_class.open(FaultyFiles(), f"{path}-other", create=True)
        try:
            assert len(backend.identity().uuid) == 16
            assert backend.identity().uuid != other.identity().uuid
            assert backend.identity().format_version >= 1
        finally:
            other.close()

    def test_the_identity_is_stored_and_stays(self, backend: Backend, path: str) -> None:
        before = backend.identity()
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
        assert backend.identity() == before
        with self.beside(backend, path) as other:
            assert other.identity() == before

    def test_the_position_is_read_from_the_location(self, backend: Backend, path: str) -> None:
        with self.beside(backend, path) as other:
            other.apply(json_images(a=b"1"), Position(1, 0), Position(2, 5), no_pause)
            assert backend.position() == Position(2, 5)

    # ---- apply

    def test_apply_stores_changes_and_position_durably(self, backend: Backend, path: str) -> None:
        changes = {**json_images(a=b"[1]"), "b": TableChanges("bytes", False, {"x": b"\0"})}
        backend.apply(changes, Position(1, 0), Position(1, 2), no_pause)
        assert self.stored(backend, path) == (
            Position(1, 2), {"t": ("json", {"a": b"[1]"}), "b": ("bytes", {"x": b"\0"})}
        )  # fmt: skip

    def test_apply_without_changes_stores_the_position(self, backend: Backend, path: str) -> None:
        backend.apply({}, Position(1, 0), Position(3, 9), no_pause)
        assert self.stored(backend, path) == (Position(3, 9), {})

    def test_images_are_stored_byte_for_byte(self, backend: Backend, path: str) -> None:
        texts: list[bytes] = [b"null", b"false", b"0", b'""', b"{}", b"1.5", b'"\xc3\xa9\\n"', '{"é":"😀"}'.encode()]
        raw = [b"", b"\0", bytes(range(256)), b"null", b"x" * 100_000]
        changes: Changes = {
            "json": TableChanges("json", False, {f"{n}": text for n, text in enumerate(texts)}),
            "raw": TableChanges("bytes", False, {f"{n}": data for n, data in enumerate(raw)}),
        }
        backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
        _, found = self.stored(backend, path)
        assert list(found["json"][1].values()) == texts
        assert list(found["raw"][1].values()) == raw

    def test_odd_keys_and_table_names_are_kept(self, backend: Backend, path: str) -> None:
        names = ["t", "T", "a b", "a.b", 'a"b', "a'b", "a\\b", "a/b", "..", "é", "😀", "select", "tables", "1"]
        images: dict[str, bytes | None] = {key: b"%d" % n for n, key in enumerate(ODD_KEYS)}
        changes = {name: TableChanges("json", False, images) for name in names}
        backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
        assert self.stored(backend, path)[1] == dict.fromkeys(names, ("json", images))

    def test_an_image_of_none_deletes_the_key(self, backend: Backend, path: str) -> None:
        backend.apply(json_images(a=b"1", b=b"2"), Position(1, 0), Position(1, 1), no_pause)
        backend.apply(json_images(a=None, c=b"3"), Position(1, 1), Position(1, 2), no_pause)
        assert self.stored(backend, path)[1] == {"t": ("json", {"b": b"2", "c": b"3"})}

    def test_deleting_an_absent_key_is_harmless(self, backend: Backend, path: str) -> None:
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
        backend.apply(deletions("t", "b"), Position(1, 1), Position(1, 2), no_pause)
        assert self.stored(backend, path) == (Position(1, 2), {"t": ("json", {"a": b"1"})})

    def test_deletions_alone_create_no_table(self, backend: Backend, path: str) -> None:
        backend.apply(deletions("t", "a"), Position(1, 0), Position(1, 1), no_pause)
        backend.apply(deletions("u", "a", dropped=True), Position(1, 1), Position(1, 2), no_pause)
        assert self.stored(backend, path) == (Position(1, 2), {})

    def test_a_table_whose_records_all_went_in_one_apply_exists_when_its_kind_is_known(
        self, backend: Backend, path: str
    ) -> None:
        backend.apply(json_images(a=None), Position(1, 0), Position(1, 1), no_pause)
        assert self.stored(backend, path)[1] == {"t": ("json", {})}

    def test_a_drop_comes_before_the_images(self, backend: Backend, path: str) -> None:
        backend.apply(json_images(a=b"1", b=b"2"), Position(1, 0), Position(1, 1), no_pause)
        backend.apply({"t": TableChanges("json", True, {"b": b"3"})}, Position(1, 1), Position(1, 2), no_pause)
        assert self.stored(backend, path)[1] == {"t": ("json", {"b": b"3"})}

    def test_a_key_that_was_made_again_is_stored_like_any_other(self, backend: Backend, path: str) -> None:
        backend.apply(json_images(a=b"1", b=b"2"), Position(1, 0), Position(1, 1), no_pause)
        again = {"t": TableChanges("json", False, {"a": b"3", "c": b"4", "b": None}, recreated=("c", "a"))}
        backend.apply(again, Position(1, 1), Position(1, 2), no_pause)
        assert self.stored(backend, path)[1] == {"t": ("json", {"a": b"3", "c": b"4"})}

    def test_what_is_found_was_written_by_nobody_else(self, backend: Backend, path: str) -> None:
        assert backend.foreign_edit() is None
        with self.beside(backend, path) as other:
            assert other.foreign_edit() is None

    def test_a_drop_takes_the_kind_with_it(self, backend: Backend, path: str) -> None:
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
        backend.apply({"t": TableChanges("bytes", True, {"a": b"\xff"})}, Position(1, 1), Position(1, 2), no_pause)
        assert self.stored(backend, path)[1] == {"t": ("bytes", {"a": b"\xff"})}

    def test_the_same_apply_may_be_made_again(self, backend: Backend, path: str) -> None:
        changes = {"t": TableChanges("json", True, {"a": b"2", "b": None})}
        for _ in range(2):
            backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
            assert self.stored(backend, path) == (Position(1, 1), {"t": ("json", {"a": b"2"})})

    def test_changes_are_never_mutated(self, backend: Backend) -> None:
        changes = {**json_images(a=b"1", b=None), **deletions("u", "x", dropped=True)}
        before = deepcopy(changes)
        backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
        assert changes == before

    @pytest.mark.parametrize("stored", [Position(1, 4), Position(1, 6), Position(2, 5), Position(2, 0)], ids=str)
    def test_apply_at_another_position_is_fenced_and_changes_nothing(
        self, backend: Backend, path: str, stored: Position
    ) -> None:
        backend.apply(json_images(a=b"1"), Position(1, 0), stored, no_pause)
        with pytest.raises(FencedError):
            backend.apply(json_images(a=b"2", b=b"2"), Position(1, 5), Position(1, 7), no_pause)
        assert self.stored(backend, path) == (stored, {"t": ("json", {"a": b"1"})})
        assert contents(backend.read()) == {"t": ("json", {"a": b"1"})}

    def test_apply_paces_itself(self, backend: Backend) -> None:
        images: dict[str, bytes | None] = {f"{n}": b"0" for n in range(5_000)}
        pauses: list[None] = []
        backend.apply(
            {"t": TableChanges("json", False, images)}, Position(1, 0), Position(1, 1), lambda: pauses.append(None)
        )
        assert pauses

    @pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
    @pytest.mark.parametrize("half_done", [False, True], ids=["before", "after"])
    def test_a_failed_apply_leaves_the_old_state_or_the_new_one(
        self, files: FaultyFiles, path: str, error: int, half_done: bool
    ) -> None:
        """Each operation on files fails once, before it is done or after it; then the same apply is made again."""
        self._must_use_files()
        old = json_images(a=b"1", b=b"1")
        new = {**json_images(a=b"2", c=b"2"), **deletions("u", "x")}
        before = (Position(1, 1), {"t": ("json", {"a": b"1", "b": b"1"})})
        after = (Position(1, 2), {"t": ("json", {"a": b"2", "b": b"1", "c": b"2"})})
        for number in count(1):
            target = f"{path}-{number}"
            backend = self.backend_class.open(files, target, create=True)
            backend.apply(old, Position(1, 0), Position(1, 1), no_pause)
            with files.failing_at(number, error, after=half_done) as failed:
                try:
                    backend.apply(new, Position(1, 1), Position(1, 2), no_pause)
                    assert not failed or half_done
                except BackendError:
                    assert failed
            if not failed:
                break
            assert self.stored(backend, target) in (before, after)
            assert contents(backend.read()) in (before[1], after[1])
            backend.apply(new, Position(1, 1), Position(1, 2), no_pause)
            assert self.stored(backend, target) == after
            assert contents(backend.read()) == after[1]
            backend.close()
        assert number > 3

    # ---- check, size, close

    def test_check_finds_nothing_wrong_with_a_good_store(self, backend: Backend) -> None:
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
        assert backend.check() == []

    def test_check_says_what_is_wrong(self, backend: Backend, path: str) -> None:
        self._must_be_durable()
        backend.apply(json_images(a=b"1"), Position(1, 0), Position(1, 1), no_pause)
        self.damage(path)
        problems = backend.check()
        assert problems
        assert all(isinstance(problem, str) for problem in problems)

    def test_size_is_a_number_of_bytes(self, backend: Backend) -> None:
        backend.apply(json_images(a=b'"' + b"x" * 1000 + b'"'), Position(1, 0), Position(1, 1), no_pause)
        assert backend.size() == 0 or backend.size() > 1000

    def test_a_second_close_does_nothing(self, backend: Backend) -> None:
        backend.close()
        backend.close()
