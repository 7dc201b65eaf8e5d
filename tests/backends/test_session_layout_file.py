"""The backend on a session file: the contract of backends, sentence by sentence, and how the file is replaced."""

import errno
import hashlib
import json
from itertools import count
from pathlib import Path

import pytest

import sessiondb
from sessiondb.backend import ForeignEdit, Position, TableChanges
from sessiondb.testing import FaultyFiles
from sessiondb_backends.json_file import JsonFileBackend
from sessiondb_backends.json_session import SessionFileBackend
from sessiondb_backends.json_session_mark import Known, Mark, decode_mark, encode_mark

A, B = {"session": "a", "n": 0}, {"session": "b", "n": 1}
START, NEXT, THIRD = Position(1, 0), Position(1, 1), Position(1, 2)


def as_js(value):
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def puts(*records, **more):
    images = {record["session"]: json.dumps(record, separators=(",", ":")).encode() for record in records}
    return {"sessions": TableChanges("json", False, images, **more)}


def no_pause():
    pass


def everything(folder):
    return {str(file): file.read_bytes() for file in sorted(Path(folder).rglob("*")) if file.is_file()}


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "s.json"
    target.write_bytes(as_js([A]))
    (tmp_path / "s.json.wal").mkdir()
    return target


@pytest.fixture
def files():
    return FaultyFiles()


def opened(path, files=None, **options):
    return JsonFileBackend.open(files or FaultyFiles(), str(path), create=False, **options)


def mark_of(path):
    return decode_mark(Path(f"{path}.wal/MARK").read_bytes())


def stored(path):
    """Position and records as somebody else finds them at the location."""
    backend = opened(path, read_only=True)
    assert backend.read().position == backend.position()
    return backend.position(), dict(backend.read().scan("sessions"))


def test_a_file_that_is_opened_for_the_first_time_is_at_1_0_and_gets_an_identity(path):
    backend = opened(path)
    assert isinstance(backend, SessionFileBackend)
    assert backend.is_new
    assert backend.position() == START
    again = opened(path)
    assert again.identity() == backend.identity()
    assert len(backend.identity().uuid) == 16
    assert not again.is_new
    assert path.read_bytes() == as_js([A])


def test_it_always_has_its_one_table(path):
    path.write_bytes(b"[]")
    view = opened(path).read()
    assert view.tables() == {"sessions": "json"}
    assert view.count("sessions") == 0


def test_opening_read_only_changes_and_syncs_nothing(path):
    before = everything(path.parent)
    files = FaultyFiles()
    backend = opened(path, files, read_only=True)
    assert backend.position() == START
    assert dict(backend.read().scan("sessions")) == {"a": b'{"session":"a","n":0}'}
    backend.close()
    assert everything(path.parent) == before
    assert set(files.counts) <= {"open", "pread", "names"}


def test_what_an_earlier_process_did_not_sync_is_durable_when_open_returns(path):
    opened(path)
    files = FaultyFiles()
    opened(path, files)
    assert files.counts["fsync"] >= 1
    assert files.counts["sync_folder"] >= 2


def test_apply_stores_changes_and_position(path):
    backend = opened(path)
    backend.apply(puts(B), START, NEXT, no_pause)
    assert path.read_bytes() == as_js([A, B])
    assert stored(path) == (NEXT, {"a": b'{"session":"a","n":0}', "b": b'{"session":"b","n":1}'})
    assert dict(backend.read().scan("sessions")) == stored(path)[1]


def test_the_same_apply_may_be_made_again(path):
    backend = opened(path)
    changes = {"sessions": TableChanges("json", False, {**puts(B)["sessions"].images, "a": None}, recreated=["b"])}
    for _ in range(2):
        backend.apply(changes, START, NEXT, no_pause)
        assert path.read_bytes() == as_js([B])
        assert backend.position() == NEXT


@pytest.mark.parametrize("found", [Position(1, 4), Position(2, 1)], ids=str)
def test_apply_at_another_position_is_fenced_and_changes_nothing(path, found):
    backend = opened(path)
    backend.apply(puts(B), START, found, no_pause)
    before = everything(path.parent)
    with pytest.raises(sessiondb.FencedError):
        backend.apply(puts(A), NEXT, THIRD, no_pause)
    assert everything(path.parent) == before
    assert dict(backend.read().scan("sessions")) == stored(path)[1]


def test_a_view_does_not_see_what_is_applied_later(path):
    backend = opened(path)
    view = backend.read()
    backend.apply(puts(B), START, NEXT, no_pause)
    assert dict(view.scan("sessions")) == {"a": b'{"session":"a","n":0}'}
    assert view.position == START


