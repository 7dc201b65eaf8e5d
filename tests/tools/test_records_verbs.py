"""get, put, delete, list, tables, checkpoint."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import sessiondb

from .conftest import segment_of, tree


def test_get_prints_indented_json(run, store):
    done = run("get", "a", "--db", store)
    assert done.code == 0
    assert done.out == '{\n  "n": 1\n}\n'


def test_get_prints_one_line_with_json(run, store):
    assert run("get", "b", "--json", "--db", store).out == '[null,2.5,"ü"]\n'


def test_get_keeps_the_order_of_the_fields(run, store):
    run("put", "z", '{"z": 1, "a": {"y": 0, "b": 0}}', "--db", store)
    assert run("get", "z", "--json", "--db", store).out == '{"z":1,"a":{"y":0,"b":0}}\n'


def test_get_writes_a_record_of_bytes_as_it_is(command, store):
    done = command("get", "logo", "--table", "blobs", "--db", store)
    assert done.stdout == b"\x00\xff"


def test_get_writes_a_record_of_bytes_as_base64_with_json(run, store):
    assert run("get", "logo", "--table", "blobs", "--json", "--db", store).json == "AP8="


@pytest.mark.parametrize("key", ["zzz", "", "a\0b", "\ud800", "k" * 1000])
def test_get_of_an_absent_key_ends_with_1_and_prints_nothing(run, store, key):
    done = run("get", key, "--db", store)
    assert done.code == 1
    assert done.out == ""
    assert "there is no record" in done.err


def test_a_null_record_is_not_an_absent_one(run, store):
    run("put", "nothing", "null", "--db", store)
    done = run("get", "nothing", "--db", store)
    assert (done.code, done.out) == (0, "null\n")


def test_a_table_that_is_not_there_is_named_with_those_that_are(run, store):
    for verb in (["get", "a"], ["list"], ["delete", "a"]):
        done = run(*verb, "--table", "session", "--db", store)
        assert done.code == 2
        assert "there is no table 'session'" in done.err
        assert "blobs, records" in done.err


def test_reading_changes_no_file(run, store):
    before = tree(".")
    for verb in (["get", "a"], ["list"], ["tables"], ["status"], ["log", "dump"], ["log", "verify"]):
        assert run(*verb, "--db", store).code == 0
        assert run(*verb, "--db", store, "--json").code == 0
    assert tree(".") == before


def test_reading_after_a_kill_shows_what_is_in_the_log_and_changes_no_file(run, killed_store):
    before = tree(".")
    assert run("get", "key-9", "--json", "--db", killed_store).json == {"n": 9}
    assert run("status", "--json", "--db", killed_store).json["recovery"]["transactions"] == 10
    assert tree(".") == before


def test_put_says_where_and_at_which_position(run, store):
    done = run("put", "d", '{"x": [1, 2]}', "--db", store)
    assert done.code == 0
    assert done.out == f"stored d in table 'records' of {store} at 1:3\n"
    with sessiondb.open(store) as db:
        assert db.table("records")["d"] == {"x": [1, 2]}


def test_put_prints_json(run, store):
    assert run("put", "d", "1", "--db", store, "--json").json == {"key": "d", "position": "1:3"}


def test_put_reads_standard_input(command, store):
    assert command("put", "d", "--db", store, input=b'\xef\xbb\xbf {"from": "stdin"}\n').returncode == 0
    with sessiondb.open(store) as db:
        assert db.table("records")["d"] == {"from": "stdin"}


def test_put_into_another_table_makes_it(run, store):
    run("put", "x", "1", "--table", "other", "--db", store)
    assert run("tables", "--db", store, "--json").lines[1] == {"table": "other", "kind": "json", "records": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting property name"),
        ("", "Expecting value"),
        ("1 2", "there is more: '2'"),
        ("NaN", "NaN is no JSON value"),
        ('{"a": -Infinity}', "-Infinity is no JSON value"),
        ('{"a": {"b": 1, "b": 2}}', "the name 'b' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5_000, "digits"),
        ("{'a': 1}", "column 2"),
    ],
)
def test_bad_json_is_refused_before_anything_is_written(run, tmp_path, text, said):
    done = run("put", "a", text, "--db", str(tmp_path / "new.json"))
    assert done.code == 2
    assert said in done.err
    assert "nothing was written" in done.err
    assert not (tmp_path / "new.json").exists()


@pytest.mark.parametrize("text", ["1e999", "123456789012345678901234567890", '"\\ud800"'])
def test_json_that_cannot_be_stored_is_refused(run, store, text):
    done = run("put", "a", f'{{"deep": [{text}]}}', "--db", store)
    assert done.code == 2
    assert "table 'records': key 'a': " in done.err
    assert run("get", "a", "--json", "--db", store).json == {"n": 1}


@pytest.mark.parametrize("key", ["", "a\0b", "k" * 481])
def test_a_bad_key_is_refused(run, store, key):
    done = run("put", key, "1", "--db", store)
    assert done.code == 2
    assert "table 'records'" in done.err


def test_put_of_json_into_a_table_of_bytes_is_refused(run, store):
    done = run("put", "x", "1", "--table", "blobs", "--db", store)
    assert done.code == 2
    assert "holds bytes records" in done.err


def test_put_into_a_missing_folder_is_refused(run, tmp_path):
    done = run("put", "a", "1", "--db", str(tmp_path / "none" / "x.json"))
    assert done.code == 2
    assert "does not exist" in done.err


def test_delete_says_how_many(run, store):
    done = run("delete", "a", "b", "a", "--db", store)
    assert done.code == 0
    assert done.out == f"deleted 2 records from table 'records' of {store}\n"
    assert run("list", "--keys", "--db", store).out == "c\n"


def test_delete_of_an_absent_key_ends_with_1_and_removes_the_others(run, store):
    done = run("delete", "a", "zzz", "--db", store, "--json")
    assert done.code == 1
    assert done.json == {"deleted": 1, "absent": ["zzz"]}
    assert "not there: zzz" in done.err
    assert run("get", "a", "--db", store).code == 1


def test_list_prints_keys_and_records(run, store):
    assert run("list", "--db", store).out == 'a\t{"n":1}\nb\t[null,2.5,"ü"]\nc\t"text"\n'
    assert run("list", "--db", store, "--json").lines == [
        {"key": "a", "record": {"n": 1}}, {"key": "b", "record": [None, 2.5, "ü"]}, {"key": "c", "record": "text"},
    ]  # fmt: skip


def test_list_takes_a_prefix_and_a_limit(run, store):
    assert run("list", "--db", store, "--keys", "--limit", "2").out == "a\nb\n"
    assert run("list", "--db", store, "--keys", "--limit", "0").out == ""
    assert run("list", "--db", store, "--keys", "--prefix", "c", "--json").lines == [{"key": "c"}]
    assert run("list", "--db", store, "--limit", "-1").code == 2


def test_list_prints_bytes_as_base64(run, store):
    assert run("list", "--table", "blobs", "--db", store).out == 'logo\t"AP8="\n'


def test_list_does_not_let_a_key_disturb_the_terminal(run, store):
    run("put", "a\n\x1b[2Jb", "1", "--db", store)
    assert run("list", "--prefix", "a\n", "--db", store).out == '"a\\n\\u001b[2Jb"\t1\n'


def test_list_of_an_empty_store_is_empty(run, tmp_path):
    path = str(tmp_path / "empty.json")
    sessiondb.open(path).close()
    done = run("list", "--db", path)
    assert (done.code, done.out) == (0, "")


def test_tables_are_printed_with_kinds_and_counts(run, store):
    assert run("tables", "--db", store).out == "blobs    bytes   1 record\nrecords  json   3 records\n"
    assert run("tables", "--db", store, "--json").lines == [
        {"table": "blobs", "kind": "bytes", "records": 1}, {"table": "records", "kind": "json", "records": 3},
    ]  # fmt: skip


def test_tables_of_an_empty_store_are_none(run, tmp_path):
    path = str(tmp_path / "empty.json")
    sessiondb.open(path).close()
    assert run("tables", "--db", path).out == f"{path} has no tables\n"
    assert run("tables", "--db", path, "--json").out == ""


def test_checkpoint_moves_the_log_into_the_file(run, killed_store):
    done = run("checkpoint", "--db", killed_store)
    assert done.code == 0
    assert done.out == f"moved 10 transactions into {killed_store}, which is at 1:10\n"
    assert segment_of(killed_store).stat().st_size == 128
    assert json.loads(Path(killed_store).read_text())["tables"]["records"]["key-9"] == {"n": 9}
    assert run("checkpoint", "--db", killed_store, "--json").json == {"moved": 0, "applied_lsn": 10, "epoch": 1}


def test_a_damaged_file_ends_with_1_and_says_where(run, store):
    path = Path(store)
    path.write_bytes(path.read_bytes().replace(b'"text"', b'"tExt"'))
    for verb in (["get", "c"], ["list"], ["put", "a", "1"], ["checkpoint"], ["status"]):
        done = run(*verb, "--db", store)
        assert done.code == 1, verb
        assert f"does not match its digest: it was damaged, cut, or edited by hand ({store}, offset 256" in done.err
        assert "next: " in done.err


def test_a_missing_file_beside_its_log_is_not_taken_for_an_empty_store(run, killed_store):
    os.unlink(killed_store)
    for verb in (["get", "key-1"], ["put", "a", "1"], ["delete", "a"]):
        done = run(*verb, "--db", killed_store)
        assert done.code == 1, verb
        assert "missing, but its log is" in done.err
    assert not os.path.exists(killed_store)


# ---- which table


def test_the_only_table_need_not_be_named(run, location):
    with sessiondb.open(location) as db:
        db.table("people").put_many({"a": {"n": 1}, "b": {"n": 2}})
    assert run("get", "a", "--db", location).json == {"n": 1}
    assert run("list", "--keys", "--db", location).out == "a\nb\n"
    assert run("find", "n:=2", "--keys", "--db", location).out == "b\n"
    assert run("patch", "a", "n:=3", "--db", location).json == {"n": 3}
    assert "from table 'people'" in run("delete", "a", "--db", location).out
    absent = run("get", "a", "--db", location)
    assert (absent.code, "'people'" in absent.err) == (1, True)


def test_among_several_tables_it_is_records_or_none(run, location):
    with sessiondb.open(location) as db:
        db.table("people")["a"] = {"n": 1}
        db.table("towns")["a"] = {"n": 2}
    done = run("get", "a", "--db", location)
    assert (done.code, done.out) == (2, "")
    assert "it has: people, towns; next: choose one with --table" in done.err
    with sessiondb.open(location) as db:
        db.table("records")["a"] = {"n": 3}
    assert run("get", "a", "--db", location).json == {"n": 3}


def test_a_table_that_was_named_is_never_another_one(run, location):
    with sessiondb.open(location) as db:
        db.table("people")["a"] = {"n": 1}
    assert run("get", "a", "--table", "records", "--db", location).code == 2
    assert run("put", "b", '{"n": 2}', "--db", location).code == 0
    with sessiondb.open(location) as db:
        assert list(db.tables()) == ["people", "records"]
