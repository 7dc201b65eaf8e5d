"""The LMDB backend and what processes do: forks, threads, kills, several at once."""

import os
import resource
import threading
from contextlib import suppress

import pytest

from lmdb_stores import in_child, put_bytes, run
from sessiondb.backend import Position, TableChanges
from sessiondb.errors import ClosedError
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import no_pause
from sessiondb_backends import lmdb_env
from sessiondb_backends.lmdb import LmdbBackend

FILES = FaultyFiles()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "x.lmdb")


@pytest.fixture
def backend(path):
    opened = LmdbBackend.open(FILES, path, create=True)
    yield opened
    opened.close()


# ---- forks


def test_nothing_of_the_parents_is_used_in_a_child(backend):
    view = put_bytes(backend, {"a": b"1", "b": b"2"})
    scan = view.scan("t")
    assert next(scan) == ("a", b"1")
    view.get("t", "a")

    def reads():
        answers = []
        for read in (
            lambda: view.get("t", "a"), lambda: view.count("t"), lambda: list(view.scan("t")), backend.read,
            backend.position, backend.check, lambda: put_bytes(backend, {"a": b"3"}), lambda: view.get_many("t", ["a"]),
        ):  # fmt: skip
            try:
                answers.append(read())
            except ClosedError as error:
                answers.append("parent" in str(error))
        view.close()
        backend.close()
        return answers

    assert in_child(reads) == str([True] * 8)
    assert view.get("t", "a") == b"1"
    assert list(scan) == [("b", b"2")]


def test_a_child_that_forgets_or_closes_everything_does_not_end_the_parents_reads(backend):
    """Its readers' places are in shared memory: a clean end of the child would give them away."""
    view = put_bytes(backend, {"a": b"old" * 1000})
    view.get("t", "a")
    before = backend._environment.env.readers()

    def leave():
        backend.abandon()
        view.close()
        backend.close()
        lmdb_env._open.clear()

    in_child(leave)
    assert backend._environment.env.readers() == before
    for number in range(20):
        put_bytes(backend, {"a": b"%d" % number * 1000}).close()
    assert view.get("t", "a") == b"old" * 1000


def test_a_child_that_ends_like_any_program_leaves_the_parents_reads_alone(path):
    """The end of an interpreter destroys every object, environments of the parent included."""
    output = run(
        """
        import os, sys
        from sessiondb.backend import Position, TableChanges
        from sessiondb.testing import FaultyFiles
        from sessiondb_backends.lmdb import LmdbBackend
        backend = LmdbBackend.open(FaultyFiles(), sys.argv[1], create=True)
        backend.apply({"t": TableChanges("bytes", False, {"a": b"1"})}, Position(1, 0), Position(1, 1), lambda: None)
        view = backend.read()
        view.get("t", "a")
        before = backend._environment.env.readers()
        child = os.fork()
        if not child:
            sys.exit(3)  # through the whole finalization
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), backend._environment.env.readers() == before)
        """,
        path,
    )
    assert output == "3 True\n"


def test_a_program_that_ends_without_closing_anything_ends_quietly(path):
    code = """
        import sys, sessiondb
        db = sessiondb.open(sys.argv[1])
        db.table("t")["a"] = 1
        if len(sys.argv) > 2:
            db.checkpoint()
        scan = db.table("t").scan()
        print(db.table("t")["a"], next(scan))
        """
    assert run(code, path) == "1 ('a', 1)\n"
    assert run(code, path, "with a checkpoint") == "1 ('a', 1)\n"


def test_a_child_may_open_what_its_parent_had_open(backend, path):
    """The driver's guard against opening a file twice in a process knows only the parent's process."""
    put_bytes(backend, {"a": b"1"}).close()

    def open_again():
        mine = LmdbBackend.open(FILES, path, create=False)
        view = mine.read()
        found = view.get("t", "a")
        put_bytes(mine, {"a": b"2"})
        grandchild = in_child(lambda: LmdbBackend.open(FILES, path, create=False).read().get("t", "a"))
        mine.close()
        return [found, view.get("t", "a"), grandchild]

    assert in_child(open_again) == str([b"1", b"1", "b'2'"])
    assert backend.read().get("t", "a") == b"2"


def test_a_fork_in_the_middle_of_everything_leaves_child_and_parent_usable(backend, path):
    """Locks may be held by threads that the child does not have."""
    put_bytes(backend, {f"{n:05}": b"x" * 300 for n in range(5_000)}).close()
    stop = threading.Event()
    view = backend.read()
    failures = []

    def work(call):
        while not stop.is_set():
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - the test looks at it
                failures.append(error)
                return

    calls = [
        lambda: view.get("t", "00001"), lambda: sum(1 for _ in view.scan("t")), lambda: backend.read().close(),
        lambda: put_bytes(backend, {f"{n:05}": b"y" * 300 for n in range(0, 5_000, 7)}).close(),
    ]  # fmt: skip
    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):

            def child():
                with suppress(ClosedError):
                    view.get("t", "00001")
                return LmdbBackend.open(FILES, path, create=False).read().get("t", "00001")

            assert in_child(child) == str(b"x" * 300)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures
    assert view.get("t", "00000") == b"x" * 300
    assert backend.check() == []


