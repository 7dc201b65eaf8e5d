"""What is at the location is judged before LMDB sees it: foreign folders stay untouched, cut files never reach LMDB."""

import os
import random
from pathlib import Path

import lmdb
import pytest

import sessiondb
from sessiondb.backend import Position, TableChanges
from sessiondb.errors import BackendError, CorruptionError, SessionDBError, WrongBackendError
from sessiondb.testing import FaultyFiles
from sessiondb.testing.backend_under_test import no_pause
from sessiondb_backends import lmdb_place
from sessiondb_backends.lmdb import LmdbBackend
from sessiondb_backends.lmdb_format import DIRECTORY
from sessiondb_backends.lmdb_pages import DamagedPages, NotLmdb, OtherVersion, has_database, missing_pages_are_free
from sessiondb_backends.lmdb_pages import read_meta as read_meta_pages

FILES = FaultyFiles()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.lmdb"


@pytest.fixture
def store(path):
    """A closed store with a table of 300 records; each of the two meta pages has seen a transaction."""
    backend = LmdbBackend.open(FILES, str(path), create=True)
    images = {f"{n:04}": b'{"n":%d,"text":"%s"}' % (n, b"x" * 200) for n in range(300)}
    backend.apply({"t": TableChanges("json", False, images)}, Position(1, 0), Position(1, 1), no_pause)
    backend.apply({"t": TableChanges("json", False, {"0000": None})}, Position(1, 1), Position(1, 2), no_pause)
    backend.close()
    (path / "lock.mdb").unlink()
    return path


def contents_of(folder):
    return {str(file): file.read_bytes() if file.is_file() else None for file in sorted(Path(folder).rglob("*"))}


def refused(path, error, match):
    """Everything that looks at the location refuses it, and nothing is changed."""
    before = contents_of(path.parent)
    for look in (
        lambda: LmdbBackend.exists(FILES, str(path)),
        lambda: LmdbBackend.open(FILES, str(path), create=False),
        lambda: LmdbBackend.open(FILES, str(path), create=True),
        lambda: LmdbBackend.open(FILES, str(path), create=False, read_only=True),
        lambda: sessiondb.open(f"lmdb:///{path}", files=FILES),
    ):
        with pytest.raises(error, match=match):
            look()
    assert contents_of(path.parent) == before


# ---- what is no store of ours


def test_a_folder_with_other_files_is_refused(path):
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    refused(path, WrongBackendError, r"expected .* found a folder with other files \(notes.txt\)")


def test_an_lmdb_environment_of_another_program_is_refused_without_making_a_lock_file(path):
    with lmdb.open(str(path), max_dbs=4) as env, env.begin(write=True) as transaction:
        transaction.put(b"sessiondb", b"a key of this name is no named database")
        env.open_db(b"theirs", txn=transaction)
    (path / "lock.mdb").unlink()
    refused(path, WrongBackendError, "an LMDB folder of another program")


def test_an_empty_lmdb_environment_is_refused(path):
    lmdb.open(str(path)).close()
    refused(path, WrongBackendError, "an LMDB folder of another program")


def test_an_environment_of_lmdb_1_0_is_refused(path):
    lmdb.open(str(path), lib_version=1).close()
    refused(path, WrongBackendError, r"that LMDB 0.9 cannot read \(LMDB data format 3\)")


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "an empty file named data.mdb"), (b"#!/bin/sh\n", "an unknown file named"), (bytes(20_000), "an unknown")],
    ids=["empty", "text", "zeros"],
)
def test_a_data_file_that_is_none_is_refused(path, content, found):
    path.mkdir()
    (path / "data.mdb").write_bytes(content)
    refused(path, WrongBackendError, found)


def test_a_file_at_the_location_is_refused(path):
    path.write_bytes(b'{"sessiondb":1}')
    refused(path, WrongBackendError, "expected a sessiondb LMDB folder, found a sessiondb JSON file")


