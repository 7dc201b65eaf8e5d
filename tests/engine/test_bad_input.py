"""Bad input: each is a clear error, nothing is lost, and the files are byte for byte what they were."""

import errno
import os
import shutil

import pytest

import sessiondb
from later_version import make_later_version
from sessiondb import (
    CorruptionError,
    DuplicateKeyError,
    StoreFailedError,
    TransactionTooLargeError,
    UnsupportedFormatError,
    UsageError,
    ValidationError,
    WrongBackendError,
)
from sessiondb.testing import FaultyFiles
from sessiondb.wal import format as wal_format


@pytest.fixture
def unchanged(all_bytes):
    """Fails unless the files are afterwards what they are now; call it when the store is as it should stay."""
    before = []

    yield lambda: before.append(all_bytes())
    assert before
    assert all_bytes() == before[0]


@pytest.fixture
def table(db, unchanged):
    """A table with a record in an open store that must not change any more."""
    table = db.table("t")
    table["a"] = {"n": 1}
    unchanged()
    yield table
    assert dict(table) == {"a": {"n": 1}}
    assert db.position().lsn == 1


@pytest.fixture
def closed(tmp_path_factory, path, files):
    """A store as a killed process leaves it: LSN 1 is in the JSON file, LSN 2 in the one segment."""
    live = tmp_path_factory.mktemp("live")
    with sessiondb.open(live / "x.json", files=files) as db:
        db.table("t")["a"] = {"n": 1}
        db.checkpoint()
        db.table("t")["b"] = {"n": 2}
        shutil.copytree(live, path.parent, dirs_exist_ok=True)


def says(error, *parts):
    """The error's message has all of these, and no traceback of somebody else's."""
    message = str(error)
    for part in parts:
        assert str(part) in message


@pytest.mark.parametrize("key", [1, 1.5, None, True, b"a", ("a",), ["a"], object()], ids=lambda key: type(key).__name__)
def test_a_key_of_a_wrong_type(table, key):
    for use in (
        lambda: table.put(key, 1), lambda: table.__setitem__(key, 1), lambda: table.get(key),
        lambda: table[key], lambda: table.pop(key, None), lambda: table.__delitem__(key), lambda: table.get_many([key]),
    ):  # fmt: skip
        with pytest.raises(ValidationError, match="a key is a str, not") as caught:
            use()
        says(caught.value, "'t'", type(key).__name__)
    assert key not in table


@pytest.mark.parametrize(
    ("key", "problem"),
    [("", "not empty"), ("k" * 481, "480"), ("é" * 241, "480"), ("a\0", "NUL"), ("\udc80", "surrogate")],
    ids=["empty", "long", "long in UTF-8", "NUL", "surrogate"],
)
def test_a_key_of_a_wrong_size_or_content(table, key, problem):
    with pytest.raises(ValidationError, match=problem):
        table.put(key, 1)
    assert key not in table
    assert table.get(key, "default") == "default"


def test_the_longest_keys_are_fine(db):
    keys = ["k" * 480, "é" * 240, "😀" * 120]
    db.table("t").put_many(dict.fromkeys(keys, 1))
    assert set(db.table("t")) == set(keys)


def test_a_record_that_cannot_be_encoded(table):
    for record in (object(), {"a": object()}, {"a": [lambda: 0]}, 1j, {"a": {1, 2}}):
        with pytest.raises(ValidationError):
            table["b"] = record


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
def test_nan_and_infinity(table, value):
    with pytest.raises(ValidationError, match=str(value)) as caught:
        table["b"] = {"x": [value]}
    assert caught.value.path == "$.x[0]"


def test_a_record_over_the_limit(table, monkeypatch):
    monkeypatch.setattr("sessiondb.codec.RECORD_BYTES_MAX", 1_000)
    writes = [
        lambda: table.put("b", "x" * 999), lambda: table.insert("b", "x" * 999),
        lambda: table.patch("a", {"text": "x" * 999}), lambda: table.modify("a", lambda _: "x" * 999),
        lambda: table.put_many({"b": 1, "c": "x" * 999}),
    ]  # fmt: skip
    for write in writes:
        with pytest.raises(TransactionTooLargeError) as caught:
            write()
        says(caught.value, "'t'", "1000", "nothing was written", "next: ")