# ---- several threads


def test_each_of_the_first_threads_reads_in_a_transaction_of_its_own(backend):
    view = put_bytes(backend, {f"{n}": b"%d" % n for n in range(100)})
    ready = threading.Barrier(20)
    wrong = []

    def read():
        ready.wait()
        for _ in range(20):
            wrong.extend(n for n in range(100) if view.get("t", f"{n}") != b"%d" % n)
        ready.wait()

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(view._own) == 16
    view.close()
    assert backend._environment.env.readers().count("\n") < 19


def test_a_thread_that_comes_after_an_apply_reads_the_views_state_and_no_other(backend):
    view = put_bytes(backend, {"a": b"1"})
    put_bytes(backend, {"a": b"2"}).close()
    assert view.get("t", "a") == b"1"
    found = []
    thread = threading.Thread(target=lambda: found.append(view.get("t", "a")))
    thread.start()
    thread.join()
    assert found == [b"1"]
    assert view._own == []


# ---- kills


@pytest.mark.parametrize("moment", [1, 5, 20, 40])
def test_a_process_that_is_killed_in_an_apply_leaves_the_old_state(backend, path, moment):
    images = {f"{n:04}": b"old" for n in range(3_000)}
    put_bytes(backend, images).close()
    backend.close()

    def die():
        mine = LmdbBackend.open(FILES, path, create=False)
        pauses = iter(range(1, moment + 1))
        put_bytes(
            mine, {f"{n:04}": b"new" for n in range(4_000)}, lambda: os._exit(9) if next(pauses) == moment else None
        )

    assert in_child(die) == ""
    again = LmdbBackend.open(FILES, path, create=False)
    assert (again.position(), dict(again.read().scan("t"))) == (Position(1, 1), images)
    assert again.check() == []
    put_bytes(again, {"0000": b"newer"}).close()
    assert again.position() == Position(1, 2)
    again.close()


def test_the_reads_of_a_killed_process_do_not_let_the_file_grow_for_ever(backend, path, tmp_path):
    """Measured without the check of readers: 50 rewrites of 1 MB made 67 MB of 3."""
    blob = {f"{n}": bytes(100_000) for n in range(10)}
    for _ in range(3):
        put_bytes(backend, blob).close()
    usual = backend.size()

    def die_reading():
        LmdbBackend.open(FILES, path, create=False).read().get("t", "0")
        os._exit(9)

    in_child(die_reading)
    for _ in range(20):
        put_bytes(backend, blob).close()
    assert backend.size() <= 2 * usual


def test_the_reads_of_a_killed_process_are_forgotten_at_open(backend, path):
    put_bytes(backend, {"a": b"1"}).close()
    backend.close()
    in_child(lambda: LmdbBackend.open(FILES, path, create=False).read().get("t", "a") and os._exit(9))
    again = LmdbBackend.open(FILES, path, create=False)
    assert "no active readers" in again._environment.env.readers()
    again.close()


def test_a_view_of_another_process_keeps_its_state_while_this_one_writes(backend, path):
    put_bytes(backend, {"a": b"old" * 1000}).close()
    begun, go_on = os.pipe(), os.pipe()
    answers = []

    def read_for_long():
        mine = LmdbBackend.open(FILES, path, create=False)
        view = mine.read()
        os.write(begun[1], b"x")
        os.read(go_on[0], 1)
        return view.get("t", "a") == b"old" * 1000 and mine.read().get("t", "a") == b"19" * 1000

    thread = threading.Thread(target=lambda: answers.append(in_child(read_for_long)))
    thread.start()
    os.read(begun[0], 1)
    for number in range(20):
        put_bytes(backend, {"a": b"%d" % number * 1000, "b": bytes(100_000)}).close()
    os.write(go_on[1], b"x")
    thread.join()
    assert answers == ["True"]
    for descriptor in (*begun, *go_on):
        os.close(descriptor)


def test_tables_that_another_process_made_are_seen(backend, path):
    def make():
        mine = LmdbBackend.open(FILES, path, create=False)
        change = TableChanges("json", False, {"a": b'{"f":1}'}, {"f": True})
        mine.apply({"theirs": change}, Position(1, 0), Position(1, 1), no_pause)

    assert in_child(make) == "None"
    view = backend.read()
    assert (view.tables(), view.get("theirs", "a")) == ({"theirs": "json"}, b'{"f":1}')
    assert view.indexes("theirs") == {"f"}


# ---- many records


def test_opening_looks_at_a_few_pages_however_many_there_are(path):
    files = FaultyFiles()
    reads = []
    for records in (100, 50_000):
        backend = LmdbBackend.open(files, path, create=not reads)
        put_bytes(backend, {f"{n:06}": b"x" * 250 for n in range(records)}).close()
        backend.close()
        files.counts.clear()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        backend = LmdbBackend.open(files, path, create=False)
        assert backend.read().count("t") == records
        reads.append(files.counts["pread"])
        assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1_000
        backend.close()
    assert os.path.getsize(f"{path}/data.mdb") > 3_000 * 4096
    assert reads[0] == reads[1]