def test_another_table_is_refused(path):
    backend = opened(path)
    with pytest.raises(sessiondb.BackendError, match="one table"):
        backend.apply({"t": TableChanges("json", False, {"a": b"1"})}, START, NEXT, no_pause)
    assert path.read_bytes() == as_js([A])


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=errno.errorcode.get)
@pytest.mark.parametrize("half_done", [False, True], ids=["before", "after"])
def test_a_failed_apply_leaves_the_old_state_or_the_new_one(path, error, half_done):
    """Each operation on files fails once, before it is done or after it; then the same apply is made again."""
    changes = {"sessions": TableChanges("json", False, {**puts(B)["sessions"].images, "a": None}, {"n": True})}
    before, after = as_js([A, {"session": "c"}]), as_js([{"session": "c"}, B])
    for number in count(1):
        target = path.parent / f"{number}.json"
        target.write_bytes(as_js([A]))
        Path(f"{target}.wal").mkdir()
        files = FaultyFiles()
        backend = opened(target, files)
        backend.apply(puts({"session": "c"}), START, NEXT, no_pause)
        with files.failing_at(number, error, after=half_done) as failed:
            try:
                backend.apply(changes, NEXT, THIRD, no_pause)
                assert not failed or half_done
            except sessiondb.BackendError:
                assert failed
        if not failed:
            break
        assert target.read_bytes() in (before, after)
        position, records = stored(target)
        assert (position, target.read_bytes()) in ((NEXT, before), (THIRD, after))
        assert set(records) == ({"a", "c"} if position == NEXT else {"b", "c"})
        backend.apply(changes, NEXT, THIRD, no_pause)
        assert target.read_bytes() == after
        assert stored(target)[0] == THIRD
        assert backend.read().indexes("sessions") == {"n"} == opened(target).read().indexes("sessions")
        assert not list(path.parent.glob("*.conflict*"))
        assert not list(path.parent.glob("*.tmp"))
        assert mark_of(target).next is None
    assert number > 15


@pytest.mark.parametrize("half_done", [False, True], ids=["before", "after"])
def test_a_failed_adoption_is_made_again(path, half_done):
    for number in count(1):
        target = path.parent / f"{number}.json"
        target.write_bytes(as_js([A]))
        Path(f"{target}.wal").mkdir()
        opened(target)
        target.write_bytes(as_js([B]))
        files = FaultyFiles()
        backend = opened(target, files)
        logged = []

        def log(logged=logged, target=target):
            logged.append(mark_of(target))

        with files.failing_at(number, errno.EIO, after=half_done) as failed:
            try:
                backend.adopt(NEXT, [], log)
            except sessiondb.BackendError:
                assert failed
        if not failed:
            break
        assert all(mark.adopting and mark.next.lsn == 1 for mark in logged)  # announced before it is logged
        again = opened(target)
        edit = again.foreign_edit()
        if edit is not None:
            assert edit in (ForeignEdit(0, False), ForeignEdit(1, True))
            again.adopt(NEXT, ["n"], no_pause)
        assert stored(target) == (NEXT, {"b": b'{"session":"b","n":1}'})
        assert opened(target).foreign_edit() is None
    assert number > 5


def test_the_order_of_a_replacement(path):
    done = []
    files = FaultyFiles()
    backend = opened(path, files)
    backend.apply(puts(B), START, NEXT, no_pause)
    files.after = lambda operation, where: done.append((operation, Path(where).name))
    backend.apply(puts({"session": "c"}), NEXT, THIRD, no_pause)
    names = [step for step in done if step[0] not in ("open", "pwrite", "pread", "names")]
    assert names == [
        ("create", "s.json.tmp"), ("fsync", "s.json.tmp"),
        ("create", "MARK.tmp"), ("fsync", "MARK.tmp"), ("replace", "MARK"), ("sync_folder", "s.json.wal"),
        ("unlink", "s.json.prev"), ("link", "s.json.prev"), ("replace", "s.json"), ("sync_folder", path.parent.name),
        ("create", "MARK.tmp"), ("fsync", "MARK.tmp"), ("replace", "MARK"), ("sync_folder", "s.json.wal"),
    ]  # fmt: skip


def test_the_file_before_is_kept_as_prev(path):
    backend = opened(path)
    backend.apply(puts(B), START, NEXT, no_pause)
    assert Path(f"{path}.prev").read_bytes() == as_js([A])
    backend.apply(puts({"session": "c"}), NEXT, THIRD, no_pause)
    assert Path(f"{path}.prev").read_bytes() == as_js([A, B])
    assert mark_of(path).prev == hashlib.sha256(as_js([A, B])).hexdigest()


