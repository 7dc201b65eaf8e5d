"""`sessiondb export --format`: what each format holds, and that what was exported can be imported again."""

from __future__ import annotations

import base64
import csv
import io
import json
import random
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sessiondb
from sessiondb_tools.exporting.formats import FORMATS
from sessiondb_tools.exporting.records import Records
from sessiondb_tools.msgpack_stream import StreamProblem, objects

from .conftest import tree

PEOPLE = {
    "ada": {"name": "Ada", "born": 1815, "tags": ["math", "ü"], "key": None},
    "bob": {"name": 'Bo "B", \nsecond line', "active": True, "ratio": 2.5},
    "cid": {"name": "", "born": -7, "active": False, "place": {"city": "Paris"}},
}
BLOBS = {"logo": b"\x00\xff", "none": b""}


@pytest.fixture
def people(location):
    with sessiondb.open(location) as db:
        db.table("people").put_many(PEOPLE)
        db.table("blobs", bytes).put_many(BLOBS)
    return location


def unpacked(data: bytes) -> list[object]:
    file = io.BytesIO(data)
    return [msgspec.msgpack.decode(found.data) for found in objects(file.read, 1 << 30)]


# ---- what each format holds


def test_json_is_one_document_of_tables_of_records(run, people, tmp_path):
    blobs = {key: {"base64": base64.b64encode(data).decode()} for key, data in BLOBS.items()}
    done = run("export", "--format", "json", "--db", people)
    assert (done.code, json.loads(done.out)) == (0, {"blobs": blobs, "people": PEOPLE})
    assert run("export", "--format", "json", "--table", "people", "--db", people).json == {"people": PEOPLE}
    assert (
        run("export", "--output", "all.json", "--db", people).out == "wrote 5 records of 2 tables to all.json (json)\n"
    )
    assert (tmp_path / "all.json").read_text() == done.out


def test_msgpack_is_a_stream_of_objects(run, people, tmp_path):
    assert run("export", "--output", "all.msgpack", "--db", people).code == 0
    assert unpacked((tmp_path / "all.msgpack").read_bytes()) == [
        *({"table": "blobs", "key": key, "bytes": data} for key, data in BLOBS.items()),
        *({"table": "people", "key": key, "record": record} for key, record in PEOPLE.items()),
    ]


def test_csv_has_a_column_for_the_key_and_for_each_field(run, people):
    done = run("export", "--format", "csv", "--table", "people", "--db", people)
    assert done.code == 0
    assert done.out.splitlines()[0] == "_key,name,born,tags,key,active,ratio,place"
    rows = list(csv.DictReader(io.StringIO(done.out, newline="")))
    assert rows == [
        {"_key": "ada", "name": "Ada", "born": "1815", "tags": '["math","ü"]', "key": "", "active": "", "ratio": "",
         "place": ""},
        {"_key": "bob", "name": PEOPLE["bob"]["name"], "born": "", "tags": "", "key": "", "active": "true",
         "ratio": "2.5", "place": ""},
        {"_key": "cid", "name": "", "born": "-7", "tags": "", "key": "", "active": "false", "ratio": "",
         "place": '{"city":"Paris"}'},
    ]  # fmt: skip


def test_csv_of_what_is_no_object(run, people):
    with sessiondb.open(people) as db:
        db.table("mixed").put_many({"a": {"n": 1}, "b": [1, None], "c": "text"})
    assert run("export", "--format", "csv", "--table", "blobs", "--db", people).out == "key,base64\nlogo,AP8=\nnone,\n"
    done = run("export", "--format", "csv", "--table", "mixed", "--db", people)
    assert done.out == 'key,record\na,"{""n"":1}"\nb,"[1,null]"\nc,"""text"""\n'


def test_csv_is_of_one_table(run, people, tmp_path):
    before = tree(tmp_path)
    done = run("export", "--output", "x.csv", "--db", people)
    assert done.code == 2
    assert "CSV holds one table, there is: blobs, people; next: choose one with --table" in done.err
    assert set(tree(tmp_path)) == set(before)