def test_a_record_at_the_limit(db, monkeypatch):
    monkeypatch.setattr("sessiondb.codec.RECORD_BYTES_MAX", 1_000)
    db.table("t")["a"] = "x" * 998
    blobs = db.table("b", bytes)
    blobs["a"] = bytes(1_000)
    with pytest.raises(TransactionTooLargeError):
        blobs["a"] = bytes(1_001)
    assert len(blobs["a"]) == 1_000


def test_a_transaction_over_the_limit(table, monkeypatch):
    monkeypatch.setattr("sessiondb.commit.PAYLOAD_BYTES_MAX", 1_000)
    with pytest.raises(TransactionTooLargeError) as caught:
        table.put_many({f"{n}": "x" * 100 for n in range(10)})
    says(caught.value, "1000", "nothing was written", "next: split it")


def test_the_limits_are_the_documented_ones():
    assert sessiondb.codec.RECORD_BYTES_MAX == 64 * 1024 * 1024
    assert wal_format.PAYLOAD_BYTES_MAX == 1024 * 1024 * 1024
    assert sessiondb.codec.KEY_BYTES_MAX == 480


def test_an_insert_of_a_key_that_exists(table):
    with pytest.raises(DuplicateKeyError, match=r"'a' exists already; put\(\) replaces, patch\(\) changes it"):
        table.insert("a", 1)


def test_a_negative_limit(table):
    with pytest.raises(UsageError, match="limit"):
        table.scan(limit=-1)


def test_a_missing_folder(tmp_path, files):
    location = tmp_path / "missing" / "x.json"
    with pytest.raises(UsageError, match=r"folder .* does not exist; next: ") as caught:
        sessiondb.open(location, files=files)
    says(caught.value, tmp_path / "missing")
    assert os.listdir(tmp_path) == []


def test_a_file_where_the_folder_should_be(tmp_path, files):
    (tmp_path / "file").write_text("x")
    with pytest.raises(sessiondb.SessionDBError, match=str(tmp_path)):
        sessiondb.open(tmp_path / "file" / "x.json", files=files)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder; see the next test")
def test_a_read_only_folder(tmp_path):
    folder = tmp_path / "sealed"
    folder.mkdir(mode=0o500)
    with pytest.raises(StoreFailedError, match="Permission denied"):
        sessiondb.open(folder / "x.json")
    assert os.listdir(folder) == []


@pytest.mark.parametrize("operation", ["mkdir", "create"])
@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS], ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_written(path, operation, error):
    files = FaultyFiles()
    with files.failing(operation, error), pytest.raises(StoreFailedError) as caught:
        sessiondb.open(path, files=files)
    says(caught.value, path, os.strerror(error))
    assert not path.exists()


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS], ids=errno.errorcode.get)
def test_a_store_in_a_folder_that_cannot_be_written_any_more(open_db, files, unchanged, error):
    unchanged()
    with (
        files.failing("create", error),
        pytest.raises(StoreFailedError, match=r"nothing was changed|what was there is kept"),
    ):
        open_db()
    db = open_db(read_only=True)
    assert dict(db.table("t")) == {"a": {"n": 1}, "b": {"n": 2}}
    db.close()


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("operation", ["open", "pread", "names"])
def test_a_store_that_cannot_be_read(open_db, files, unchanged, operation):
    """A read error is no torn tail and no empty store."""
    unchanged()
    with files.failing(operation) as failed, pytest.raises(StoreFailedError, match="Input/output error"):
        open_db()
    assert failed
    db = open_db(read_only=True)
    assert len(db.table("t")) == 2
    db.close()


@pytest.mark.usefixtures("closed")
def test_a_json_file_of_a_newer_format(open_db, path, unchanged):
    make_later_version(path)
    unchanged()
    with pytest.raises(UnsupportedFormatError, match=r"version 2.*upgrade sessiondb"):
        open_db()