def test_a_checkpoint_that_changes_no_byte_moves_the_mark_only(path):
    backend = opened(path)
    inode = path.stat().st_ino
    backend.apply(puts(A), START, NEXT, no_pause)
    backend.apply({"sessions": TableChanges("json", False, {}, {"n": True})}, NEXT, THIRD, no_pause)
    assert path.stat().st_ino == inode
    assert backend.position() == THIRD
    assert opened(path).read().indexes("sessions") == {"n"}
    assert not Path(f"{path}.prev").exists()


def test_the_mode_is_kept(path):
    path.chmod(0o640)
    backend = opened(path)
    backend.apply(puts(B), START, NEXT, no_pause)
    assert path.stat().st_mode & 0o777 == 0o640


# ---- somebody else writes


def test_an_edit_while_the_store_is_open_fences_it_and_stays(path):
    backend = opened(path)
    path.write_bytes(as_js([B]))
    for call in (backend.position, lambda: backend.apply(puts(B), START, NEXT, no_pause)):
        with pytest.raises(sessiondb.FencedError, match=r"another program changed .*next: "):
            call()
    assert path.read_bytes() == as_js([B])
    assert "another program" in backend.check()[0]


def test_an_edit_while_it_was_closed_is_told_and_shown_at_the_old_position(path):
    opened(path).apply(puts(B), START, NEXT, no_pause)
    path.write_bytes(as_js([B]))
    backend = opened(path)
    assert backend.foreign_edit() == ForeignEdit(1, False)
    assert backend.position() == NEXT
    assert list(dict(backend.read().scan("sessions"))) == ["b"]
    assert backend.check() == []
    with pytest.raises(sessiondb.FencedError):  # nobody has said what becomes of it
        backend.apply(puts(A), NEXT, THIRD, no_pause)
    assert path.read_bytes() == as_js([B])


def test_what_is_adopted_is_the_state_of_its_position(path):
    opened(path)
    path.write_bytes(as_js({"sessions": [B], "baseDir": "/x"}))
    backend = opened(path)
    backend.adopt(NEXT, ["n"], no_pause)
    assert backend.foreign_edit() is None
    assert backend.position() == backend.read().position == NEXT
    assert backend.layout().name == "state"
    assert path.read_bytes() == as_js({"sessions": [B], "baseDir": "/x"})
    again = opened(path)
    assert again.foreign_edit() is None
    assert again.read().indexes("sessions") == {"n"}


def test_what_is_changed_while_it_is_adopted_is_not_adopted(path):
    opened(path)
    path.write_bytes(as_js([B]))
    backend = opened(path)
    path.write_bytes(as_js([A, B]))
    with pytest.raises(sessiondb.FencedError):
        backend.adopt(NEXT, [], no_pause)
    assert opened(path).foreign_edit() == ForeignEdit(0, False)


def test_a_write_in_place_during_the_replacement_is_kept_and_reported(path, files):
    """The predecessor writes in place, whenever it likes: between the last look and the rename, too."""
    backend = opened(path, files)

    def write_in_place(operation, where):
        if operation == "create" and where.endswith("MARK.tmp"):
            files.after = None
            path.write_bytes(as_js([A, {"session": "foreign"}]))

    files.after = write_in_place
    backend.apply(puts(B), START, NEXT, no_pause)
    assert path.read_bytes() == as_js([A, B])
    (kept,) = backend.layout().conflicts
    assert Path(kept).read_bytes() == as_js([A, {"session": "foreign"}])
    assert kept in backend.check()[0]
    assert kept in opened(path).check()[0]
    Path(kept).unlink()
    assert backend.check() == []


def test_a_write_into_the_replaced_file_is_kept_at_the_next_replacement(path):
    """A program that opened the file before the rename may write when it is done."""
    backend = opened(path)
    late = open(path, "r+b")  # noqa: SIM115 - as another program has it
    backend.apply(puts(B), START, NEXT, no_pause)
    with late:
        late.write(b"[]  ")
    backend.apply(puts({"session": "c"}), NEXT, THIRD, no_pause)
    (kept,) = backend.layout().conflicts
    assert Path(kept).read_bytes()[:4] == b"[]  "
    assert Path(f"{path}.prev").read_bytes() == as_js([A, B])


def test_a_file_of_others_named_prev_is_moved_aside(path):
    Path(f"{path}.prev").write_bytes(b"mine")
    backend = opened(path)
    backend.apply(puts(B), START, NEXT, no_pause)
    (kept,) = backend.layout().conflicts
    assert Path(kept).read_bytes() == b"mine"


def test_two_conflicts_in_one_second_have_two_names(path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "20310501T100000Z")
    backend = opened(path)
    for number, position in enumerate((NEXT, THIRD)):
        Path(f"{path}.prev").unlink(missing_ok=True)
        Path(f"{path}.prev").write_bytes(b"mine %d" % number)
        backend.apply(puts({"session": f"{number}"}), backend.position(), position, no_pause)
    assert [Path(kept).read_bytes() for kept in backend.layout().conflicts] == [b"mine 0", b"mine 1"]