def test_the_ending_of_the_file_and_the_format_must_agree(run, people, tmp_path):
    done = run("export", "--format", "csv", "--output", "x.json", "--table", "people", "--db", people)
    assert done.code == 2
    assert "--format csv and the name x.json do not agree" in done.err
    assert not (tmp_path / "x.json").exists()
    assert run("export", "--output", "x.bak", "--table", "people", "--db", people).out.endswith("to x.bak (jsonl)\n")
    done = run("export", "--format", "json", "--output", "y.bak", "--json", "--db", people)
    assert done.json == {"records": 5, "tables": ["blobs", "people"], "output": "y.bak", "format": "json"}


@pytest.mark.parametrize(("form", "expected"), [("jsonl", ""), ("json", "{}\n"), ("msgpack", "")])
def test_a_store_without_tables(run, location, form, expected):
    sessiondb.open(location).close()
    done = run("export", "--format", form, "--db", location)
    assert (done.code, done.out) == (0, expected)


def test_a_table_without_records(run, location):
    with sessiondb.open(location) as db:
        db.table("t")["a"] = 1
        del db.table("t")["a"]
    assert run("export", "--format", "json", "--db", location).json == {"t": {}}
    assert run("export", "--format", "csv", "--db", location).out == "key\n"


def test_a_record_is_given_before_the_next_one_is_read():
    """Memory does not grow with the store."""
    given_so_far = []

    class View:
        def scan(self, table):
            for number in range(4):
                given_so_far.append(number)
                yield f"k{number}", b'{"n":1}'

    for form in FORMATS.values():
        pieces = form(Records(View(), {"t": "json"}, ["t"]))
        head = next(pieces)
        given_so_far.clear()
        while b"k1" not in head:
            head = next(pieces)
        assert given_so_far[-1] == 1
        pieces.close()


# ---- there and back

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
keys = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.dictionaries(keys, values, min_size=1, max_size=5),
    data=st.dictionaries(keys, st.binary(max_size=9), min_size=1),
)
@pytest.mark.parametrize("form", ["jsonl", "json", "msgpack"])
def test_what_was_exported_comes_back_as_it_was(run, form, records, data):
    with tempfile.TemporaryDirectory() as folder:
        source, target, out = (str(Path(folder) / name) for name in ("x.json", "y.json", f"out.{form}"))
        with sessiondb.open(source) as db:
            db.table("records").put_many(records)
            db.table("blobs", bytes).put_many(data)
        assert run("export", "--output", out, "--db", source).code == 0
        kind = "json" if form == "json" else "export"
        done = run("import", "--from", kind, out, "--source-table", "records", "--table", "records", "--db", target)
        assert done.code == 0, done.err
        if form != "json":
            done = run("import", "--from", kind, out, "--source-table", "blobs", "--table", "blobs", "--db", target)
            assert done.code == 0, done.err
        with sessiondb.open(target) as db:
            again = {key: json.dumps(record) for key, record in db.table("records").items()}
            assert again == {key: json.dumps(record) for key, record in records.items()}
            if form != "json":
                assert dict(db.table("blobs", bytes).items()) == data


