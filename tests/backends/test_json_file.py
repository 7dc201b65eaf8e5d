"""The JSON file backend keeps the contract of backends, and its layout is the one that is specified."""

import base64
import hashlib
import json
import zlib
from pathlib import Path

import pytest

import sessiondb
from later_version import make_later_version
from sessiondb.backend import Position, TableChanges
from sessiondb.files import Files
from sessiondb.testing import BackendContract, FaultyFiles, TableContract
from sessiondb_backends.json_file import JsonFileBackend


class TestJsonFileBackend(BackendContract):
    backend_class = JsonFileBackend

    def damage(self, path):
        data = Path(path).read_bytes()
        Path(path).write_bytes(data.replace(b'"a":1', b'"a":7'))

    def make_newer(self, path):
        make_later_version(Path(path))


class TestJsonFileTables(TableContract):
    url = "json:///{path}.json"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.json"


@pytest.fixture
def backend(path):
    return JsonFileBackend.open(FaultyFiles(), str(path), create=True)


def fill(backend, **tables):
    """One apply: table name to its records; raw bytes make a bytes table."""
    changes = {}
    for name, records in tables.items():
        kind = "json" if all(text[:1] in b'{["0' for text in records.values()) else "bytes"
        changes[name] = TableChanges(kind, False, records)
    backend.apply(changes, backend.position(), Position(1, 7), lambda: None)


def test_the_file_is_one_json_object_with_a_record_a_line(backend, path):
    fill(backend, t={"b": b'{"n":2}', "a": b'{"n":1}'}, blobs={"x": b"\xff\0"}, s={"k": b"[]"})
    header, *lines = path.read_text().splitlines()
    checked = (
        f'{{"sessiondb":{{"format":1,"uuid":"{backend.identity().uuid.hex()}","epoch":1,"lsn":7,'
        f'"digest":"{hashlib.sha256(path.read_bytes()[256:]).hexdigest()}"'
    )
    assert header.rstrip() == f'{checked},"crc":"{zlib.crc32(checked.encode()):08x}"}},'
    assert len(header) == 255
    assert lines == [
        '"tables":{', '"s":{', '"k":[]', "},", '"t":{', '"a":{"n":1},', '"b":{"n":2}', "}", "},",
        '"bytes_tables":{', '"blobs":{', '"x":"/wA="', "}", "}", "}",
    ]  # fmt: skip


def test_any_json_parser_reads_the_file(path):
    records = {"é😀": {"text": "\u2028\x01"}, '"\\': [None, 1.5], "\x7f": "x"}
    with sessiondb.open(path, files=FaultyFiles()) as db:
        db.table("t 😀").put_many(records)
        db.table("blobs", bytes)["b"] = bytes(range(256))
        db.table("empty")["a"] = 1
        del db.table("empty")["a"]
    stored = json.loads(path.read_bytes())
    assert stored["tables"] == {"empty": {}, "t 😀": records}
    assert base64.b64decode(stored["bytes_tables"]["blobs"]["b"]) == bytes(range(256))


def test_the_digest_covers_every_byte_behind_the_first_line(backend, path):
    fill(backend, t={"a": b'{"n":1}'})
    good = path.read_bytes()
    for offset in range(256, len(good)):
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 1]) + good[offset + 1 :])
        with pytest.raises(sessiondb.CorruptionError):
            JsonFileBackend.open(FaultyFiles(), str(path), create=False)


def test_no_changed_bit_of_the_first_line_goes_unnoticed(backend, path):
    """A changed uuid or position is not caught by the digest, so it must be caught by the log's uuid and LSNs."""
    fill(backend, t={"a": b'{"n":1}'})
    good = path.read_bytes()
    header = good[:256].rstrip()
    for offset in range(len(header)):
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 1]) + good[offset + 1 :])
        try:
            opened = JsonFileBackend.open(FaultyFiles(), str(path), create=False)
        except sessiondb.SessionDBError:
            continue
        assert (opened.identity(), opened.position()) != (backend.identity(), Position(1, 7))


@pytest.mark.parametrize("keep", [1, 14, 100, 255, 256, 300, -1], ids=lambda keep: f"keep {keep}")
def test_a_truncated_file_is_refused_and_left_as_it_is(path, keep):
    with sessiondb.open(path, files=FaultyFiles()) as db:
        db.table("t")["a"] = {"text": "x" * 200}
    cut = path.read_bytes()[:keep]
    path.write_bytes(cut)
    with pytest.raises((sessiondb.CorruptionError, sessiondb.WrongBackendError)):
        sessiondb.open(path, files=FaultyFiles())
    assert path.read_bytes() == cut


def test_a_file_edited_by_hand_is_refused_with_advice(path):
    with sessiondb.open(path, files=FaultyFiles()) as db:
        db.table("t")["a"] = {"n": 1}
    edited = path.read_bytes().replace(b'{"n":1}', b'{"n":2}')
    path.write_bytes(edited)
    with pytest.raises(sessiondb.CorruptionError, match=r"edited by hand.*next: "):
        sessiondb.open(path, files=FaultyFiles())
    assert path.read_bytes() == edited


def test_an_empty_table_and_its_kind_survive(path):
    with sessiondb.open(path, files=FaultyFiles()) as db:
        db.table("t", bytes)["a"] = b""
        db.table("t", bytes).clear()
    with sessiondb.open(path, files=FaultyFiles()) as db:
        assert db.tables() == {"t": "bytes"}
        with pytest.raises(sessiondb.UsageError, match="bytes"):
            db.table("t")


def test_untouched_records_keep_their_bytes_across_checkpoints(path):
    with sessiondb.open(path, files=FaultyFiles()) as db:
        db.table("t").put_many({f"{n}": {"n": n, "f": n / 7} for n in range(100)})
    before = path.read_bytes().splitlines()[1:]
    with sessiondb.open(path, files=FaultyFiles()) as db:
        db.table("t")["50"] = "changed"
    after = path.read_bytes().splitlines()[1:]
    assert [new for old, new in zip(before, after, strict=True) if old != new] == [b'"50":"changed",']


def test_a_replacement_is_synced_before_it_is_renamed_and_the_folder_after(backend, path):
    done = []
    files = FaultyFiles()
    files.after = lambda operation, where: done.append((operation, Path(where).name))
    opened = JsonFileBackend.open(files, str(path), create=False)
    done.clear()
    opened.apply({}, Position(1, 0), Position(1, 1), lambda: None)
    names = [step for step in done if step[0] not in ("open", "pwrite")]
    assert names == [
        ("create", "x.json.tmp"), ("fsync", "x.json.tmp"), ("replace", "x.json"), ("sync_folder", path.parent.name)
    ]  # fmt: skip
    assert done.index(("fsync", "x.json.tmp")) > max(n for n, step in enumerate(done) if step[0] == "pwrite")


def test_real_files_give_the_same_bytes(tmp_path):
    for name, files in (("a", Files()), ("b", FaultyFiles())):
        with sessiondb.open(tmp_path / f"{name}.json", files=files) as db:
            db.table("t")["k"] = {"n": 1}
    one, other = ((tmp_path / f"{name}.json").read_bytes()[256:] for name in "ab")
    assert one == other