@pytest.mark.parametrize("data", [b"", b" \n"], ids=ascii)
def test_an_emptied_file_is_no_way_to_delete_every_session(path, data):
    opened(path)
    path.write_bytes(data)
    for read_only in (False, True):
        with pytest.raises(sessiondb.CorruptionError, match=r"is empty; it held 1 sessions.*write \[\] into it"):
            opened(path, read_only=read_only)
    assert path.read_bytes() == data
    path.write_bytes(b"[]")
    assert opened(path).foreign_edit() is not None


def test_a_file_that_cannot_be_read_any_more_is_damage_with_its_place(path):
    opened(path)
    path.write_bytes(as_js([A, B])[:-20])
    before = everything(path.parent)
    with pytest.raises(sessiondb.CorruptionError, match="cannot be read any more") as caught:
        opened(path)
    assert caught.value.path == str(path)
    assert caught.value.offset > 40
    assert everything(path.parent) == before


def test_all_sessions_of_a_keyed_file_may_go(path):
    path.write_bytes(as_js({"a": {"branch": "x"}}))
    backend = opened(path)
    backend.apply({"sessions": TableChanges(None, False, {"a": None})}, START, NEXT, no_pause)
    assert path.read_bytes() == b"{}"
    assert stored(path) == (NEXT, {})


# ---- the mark


def known(lsn):
    return Known(3, lsn, "ab" * 32, 7, ["branch", "é"])


@pytest.mark.parametrize("after", [None, known(9)], ids=["settled", "announced"])
def test_a_mark_is_read_as_it_was_written(after):
    mark = Mark(1, "00" * 16, "keyed", known(4), after, after is not None, None)
    data = encode_mark(mark)
    assert decode_mark(data) == mark
    assert data.count(b"\n") == 1
    assert json.loads(data)["session_file"]["now"]["lsn"] == 4


def test_no_changed_bit_and_no_cut_of_a_mark_goes_unnoticed():
    data = encode_mark(Mark(1, "00" * 16, "array", known(4), known(5), False, "cd" * 32))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert decode_mark(bytes(damaged)) is None
    for length in range(len(data)):
        assert decode_mark(data[:length]) is None


def test_a_mark_of_a_later_version_is_refused(path):
    opened(path)
    later = Mark(2, "00" * 16, "array", known(4), None, False, None)
    Path(f"{path}.wal/MARK").write_bytes(encode_mark(later))
    with pytest.raises(sessiondb.UnsupportedFormatError, match=r"version 2.*upgrade"):
        opened(path)


def test_a_damaged_mark_is_damage(path):
    opened(path)
    mark = Path(f"{path}.wal/MARK")
    mark.write_bytes(mark.read_bytes()[:-9])
    with pytest.raises(sessiondb.CorruptionError, match=r"mark .* is damaged .*MARK"):
        opened(path)
    assert path.read_bytes() == as_js([A])


def test_a_mark_that_goes_while_the_store_is_open_is_damage(path):
    backend = opened(path)
    Path(f"{path}.wal/MARK").unlink()
    with pytest.raises(sessiondb.CorruptionError, match="is gone"):
        backend.position()


def test_a_log_without_its_mark_is_no_session_file(path):
    opened(path)
    Path(f"{path}.wal/MARK").unlink()
    Path(f"{path}.wal/HEAD").write_bytes(b"")
    with pytest.raises(sessiondb.WrongBackendError, match="native layout"):
        opened(path)
    assert not Path(f"{path}.wal/MARK").exists()


@pytest.mark.parametrize("operation", ["open", "pread"])
def test_a_file_that_cannot_be_read_is_a_failure_and_not_empty(path, operation):
    opened(path)
    files = FaultyFiles()
    with files.failing(operation), pytest.raises(sessiondb.BackendError):
        opened(path, files)
    assert stored(path)[1] == {"a": b'{"session":"a","n":0}'}


def test_check_compares_with_the_file(path):
    backend = opened(path)
    assert backend.check() == []
    backend._view.state["sessions"].records["a"] = b'{"session":"a","n":5}'
    assert "other sessions" in backend.check()[0]


def test_the_size_is_that_of_the_file(path):
    backend = opened(path)
    assert backend.size() == len(as_js([A]))
    backend.apply(puts(B), START, NEXT, no_pause)
    assert backend.size() == path.stat().st_size


def test_work_is_paced(path):
    pauses = []
    backend = opened(path)
    many = puts(*({"session": f"{number}"} for number in range(2_000)))
    backend.apply(many, START, NEXT, lambda: pauses.append(1))
    assert len(pauses) > 20