def test_a_file_of_msgpack_is_recognized(run, people, tmp_path):
    run("export", "--output", "x.msgpack", "--table", "people", "--db", people)
    done = run("import", "x.msgpack", "--db", str(tmp_path / "other.json"))
    assert done.code == 0, done.err
    assert (
        run("export", "--db", str(tmp_path / "other.json")).lines
        == run("export", "--table", "people", "--db", people).lines
    )


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (msgspec.msgpack.encode({"table": "t", "key": "a", "record": b"bytes"}), "bytes"),
        (msgspec.msgpack.encode({"table": "t", "key": "a", "record": msgspec.msgpack.Ext(7, b"x")}), "Ext"),
        (msgspec.msgpack.encode({"table": "t", "key": "a", "record": {1: 2}}), ""),
        (msgspec.msgpack.encode({"table": "t", "key": 1, "record": 2}), "no record that `sessiondb export` wrote"),
        (msgspec.msgpack.encode({"table": "t", "key": "a", "record": 2})[:-1], "object 2 (offset 23): the file ends"),
        (b"\xc1", "object 2 (offset 23): the byte 0xc1 begins nothing"),
        (b"\x83\xa5table\xa1t\xa3key\xa1a\xa6record\xa2\xff\xff", "UTF-8"),
    ],
)  # fmt: skip
def test_msgpack_that_is_no_export_is_refused_and_nothing_is_written(run, tmp_path, record, problem):
    first = msgspec.msgpack.encode({"table": "t", "key": "b", "record": 1})
    (tmp_path / "x.msgpack").write_bytes(first + record)
    target = tmp_path / "other.json"
    done = run("import", "x.msgpack", "--db", str(target))
    assert done.code == 2
    assert problem.lower() in done.err.lower()
    assert "nothing was written" in done.err
    assert not target.exists() or run("tables", "--db", str(target)).out == ""


def test_a_json_document_is_no_export_of_lines(run, people, tmp_path):
    run("export", "--output", "x.json", "--db", people)
    done = run("import", "--from", "export", "x.json", "--table", "t", "--db", str(tmp_path / "other.json"))
    assert done.code == 2


# ---- objects of MessagePack


def packable(rng: random.Random, depth: int) -> object:
    """A value that uses every format of MessagePack sooner or later."""
    size = rng.choice([0, 1, 3, 15, 16, 31, 32, 40, 255, 256, 300, 70_000 if depth == 0 else 2])
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind < 6:
        whole = rng.getrandbits(rng.randrange(1, 65)) * rng.choice([1, -1])
        return [None, rng.random() < 0.5, max(whole, -(2**63)), rng.random(), "x" * size, b"y" * size][kind]
    if kind == 6:
        return [packable(rng, depth + 3) for _ in range(size % 50)]
    if kind == 7:
        return {f"k{number}": packable(rng, depth + 3) for number in range(size % 50)}
    return msgspec.msgpack.Ext(7, b"z" * rng.choice([1, 2, 4, 8, 16, size]))


def test_objects_are_found_whatever_the_pieces_in_which_they_come():
    rng = random.Random(1)
    for _ in range(60):
        data = [msgspec.msgpack.encode(packable(rng, rng.randrange(4))) for _ in range(rng.randrange(6))]
        size = rng.choice([1, 7, 50, 4096]) if sum(map(len, data)) < 3000 else 9999
        file = io.BytesIO(b"".join(data))
        found = list(objects(lambda _, read=file.read, size=size: read(size), 1 << 20))
        assert [one.data for one in found] == data
        assert [one.offset for one in found] == [sum(map(len, data[:at])) for at in range(len(data))]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_objects_or_a_problem_with_a_place(data):
    end, stopped_at = 0, None
    try:
        for found in objects(io.BytesIO(data).read, 1 << 20):
            assert found.offset == end
            end += len(found.data)
    except StreamProblem as problem:
        stopped_at = problem.offset
    assert end == len(data) if stopped_at is None else end <= stopped_at < len(data)


def test_every_cut_of_an_object_is_noticed():
    data = msgspec.msgpack.encode({"a": [1, -1, 2.5, "text", b"bytes", None, 2**40, {"b": "x" * 300}, list(range(20))]})
    for length in range(1, len(data)):
        with pytest.raises(StreamProblem, match="in the middle"):
            list(objects(io.BytesIO(data[:length]).read, 1 << 20))


def test_an_object_that_is_too_large_is_not_read_to_its_end():
    read = []
    file = io.BytesIO(b"\xc6\x7f\xff\xff\xff" + b"x" * (3 << 20))

    def reader(size):
        read.append(size)
        return file.read(size)

    with pytest.raises(StreamProblem, match="more than 100 bytes"):
        list(objects(reader, 100))
    assert len(read) == 1
