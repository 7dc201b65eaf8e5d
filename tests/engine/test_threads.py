"""Many threads, one store: no lost updates, nothing seen in half."""

import threading

import pytest

import sessiondb
from sessiondb.writing import RANGE_ATTEMPTS

THREADS = 8


@pytest.fixture
def together():
    """Runs a function in many threads at once and hands on the first exception."""

    def run(work, threads_max=THREADS):
        start = threading.Barrier(threads_max)
        failures = []

        def body(number):
            try:
                start.wait(30)
                work(number)
            except BaseException as error:  # noqa: BLE001 - handed to the test
                failures.append(error)

        threads = [threading.Thread(target=body, args=(number,)) for number in range(threads_max)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if failures:
            raise failures[0]

    return run


@pytest.fixture(params=["json", "memory"])
def db(request, open_db, files):
    """A store whose checkpoints run all the time."""
    options = {"sync": "never", "checkpoint_records": 20}
    if request.param == "json":
        yield open_db(**options)
        return
    with sessiondb.open("memory:", files=files, **options) as opened:
        yield opened


def test_modify_loses_no_update(db, together):
    table = db.table("t")
    table["n"] = 0

    def work(number):
        for _ in range(100):
            table.modify("n", lambda n: n + 1)

    together(work)
    assert table["n"] == THREADS * 100


def test_patch_of_different_fields_loses_none(db, together):
    table = db.table("t")
    table["a"] = {}

    def work(number):
        for value in range(50):
            table.patch("a", {f"field {number}": value})

    together(work)
    assert table["a"] == {f"field {number}": 49 for number in range(THREADS)}


def test_replace_is_compare_and_set(db, together):
    table = db.table("t")
    table["n"] = 0
    won = [0] * THREADS

    def work(number):
        for _ in range(100):
            seen = table["n"]
            won[number] += table.replace("n", seen, seen + 1)

    together(work)
    assert table["n"] == sum(won)


def test_of_several_inserts_one_wins(db, together):
    table = db.table("t")
    won = []

    def work(number):
        for key in range(50):
            try:
                table.insert(f"{key}", number)
            except sessiondb.DuplicateKeyError:
                continue
            won.append((f"{key}", number))

    together(work)
    assert sorted(won) == sorted(table.items())
    assert len(won) == 50


def test_of_several_pops_one_gets_the_record(db, together):
    table = db.table("t")
    table.put_many({f"{n}": n for n in range(200)})
    got = []

    def work(number):
        for key in range(200):
            record = table.pop(f"{key}", None)
            if record is not None:
                got.append(record)

    together(work)
    assert sorted(got) == list(range(200))
    assert not table


def test_popitem_hands_each_record_to_one_caller(db, together):
    table = db.table("t")
    table.put_many({f"{n:03}": n for n in range(200)})
    got = []

    def work(number):
        while True:
            try:
                got.append(table.popitem())
            except KeyError:
                return

    together(work)
    assert sorted(got) == [(f"{n:03}", n) for n in range(200)]


def test_pop_and_insert_move_a_token_around(db, together):
    table = db.table("t")
    table["token"] = 0

    def work(number):
        for _ in range(50):
            while (held := table.pop("token", None)) is None:
                threading.Event().wait(0)
            table.insert("token", held + 1)

    together(work, 4)
    assert dict(table) == {"token": 4 * 50}


def test_delete_prefix_and_inserts_are_one_after_the_other(db, together):
    """Whatever was deleted was there, whatever is there was not deleted: the counts add up."""
    table = db.table("t")
    deleted = [0] * THREADS

    def work(number):
        for turn in range(30):
            if number < 2:
                deleted[number] += table.delete_prefix("x")
            else:
                table.insert(f"x{number}-{turn}", turn)

    together(work)
    assert sum(deleted) + len(table) == (THREADS - 2) * 30


def test_a_batch_is_never_seen_in_half(db, together):
    """Writers set all keys of a batch to one number; readers of several keys see one number."""
    table = db.table("t")
    keys = [f"{n:02}" for n in range(20)]
    table.put_many(dict.fromkeys(keys, 0))
    writers = [2]
    lock = threading.Lock()

    def work(number):
        if number < 2:
            for turn in range(150):
                table.put_many(dict.fromkeys(keys, turn * 2 + number))
            with lock:
                writers[0] -= 1
            return
        looks = [
            lambda: table.get_many(keys),
            lambda: dict(table.scan()),
            lambda: dict(table.scan(reverse=True)),
            lambda: dict(table.items()),
        ]
        turn = 0
        while writers[0]:
            seen = looks[turn % len(looks)]()
            assert len(seen) == len(keys)
            assert len(set(seen.values())) == 1
            turn += 1

    together(work, 5)


def test_a_batch_comes_and_goes_as_a_whole(db, together):
    table = db.table("t")
    keys = [f"k{n}" for n in range(20)]
    writing = [True]

    def work(number):
        if number == 0:
            try:
                for _ in range(100):
                    table.put_many(dict.fromkeys(keys, 1))
                    assert table.delete_prefix("k") == 20
                    table.put_many(dict.fromkeys(keys, 1))
                    db.drop("t")
            finally:
                writing[0] = False
            return
        while writing[0]:
            assert len(table) in (0, 20)
            assert table.count("k") in (0, 20)
            assert len(table.get_many(keys)) in (0, 20)
            assert len(list(table)) in (0, 20)

    together(work, 4)


def test_point_reads_follow_the_order_of_commits(db, together):
    """`a` is always written before `b`, so who sees `b` sees at least that `a`."""
    table = db.table("t")
    table.update(a=0, b=0)
    writing = [True]

    def work(number):
        if number == 0:
            for turn in range(1, 1_000):
                table.put("a", turn)
                table.put("b", turn)
            writing[0] = False
            return
        while writing[0]:
            b = table["b"]
            assert table["a"] >= b

    together(work, 3)


def test_a_point_read_sees_its_own_threads_writes(db, together):
    table = db.table("t")

    def work(number):
        for turn in range(100):
            table[f"{number}"] = turn
            assert table[f"{number}"] == turn
            del table[f"{number}"]
            assert f"{number}" not in table

    together(work)


def test_threads_may_use_databases_of_their_own(db, together, path, files):
    if db.location == "memory:":
        pytest.skip("every open of memory: is a store of its own")

    def work(number):
        for turn in range(20):
            with sessiondb.open(path, files=files, sync="never", checkpoint_records=20) as mine:
                mine.table("t")[f"{number}-{turn}"] = turn

    together(work)
    assert len(db.table("t")) == THREADS * 20


def test_a_range_that_never_stops_changing_is_deleted_all_the_same(db, monkeypatch):
    """After some attempts the others have to wait: it is looked at and deleted under the append lock."""
    table = db.table("t")
    table.put_many({"a1": 1, "a2": 2, "b": 3})
    looked = []
    changed = db._open.views.range_changed_since
    monkeypatch.setattr(db._open.views, "range_changed_since", lambda *range: looked.append(range) or True)
    before = db.position()
    assert table.delete_prefix("a") == 2
    assert dict(table) == {"b": 3}
    assert len(looked) == RANGE_ATTEMPTS
    assert db.position().lsn == before.lsn + 1
    assert table.delete_prefix("nothing") == 0
    monkeypatch.setattr(db._open.views, "range_changed_since", changed)


def test_many_writers_and_one_that_replaces_the_range_all_come_to_an_end(db):
    table = db.table("t")
    stop = threading.Event()

    def write(name):
        number = 0
        while not stop.is_set():
            table.put(f"{name}{number % 50}", number, sync="never")
            number += 1

    writers = [threading.Thread(target=write, args=(name,)) for name in "xy"]
    for writer in writers:
        writer.start()
    for _ in range(5):
        table.clear()
    stop.set()
    for writer in writers:
        writer.join()
    table.clear()
    assert dict(table) == {}