@pytest.mark.usefixtures("closed")
def test_a_log_of_a_newer_format(open_db, path, unchanged, monkeypatch):
    (segment,) = (path.parent / "x.json.wal").glob("*.seg")
    data = segment.read_bytes()
    header = wal_format.decode_segment_header(data)
    with monkeypatch.context() as newer:
        newer.setattr(wal_format, "FORMAT_VERSION", 2)
        head, _ = wal_format.encode_segment_header(header)
    segment.write_bytes(head + data[len(head) :])
    unchanged()
    with pytest.raises(UnsupportedFormatError, match=r"version 2.*upgrade sessiondb"):
        open_db()


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("keep", [0, 1, 64, 127])
def test_a_truncated_segment_header(open_db, path, unchanged, keep):
    """The log held an acknowledged transaction: HEAD's durable word is the witness."""
    (segment,) = (path.parent / "x.json.wal").glob("*.seg")
    segment.write_bytes(segment.read_bytes()[:keep])
    unchanged()
    with pytest.raises(CorruptionError, match=r"damaged.*next: ") as caught:
        open_db()
    says(caught.value, segment, "LSN 2")


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("keep", [0, 10, 255])
def test_a_truncated_header_of_the_json_file(open_db, path, unchanged, keep):
    path.write_bytes(path.read_bytes()[:keep])
    unchanged()
    with pytest.raises((CorruptionError, WrongBackendError), match="next: ") as caught:
        open_db()
    says(caught.value, path)


@pytest.mark.usefixtures("closed")
def test_a_missing_json_file_with_its_log(open_db, path, unchanged):
    path.unlink()
    unchanged()
    with pytest.raises(CorruptionError, match=r"missing, but its log is here.*next: ") as caught:
        open_db()
    says(caught.value, path, f"{path}.wal")


@pytest.mark.usefixtures("closed")
def test_a_missing_log_folder_loses_what_was_in_it_and_says_so(open_db, path):
    shutil.rmtree(f"{path}.wal")
    db = open_db()
    assert dict(db.table("t")) == {"a": {"n": 1}}
    assert any("the log was missing" in notice for notice in db.recovery_report.notices)
    assert db.stats().epoch == 2


@pytest.mark.usefixtures("closed")
def test_missing_segments(open_db, path, unchanged):
    for segment in (path.parent / "x.json.wal").glob("*.seg"):
        segment.unlink()
    unchanged()
    with pytest.raises(CorruptionError, match="acknowledged as durable"):
        open_db()


@pytest.mark.usefixtures("closed")
def test_a_renamed_segment(open_db, path, unchanged):
    (segment,) = (path.parent / "x.json.wal").glob("*.seg")
    segment.rename(segment.with_name("00000001-0000000000000009.seg"))
    unchanged()
    with pytest.raises(CorruptionError, match="renamed"):
        open_db()


@pytest.mark.usefixtures("closed")
def test_a_segment_whose_name_is_none(open_db, path, unchanged):
    (path.parent / "x.json.wal" / "copy of 1.seg").write_bytes(b"x")
    unchanged()
    with pytest.raises(CorruptionError, match="name"):
        open_db()


def test_a_foreign_file(open_db, path, unchanged):
    path.write_bytes(b"SQLite format 3\0" + bytes(100))
    unchanged()
    with pytest.raises(WrongBackendError, match=r"expected a sessiondb JSON file, found a SQLite database.*untouched"):
        open_db()


@pytest.mark.usefixtures("closed")
def test_two_databases_with_one_log(open_db, path, tmp_path, unchanged):
    """Somebody put another store's file in the place of this one's, whose log still holds a transaction."""
    with sessiondb.open(tmp_path / "other.json") as other:
        other.table("t")["z"] = 1
    os.replace(tmp_path / "other.json", path)
    unchanged()
    with pytest.raises(CorruptionError, match="another store") as caught:
        open_db()
    says(caught.value, f"{path}.wal", "next: ")


@pytest.mark.usefixtures("closed")
def test_an_older_copy_of_the_json_file_beside_a_newer_log(open_db, path, tmp_path, unchanged):
    """A restored backup of the file alone: the log goes on behind a gap."""
    db = open_db()
    old = path.read_bytes()
    db.table("t")["c"] = {"n": 3}
    db.checkpoint()
    db.table("t")["d"] = {"n": 4}
    db.checkpoint()
    db.close()
    path.write_bytes(old)
    unchanged()
    with pytest.raises(CorruptionError, match="next: "):
        open_db()


def test_a_table_of_the_other_kind(db, table):
    for _ in range(2):
        with pytest.raises(UsageError, match="json"):
            db.table("t", bytes)


def test_a_table_that_became_the_other_kind_meanwhile(open_db):
    """Two handles made while the table did not exist: the first put decides."""
    db = open_db()
    objects, blobs = db.table("t"), db.table("t", bytes)
    objects["a"] = 1
    position = db.position()
    with pytest.raises(UsageError, match=r"holds json records, not bytes"):
        blobs["b"] = b"x"
    assert db.position() == position
    assert dict(objects) == {"a": 1}
