"""What a reader holds keeps the state of its moment, whatever happens meanwhile."""

import threading

import pytest


@pytest.fixture
def table(db):
    """Records in the backend (0-3), in the frozen part of the log (none yet) and in the active part (4, 5)."""
    table = db.table("t")
    table.put_many({f"{n}": n for n in range(4)})
    db.checkpoint()
    table.put_many({"4": 4, "5": 5})
    return table


BEFORE = [(f"{n}", n) for n in range(6)]

CHANGES = {
    "put": lambda db, table: table.put_many({f"{n}": "new" for n in range(10)}),
    "delete": lambda db, table: table.delete_many(["0", "4"]),
    "clear": lambda db, table: table.clear(),
    "drop": lambda db, table: db.drop("t"),
    "drop and put": lambda db, table: (db.drop("t"), table.put("0", "new"), table.put("x", "new")),
    "drop twice": lambda db, table: (db.drop("t"), table.put("0", "a"), db.drop("t"), table.put("1", "b")),
    "checkpoint": lambda db, table: db.checkpoint(),
    "put, checkpoint": lambda db, table: (table.put("0", "new"), db.checkpoint()),
    "put, checkpoint, put": lambda db, table: (table.put("0", 7), db.checkpoint(), table.put("4", 7), db.checkpoint()),
    "drop, checkpoint": lambda db, table: (db.drop("t"), db.checkpoint()),
    "clear, checkpoint, put": lambda db, table: (table.clear(), db.checkpoint(), table.put("9", 9)),
}


@pytest.mark.parametrize("begun", [False, True], ids=["not begun", "begun"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_iteration_keeps_its_state(db, table, change, begun):
    makers = {
        "scan": (lambda: table.scan(), BEFORE),
        "reverse": (lambda: table.scan(reverse=True), BEFORE[::-1]),
        "range": (lambda: table.scan(start="1", stop="5"), BEFORE[1:5]),
        "iter": (lambda: iter(table), [key for key, _ in BEFORE]),
        "reversed": (lambda: reversed(table), [key for key, _ in BEFORE][::-1]),
        "items": (lambda: iter(table.items()), BEFORE),
        "values": (lambda: iter(table.values()), [value for _, value in BEFORE]),
    }
    held = [(name, make(), expected) for name, (make, expected) in makers.items()]
    seen = {name: [next(iterator)] if begun else [] for name, iterator, _ in held}
    for turn in range(3):
        change(db, table)
        table.put("turn", turn)
    for name, iterator, expected in held:
        assert seen[name] + list(iterator) == expected, name


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_views_of_several_moments_do_not_disturb_each_other(db, table, change):
    held = []
    for turn in range(4):
        held.append((table.scan(), list(table.scan())))
        change(db, table)
        table.put("turn", turn)
    for scan, expected in reversed(held):
        assert list(scan) == expected


def test_a_scan_started_while_a_checkpoint_runs_sees_everything(db, table, files):
    """The frozen memtable is neither in the active one nor in the backend yet."""
    inside, go_on = threading.Event(), threading.Event()

    def stop_at_the_replacement(operation, path):
        if operation == "replace":
            inside.set()
            assert go_on.wait(30)

    files.before = stop_at_the_replacement
    thread = threading.Thread(target=db.checkpoint)
    thread.start()
    assert inside.wait(30)
    files.before = None
    table.put("6", 6)
    table.put("4", "newer")
    del table["0"]
    during = table.scan()
    now = {"1": 1, "2": 2, "3": 3, "4": "newer", "5": 5, "6": 6}
    assert dict(table) == now
    assert table.get_many(["0", "4", "5", "6"]) == {"4": "newer", "5": 5, "6": 6}
    assert (len(table), table.count("4"), "0" in table, table.get("5")) == (6, 1, False, 5)
    assert db.tables() == {"t": "json"}
    go_on.set()
    thread.join()
    assert dict(table) == now
    assert dict(during) == now


def test_a_table_dropped_while_a_checkpoint_runs_stays_dropped(db, table, files, open_db):
    inside, go_on = threading.Event(), threading.Event()

    def stop_at_the_replacement(operation, path):
        if operation == "replace":
            inside.set()
            assert go_on.wait(30)

    files.before = stop_at_the_replacement
    thread = threading.Thread(target=db.checkpoint)
    thread.start()
    assert inside.wait(30)
    files.before = None
    db.drop("t")
    table.put("1", "after")
    go_on.set()
    thread.join()
    assert dict(table) == {"1": "after"}
    db.close()
    assert dict(open_db().table("t")) == {"1": "after"}


def test_an_iteration_that_is_given_up_keeps_nothing(db, table):
    views = db._store.views
    nobody = views.newest_reader()
    scan = table.scan()
    next(scan)
    assert views.newest_reader() > nobody
    scan.close()
    assert views.newest_reader() == nobody
    table.scan()
    list(table.items())
    len(table)
    table.get_many(["1"])
    assert views.newest_reader() == nobody


def test_old_images_are_kept_only_while_somebody_reads_them(db):
    table = db.table("t")
    active = db._store.views.triple.active

    def versions():
        entry, count = active.tables["t"].entries["a"], 0
        while entry is not None:
            entry, count = entry.older, count + 1
        return count

    for number in range(10):
        table["a"] = number
    assert versions() == 1
    scan = table.scan()
    for number in range(10, 20):
        table["a"] = number
    assert versions() <= 3
    assert list(scan) == [("a", 9)]
    table["a"] = 20
    table["a"] = 21
    assert versions() == 1


def test_closing_the_database_ends_iterations_that_have_begun_in_one_way_or_the_other(db, table):
    """They hold all they need: they may go on or say that the database is closed, but not invent or lose records."""
    scan = table.scan()
    assert next(scan) == ("0", 0)
    db.close()
    assert list(scan) == BEFORE[1:]


def test_table_views_show_the_table_as_it_is_at_each_iteration(db, table):
    keys, items, values = table.keys(), table.items(), table.values()
    table["6"] = 6
    assert list(keys)[-1] == "6"
    assert list(items)[-1] == ("6", 6)
    assert 6 in values
    assert ("6", 6) in items
    assert "6" in keys
    assert len(keys) == len(items) == len(values) == 7
    assert keys & {"6", "x"} == {"6"}