@pytest.mark.parametrize("left", [[], ["wal"], ["lock.mdb"], ["wal", "creating.mdb", "creating.mdb-lock"]], ids=str)
def test_a_folder_without_a_data_file_is_no_store(path, left):
    path.mkdir()
    for name in left:
        (path / name).mkdir() if name == "wal" else (path / name).write_bytes(b"")
    before = contents_of(path)
    assert LmdbBackend.exists(FILES, str(path)) is False
    assert contents_of(path) == before
    with pytest.raises(BackendError, match="is missing"):
        LmdbBackend.open(FILES, str(path), create=False)


def test_a_data_file_that_is_gone_while_its_log_is_there_is_damage(path):
    with sessiondb.open(path, files=FILES) as db:
        db.table("t")["a"] = 1
    (path / "data.mdb").unlink()
    with pytest.raises(CorruptionError, match="the store is missing, but its log is here"):
        sessiondb.open(path, files=FILES)


# ---- what LMDB must not see


@pytest.mark.parametrize("cut", [1, 4096, 8192, 50_000])
def test_a_file_that_was_cut_is_damage(store, cut):
    """LMDB maps the file; the first look at a missing page would end the process with SIGBUS."""
    data = store / "data.mdb"
    os.truncate(data, data.stat().st_size - cut)
    refused(store, CorruptionError, "the file was cut")


@pytest.mark.parametrize("size", [1, 100, 4096, 5000, 8191])
def test_a_file_that_was_cut_inside_the_meta_pages_is_refused(store, size):
    os.truncate(store / "data.mdb", size)
    refused(store, (CorruptionError, WrongBackendError), "meta page|unknown file|was cut")


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (0, b"\x05"), (10, b"\x09"), (16, b"\0\0\0\0"), (40, bytes(4)), (40, b"\x01\x10\0\0"), (46, b"\xff\0"),
        (80, b"\xff" * 7), (128, b"\x01" * 8), (120, b"\xff" * 7), (136, bytes(8)), (144, b"\xff" * 8),
        (144, b"\x80\x84"),
    ],
    ids=["page number", "flags", "magic", "no page size", "odd page size", "depth", "free root", "main root",
         "entries", "no last page", "huge transaction", "other transaction"],
)  # fmt: skip
def test_a_damaged_meta_page_is_damage(store, page, offset, data):
    with (store / "data.mdb").open("r+b") as stream:
        stream.seek(page * 4096 + offset)
        stream.write(data)
    refused(store, CorruptionError, "meta page")


def test_both_meta_pages_are_needed_even_when_the_file_is_long_enough(store):
    with (store / "data.mdb").open("r+b") as stream:
        stream.write(bytes(4096))
    refused(store, CorruptionError, "meta page 0 is damaged or missing")


def test_no_bit_flipped_in_the_meta_pages_is_served_as_another_state(store):
    """A flip is refused, or it is in a field without a meaning and everything is as it was."""
    data = (store / "data.mdb").read_bytes()
    wanted = {f"{n:04}" for n in range(1, 300)}
    randomly = random.Random(1)
    noticed = 0
    for place in [*range(152), *range(4096, 4096 + 152)]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << randomly.randrange(8)
        (store / "data.mdb").write_bytes(flipped)
        try:
            opened = LmdbBackend.open(FILES, str(store), create=False, read_only=True)
        except SessionDBError:
            noticed += 1
            continue
        try:
            if opened.check():
                noticed += 1
            else:
                assert (opened.position(), set(dict(opened.read().scan("t")))) == (Position(1, 2), wanted)
        finally:
            opened.close()
    assert noticed > 150


