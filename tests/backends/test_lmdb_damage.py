"""Damage inside LMDB's pages: refused or found by `check`, never served, never an endless walk.

Most cases were found by the crash kit (`tests/crash/real_damage.py`), which damages every byte.
"""

import random
import struct

import pytest

from sessiondb.backend import Position, TableChanges
from sessiondb.errors import CorruptionError
from sessiondb.query import Condition, Equal, Order, between
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import no_pause
from sessiondb_backends.lmdb import LmdbBackend

FILES = FaultyFiles()
PAGE = 4096


@pytest.fixture
def path(tmp_path):
    """A closed store: table ``t`` with 300 records and indexes on ``f`` and ``g``, and a table ``raw`` of bytes."""
    path = tmp_path / "x.lmdb"
    backend = LmdbBackend.open(FILES, str(path), create=True)
    images = {f"{n:04}": b'{"f":%d,"g":"%04d","text":"%s"}' % (n % 7, n, b"x" * 100) for n in range(300)}
    changes = {
        "t": TableChanges("json", False, images, {"f": True, "g": True}),
        "raw": TableChanges("bytes", False, {"a": b"\xff"}),
    }
    backend.apply(changes, Position(1, 0), Position(1, 1), no_pause)
    backend.close()
    return path


@pytest.fixture
def opened():
    """Opens stores read-only and closes them."""
    backends = []

    def open_it(path):
        backends.append(LmdbBackend.open(FILES, str(path), create=False, read_only=True))
        return backends[-1]

    yield open_it
    for backend in backends:
        backend.close()


def replace(path, old, new):
    """Change the only place that holds these bytes, or all of them."""
    data = (path / "data.mdb").read_bytes()
    assert old in data
    (path / "data.mdb").write_bytes(data.replace(old, new))


def leaves(data):
    """Offset of each leaf page, and its node's keys with the offsets of the pointers to them."""
    for offset in range(2 * PAGE, len(data), PAGE):
        number, _, flags, lower, _ = struct.unpack_from("<QHHHH", data, offset)
        if number == offset // PAGE and flags == 2 and lower > 16:
            nodes = {}
            for place in range(offset + 16, offset + lower, 2):
                (at,) = struct.unpack_from("<H", data, place)
                (size,) = struct.unpack_from("<H", data, offset + at + 6)
                nodes[bytes(data[offset + at + 8 : offset + at + 8 + size])] = place
            yield offset, nodes


def swap(path, one, other):
    """Let two entries of a page change places."""
    data = bytearray((path / "data.mdb").read_bytes())
    swapped = 0
    for _, nodes in leaves(data):
        if one in nodes and other in nodes:
            a, b = nodes[one], nodes[other]
            data[a : a + 2], data[b : b + 2] = data[b : b + 2], data[a : a + 2]
            swapped += 1
    assert swapped
    (path / "data.mdb").write_bytes(data)


def test_a_table_whose_name_rots_is_not_served_under_another_name(path, opened):
    replace(path, b"t:raw", b"t:paw")
    backend = opened(path)
    with pytest.raises(CorruptionError, match="directory's entry b't:paw' is damaged"):
        backend.read()
    assert any("t:paw" in problem for problem in backend.check())


def test_a_table_that_the_directory_lost_is_missed(path, opened):
    replace(path, b"t:raw", b"x:raw")
    with pytest.raises(CorruptionError, match=r"other entries|out of order"):
        opened(path).read()


def test_a_named_database_that_is_gone_is_damage(path, opened):
    replace(path, b"\x02\x00t1", b"\x02\x00t7")
    with pytest.raises(CorruptionError, match=r"NOTFOUND|No matching"):
        opened(path).read()


def test_an_entry_of_the_main_database_that_is_no_database_is_found(path, opened):
    """Its length is another one: not a struct.error."""
    data = bytearray((path / "data.mdb").read_bytes())
    for _, nodes in leaves(data):
        for name, place in nodes.items():
            if name == b"t2":
                at = place // PAGE * PAGE + struct.unpack_from("<H", data, place)[0]
                data[at] ^= 16
    (path / "data.mdb").write_bytes(data)
    try:
        problems = opened(path).check()
    except CorruptionError:
        return
    assert problems