def test_missing_pages_that_are_free_are_no_damage(store):
    """What a transaction took at the file's end and gave back need never have been written."""
    backend = LmdbBackend.open(FILES, str(store), create=False)
    view = backend.read()  # so that no page is used again
    backend.apply({"u": TableChanges("bytes", False, {"a": bytes(50_000)})}, Position(1, 2), Position(1, 3), no_pause)
    view.close()
    for lsn in range(3, 6):
        # One transaction moves everything to the beginning of the file, the next ones forget what was behind it.
        change = TableChanges(None, True, {}) if lsn == 3 else TableChanges("json", False, {"0001": b"{}"})
        backend.apply({"u" if lsn == 3 else "t": change}, Position(1, lsn), Position(1, lsn + 1), no_pause)
    before = dict(backend.read().scan("t"))
    backend.close()
    data = store / "data.mdb"
    size = data.stat().st_size
    with data.open("rb") as stream:
        meta = read_meta_pages(lambda length, offset: os.pread(stream.fileno(), length, offset), size)
    assert size == (meta.last_page + 1) * 4096
    cut = 0
    while True:
        os.truncate(data, size - (cut + 1) * 4096)
        with data.open("rb") as stream:
            if not missing_pages_are_free(
                lambda length, offset, file=stream: os.pread(file.fileno(), length, offset),
                meta,
                size - (cut + 1) * 4096,
            ):
                break
        cut += 1
        backend = LmdbBackend.open(FILES, str(store), create=False, read_only=True)
        assert dict(backend.read().scan("t")) == before
        backend.close()
    assert cut > 3


# ---- reading pages


def reader(data):
    return lambda length, offset: data[offset : offset + length]


def test_any_environment_is_read_as_lmdb_reads_it(tmp_path):
    """Compared with LMDB's own answers, over many transactions."""
    randomly = random.Random(7)
    env = lmdb.open(str(tmp_path / "e"), map_size=1 << 28, max_dbs=600, sync=False)
    names = [b"sessiondb", *(b"t%d" % n for n in range(500)), *(b"i%d" % n for n in range(50))]
    made = set()
    for _ in range(60):
        with env.begin(write=True) as transaction:
            for name in randomly.sample(names, 12):
                db = env.open_db(name, txn=transaction)
                made.add(name)
                for _ in range(randomly.choice([0, 1, 30])):
                    key = b"%d" % randomly.randrange(500)
                    if randomly.random() < 0.5:
                        transaction.put(key, os.urandom(randomly.choice([1, 300, 9000])), db=db)
                    else:
                        transaction.delete(key, db=db)
            transaction.put(b"a key", b"and no database")
        data = (tmp_path / "e" / "data.mdb").read_bytes()
        meta = read_meta_pages(reader(data), len(data))
        info = env.info()
        assert (meta.txnid, meta.last_page) == (info["last_txnid"], info["last_pgno"])
        assert meta.main_entries == len(made) + 1
        assert {name for name in names if has_database(reader(data), meta, name)} == made
        assert not has_database(reader(data), meta, b"a key")
        assert missing_pages_are_free(reader(data), meta, len(data))
        assert not missing_pages_are_free(reader(data), meta, 2 * 4096)
    env.close()


def test_whatever_bytes_are_read_the_answer_is_a_meta_page_or_a_reason(store):
    data = (store / "data.mdb").read_bytes()
    randomly = random.Random(3)
    for _ in range(3_000):
        broken = bytearray(data[: randomly.randrange(len(data))] if randomly.random() < 0.3 else data)
        for _ in range(randomly.randrange(8)):
            if broken:
                place = randomly.randrange(len(broken)) if randomly.random() < 0.3 else randomly.randrange(8192)
                broken[place % len(broken)] = randomly.randrange(256)
        try:
            meta = read_meta_pages(reader(bytes(broken)), len(broken))
            has_database(reader(bytes(broken)), meta, DIRECTORY)
            missing_pages_are_free(reader(bytes(broken)), meta, len(broken))
        except (DamagedPages, NotLmdb, OtherVersion):
            continue


def test_a_store_that_is_written_meanwhile_is_looked_at_again(store, monkeypatch):
    """Pages that a look is following may be written over by the transaction after the next."""
    looks = []
    real = lmdb_place.look

    def look(files, path):
        looks.append(path)
        if len(looks) < 4:
            with (store / "data.mdb").open("r+b") as stream:  # as if a transaction had ended
                stream.seek(4096 + 24)
                stream.write(b"%d" % len(looks))
            raise CorruptionError("a page that was written over", path=path)
        return real(files, path)

    monkeypatch.setattr(lmdb_place, "look", look)
    assert LmdbBackend.exists(FILES, str(store)) is True
    assert len(looks) == 4