def test_entries_out_of_order_are_damage_for_every_walk(path, opened):
    """Following a damaged tree might never end."""
    swap(path, b"0010", b"0012")
    view = opened(path).read()
    for reverse in (False, True):
        with pytest.raises(CorruptionError, match="out of order"):
            list(view.scan("t", reverse=reverse))
    assert view.get("t", "0200") is not None


def test_index_entries_out_of_order_are_damage_for_every_walk(path, opened):
    swap(path, b"\x300010", b"\x300012")
    backend = opened(path)
    view = backend.read()
    for descending in (False, True):
        with pytest.raises(CorruptionError, match="out of order"):
            list(view.find("t", (), (Order("g", descending),)).rows)
    with pytest.raises(CorruptionError, match="out of order"):
        view.count_found("t", (Condition("g", between("0000", None)),))
    assert backend.check()


@pytest.mark.parametrize("what", ["noise", "zeros"])
def test_a_page_that_is_none_is_damage_for_as_long_as_anybody_looks(path, opened, what):
    """LMDB gives a transaction up that has met damage: whatever is read through it afterwards fails, too."""
    data = bytearray((path / "data.mdb").read_bytes())
    offset = next(offset for offset, nodes in leaves(data) if b"0000" in nodes)
    data[offset : offset + PAGE] = random.Random(1).randbytes(PAGE) if what == "noise" else bytes(PAGE)
    (path / "data.mdb").write_bytes(data)
    backend = opened(path)
    view = backend.read()
    for _ in range(3):
        for read in (
            lambda: view.get("t", "0000"), lambda: list(view.scan("t")), lambda: view.count("t"),
            lambda: list(view.find("t", (Condition("f", Equal(0)),)).rows),
        ):  # fmt: skip
            with pytest.raises(CorruptionError, match="LMDB cannot"):
                read()
    assert backend.read().get("raw", "a") == b"\xff"


@pytest.mark.parametrize("what", ["noise", "zeros"])
@pytest.mark.parametrize("key", [b"0000", b"\x300000", b"t:raw", b"t1"])
def test_check_gives_lmdb_no_pages_that_are_none(path, opened, key, what):
    """LMDB may end the process on them, and nobody would be told anything."""
    backend = opened(path)
    data = bytearray((path / "data.mdb").read_bytes())
    for offset, nodes in list(leaves(data)):
        if key in nodes:
            data[offset + 16 : offset + PAGE] = (
                random.Random(2).randbytes(PAGE - 16) if what == "noise" else bytes(4080)
            )
    (path / "data.mdb").write_bytes(data)
    problems = backend.check()
    assert "were not looked at" in problems[-1] or "is damaged or missing" in problems[-1]


def test_check_looks_at_all_tables_and_indexes_whatever_it_finds_in_one(path, opened):
    replace(path, b"\x01\x00a\xff", b"\x01\x00a\xfe")
    replace(path, b'{"f":3,"g":"0010"', b'{"f":3,"g":"0011"')
    assert opened(path).check() == [
        "table 'raw': the record 'a' does not match its checksum",
        "table 't': the record '0010' does not match its checksum",
    ]


def test_damage_that_an_apply_meets_changes_nothing(path):
    swap(path, b"t:raw", b"t:t")
    backend = LmdbBackend.open(FILES, str(path), create=False)
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(CorruptionError, match="out of order"):
        backend.apply({}, Position(1, 1), Position(1, 2), no_pause)
    assert backend.position() == Position(1, 1)
    assert (path / "data.mdb").read_bytes() == before
    backend.close()


def test_many_problems_are_counted(path, opened):
    replace(path, b"x" * 100, b"y" * 100)
    problems = opened(path).check()
    assert len(problems) == 21
    assert problems[-1] == "and 280 more like these"


def test_leftover_entries_of_no_table_are_found(path):
    backend = LmdbBackend.open(FILES, str(path), create=False)
    env = backend._environment.env
    handle = env.open_db(b"t9")
    with env.begin(write=True, db=handle) as transaction:
        transaction.put(b"a", b"b")
    assert backend.check() == ["the database t9 holds 1 entries and belongs to no table"]
    backend.close()
