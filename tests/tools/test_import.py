"""`sessiondb import`: the three forms, what is refused and how it is said, atomic batches, bounded memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

import sessiondb
from sessiondb_tools.main import main
from sessiondb_tools.verbs import import_

RECORDS = [{"session": "s1", "n": 1}, {"session": "s2", "n": None}, {"session": "ü", "deep": {"x": [1.5, True]}}]


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def stored(path: Path) -> dict[str, object]:
    with sessiondb.open(str(path), create=False) as db:
        return dict(db.table("records").scan())


FORMS = {
    "array": json.dumps(RECORDS, indent=2),
    "compact array": json.dumps(RECORDS),
    "lines": "".join(json.dumps(record) + "\n" for record in RECORDS),
    "lines with a byte order mark, blank lines, CRLF, and no end of line": "\ufeff\n"
    + "\r\n\n".join(json.dumps(record) for record in RECORDS),
}


@pytest.mark.parametrize("form", FORMS)
def test_objects_with_an_id_are_stored_under_it(run, tmp_path, form):
    source = write(tmp_path / "in.json", FORMS[form])
    done = run("import", source, "--id", "session", "--db", str(tmp_path / "s.json"))
    assert done.code == 0, done.err
    assert done.out == f"wrote 3 records in 1 batch to table 'records' of {tmp_path}/s.json, which is at 1:1\n"
    assert stored(tmp_path / "s.json") == {record["session"]: record for record in RECORDS}


def test_one_object_of_records_is_stored_by_its_names(run, tmp_path):
    records = {"a": {"x": 1}, "b": [1, {"y": None}], "c": None, "d e": "text"}
    source = write(tmp_path / "in.json", json.dumps(records, indent=1))
    done = run("import", source, "--db", str(tmp_path / "s.json"), "--json")
    assert done.json == {
        "written": 4, "replaced": 0, "batches": 1, "table": "records", "location": f"{tmp_path}/s.json",
        "position": "1:1", "unreadable": 0, "expired": 0, "expiring": 0, "remarks": [],
    }  # fmt: skip
    assert stored(tmp_path / "s.json") == records


@pytest.mark.parametrize("text", ["[]", "{}", " [ ] \n"])
def test_an_empty_input_is_no_error(run, tmp_path, text):
    arguments = ["--id", "session"] if "[" in text else []
    done = run("import", write(tmp_path / "in.json", text), *arguments, "--db", str(tmp_path / "s.json"))
    assert done.code == 0
    assert "wrote 0 records in 0 batches" in done.out


def test_whole_numbers_become_text_keys(run, tmp_path):
    source = write(tmp_path / "in.jsonl", '{"id": 7}\n{"id": -1}\n')
    assert run("import", source, "--id", "id", "--db", str(tmp_path / "s.json")).code == 0
    assert stored(tmp_path / "s.json") == {"7": {"id": 7}, "-1": {"id": -1}}


def test_a_pipe_is_read_as_a_file_is(command, tmp_path):
    path = tmp_path / "s.json"
    done = command("import", "-", "--id", "session", "--db", str(path), input=FORMS["lines"].encode())
    assert done.returncode == 0, done.stderr
    assert len(stored(path)) == 3


# ---- what is refused; nothing is written, not even a new store


BAD = {
    "no id field": ('{"session": "a"}\n{"x": 1}\n', "line 2: the record has no field 'session' (it has x)"),
    "no id field in an array": (
        '[{"session": "a"},\n {"x": 1}]',
        "record 2 (line 2): the record has no field 'session'",
    ),
    "an id that is null": ('{"session": null}\n', "line 1: the id 'session' is None; a key is text or a whole number"),
    "an id that is true": ('{"session": true}\n', "the id 'session' is True"),
    "an id that is empty": ('{"session": ""}\n', "line 1: table 'records': key '': a key is not empty"),
    "an id with NUL": ('{"session": "a\\u0000"}\n', "line 1: table 'records': key 'a\\x00': the key holds a NUL"),
    "an id that is too long": (json.dumps([{"session": "x" * 481}]), "record 1 (line 1): table 'records'"),
    "no object": (
        '{"session": "a"}\n[1]\n',
        "line 2: an object is needed, to take its 'session' as the key; found [1]",
    ),
    "no object in an array": ('[{"session": "a"}, 5]', "record 2 (line 1): an object is needed"),
    "a key twice": (
        '{"session": "a"}\n{"session": "b"}\n\n{"session": "a"}\n',
        "line 4: the key a is there already, in line 1",
    ),
    "a key twice in an array": (
        '[{"session": "1"}, {"session": 1}]',
        "record 2 (line 1): the key 1 is there already, in rec",
    ),
    "NaN": ('{"session": "a"}\n{"session": "b", "x": NaN}\n', "line 2: NaN is no JSON value"),
    "NaN in an array": ('[{"session": "a"},\n\n{"session": "b", "x": [NaN]}]', "line 3: NaN is no JSON value"),
    "a number that is too large": ('{"session": "a", "x": {"y": 1e999}}', "(at $.x.y)"),
    "an integer of 65 bits": ('{"session": "a", "x": [18446744073709551616]}', "64 bits (at $.x[0])"),
    "a lone surrogate": ('{"session": "a", "x": "\\ud800"}', "line 1: table 'records': key 'a'"),
    "no JSON": ('{"session": "a"}\n{"session": \n', "line 2: Expecting value"),
    "no JSON in an array": ('[{"session": "a"},\n{"session" "b"}]', "line 2: Expecting ':' delimiter"),
    "an array that does not end": ('[{"session": "a"}\n', "line 2: expected ',' or ']', found the end"),
    "an array with a comma at its end": ('[{"session": "a"},]', "line 1: Expecting value"),
    "text behind an array": ('[{"session": "a"}]\n x', "line 2: the value has ended, but there is more: 'x'"),
    "two values in a line": ('{"session": "a"} {"session": "b"}\n', "line 1: the value has ended, but there is more"),
    "a name twice": ('{"session": "a", "b": {"x": 1, "x": 2}}\n', "line 1: the name 'x' stands twice in one object"),
    "an object over many lines": ('{\n "a": {}\n}\n', "if the file is one object of records, leave out --id"),
    "nothing": ("", "no records: it is empty"),
    "blank": (" \n\n", "no records: it is empty"),
    "another kind of file": ("a,b\n1,2\n", "no records: it begins with 'a'"),
    "a number": ("5", "no records: it begins with '5'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_place(run, tmp_path, case):
    text, said = BAD[case]
    source = write(tmp_path / "in.json", text)
    done = run("import", source, "--id", "session", "--db", str(tmp_path / "s.json"))
    assert done.code == 2
    assert said in done.err
    assert f"{source}" in done.err
    assert "nothing was written; next: correct the input" in done.err
    assert not (tmp_path / "s.json").exists()


BAD_OBJECTS = {
    "a key twice": (
        '{"a": 1,\n "b": 2,\n "a": 3}',
        "record 3 (line 3): the key a is there already, in record 1 (line 1)",
    ),
    "a key that is empty": ('{"": 1}', "a key is not empty"),
    "NaN": ('{"a": 1, "b":\n {"x": -Infinity}}', "-Infinity is no JSON value"),
    "no colon": ('{"a" 1}', "expected ':' behind the name 'a', found '1}'"),
    "no name": ("{5: 1}", "expected a name in double quotes, found '5: 1}'"),
    "a comma at its end": ('{"a": 1,}', "expected a name in double quotes, found '}'"),
    "JSON Lines": (
        '{"a": 1}\n{"a": 2}\n',
        "if the file is JSON Lines, name the field that holds the key with --id FIELD",
    ),
    "an array": ('[{"a": 1}]', "the records have no keys; next: name the field that holds them with --id FIELD"),
    "nested too deeply": ('{"a": ' + "[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("case", BAD_OBJECTS)
def test_a_bad_object_of_records_is_refused_with_its_place(run, tmp_path, case):
    text, said = BAD_OBJECTS[case]
    done = run("import", write(tmp_path / "in.json", text), "--db", str(tmp_path / "s.json"))
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize("bad", [b'{"session": "\xff"}\n', b'[\n{"session": "\xff"}]'])
def test_text_that_is_not_utf_8_is_refused_with_its_line(run, tmp_path, bad):
    (tmp_path / "in.json").write_bytes(b'{"session": "a"}\n' + bad if bad.startswith(b"{") else bad)
    done = run("import", str(tmp_path / "in.json"), "--id", "session", "--db", str(tmp_path / "s.json"))
    assert done.code == 2
    assert "line 2: not UTF-8 (byte 0xff)" in done.err


def test_a_line_that_is_too_long_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr("sessiondb_tools.records_input.RECORD_BYTES_MAX", 100)
    source = write(tmp_path / "in.jsonl", '{"session": "a"}\n' + json.dumps({"session": "b", "x": "y" * 100}) + "\n")
    done = run("import", source, "--id", "session", "--db", str(tmp_path / "s.json"))
    assert done.code == 2
    assert "line 2: the line has more than 100 bytes" in done.err


def test_a_missing_input_is_said(run, tmp_path):
    done = run("import", str(tmp_path / "none"), "--db", str(tmp_path / "s.json"))
    assert done.code == 3
    assert (
        done.err
        == f"sessiondb import: No such file or directory ({tmp_path}/none); next: mend the cause and try again\n"
    )


def test_a_folder_is_no_input(run, tmp_path):
    done = run("import", str(tmp_path), "--db", str(tmp_path / "s.json"))
    assert done.code == 3
    assert "Is a directory" in done.err


# ---- what is there already


def test_an_existing_key_is_named_and_nothing_is_written(run, store, tmp_path):
    source = write(tmp_path / "in.json", '{"new": 1, "b": 2, "c": 3}')
    done = run("import", source, "--db", store)
    assert done.code == 2
    assert "the key b and 1 other exists already in table 'records'" in done.err
    assert "--replace" in done.err
    assert run("list", "--keys", "--db", store).out == "a\nb\nc\n"
    assert run("get", "b", "--json", "--db", store).json == [None, 2.5, "ü"]


def test_replace_overwrites(run, store, tmp_path):
    source = write(tmp_path / "in.json", '{"new": 1, "b": 2}')
    done = run("import", source, "--replace", "--db", store)
    assert done.code == 0
    assert "wrote 2 records (1 replaced) in 1 batch" in done.out
    assert run("get", "b", "--json", "--db", store).json == 2


def test_the_same_keys_in_another_table_are_no_matter(run, store, tmp_path):
    source = write(tmp_path / "in.json", '{"a": 1}')
    assert run("import", source, "--table", "other", "--db", store).code == 0
    assert run("get", "a", "--json", "--db", store).json == {"n": 1}


def test_a_table_of_bytes_takes_no_records(run, store, tmp_path):
    done = run("import", write(tmp_path / "in.json", '{"a": 1}'), "--table", "blobs", "--db", store)
    assert done.code == 2
    assert "holds bytes records" in done.err


def test_a_busy_store_is_not_imported_into(run, busy_store, tmp_path):
    done = run("import", write(tmp_path / "in.json", '{"x": 1}'), "--db", busy_store, "--wait", "0")
    assert done.code == 3
    assert "process" in done.err


# ---- batches and memory


def test_records_are_written_in_batches_of_a_transaction_each(run, tmp_path, monkeypatch):
    monkeypatch.setattr(import_, "BATCH_RECORDS_MAX", 4)
    source = write(tmp_path / "in.jsonl", "".join(f'{{"id": "k{n}"}}\n' for n in range(10)))
    done = run("import", source, "--id", "id", "--db", str(tmp_path / "s.json"))
    assert "wrote 10 records in 3 batches" in done.out
    assert "at 1:3" in done.out
    assert len(stored(tmp_path / "s.json")) == 10


def test_batches_are_bounded_in_bytes_too(run, tmp_path, monkeypatch):
    monkeypatch.setattr(import_, "BATCH_BYTES_MAX", 1000)
    source = write(tmp_path / "in.json", json.dumps([{"id": n, "text": "x" * 600} for n in range(5)]))
    assert run("import", source, "--id", "id", "--db", str(tmp_path / "s.json"), "--json").json["batches"] == 3


def test_a_kill_between_batches_leaves_whole_batches(tmp_path):
    source = write(tmp_path / "in.jsonl", "".join(f'{{"id": "k{n:04}"}}\n' for n in range(1000)))
    program = (
        "import os, sys; from sessiondb_tools import main; from sessiondb_tools.verbs import import_; "
        "from sessiondb.table import Table; import_.BATCH_RECORDS_MAX = 100; put_many = Table.put_many; done = []\n"
        "def counted(self, records):\n"
        "    put_many(self, records)\n"
        "    done.append(1)\n"
        "    if len(done) == 3: os.kill(os.getpid(), 9)\n"
        "Table.put_many = counted\n"
        f"main.main(['import', {source!r}, '--id', 'id', '--db', {str(tmp_path / 's.json')!r}])"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert killed.returncode == -9
    assert len(stored(tmp_path / "s.json")) == 300
    assert main(["import", source, "--id", "id", "--replace", "--db", str(tmp_path / "s.json")]) == 0
    assert len(stored(tmp_path / "s.json")) == 1000


def test_json_lines_are_read_in_bounded_memory(tmp_path):
    path = tmp_path / "in.jsonl"
    with path.open("w") as file:
        for n in range(2_000):
            file.write(json.dumps({"id": f"k{n}", "text": "x" * 5_000}) + "\n")
    from sessiondb_tools.records_input import RecordsInput, check_all

    with RecordsInput(str(path), "id") as source:
        check_all(source, "records")
        tracemalloc.start()
        try:
            assert len(check_all(source, "records")) == 2_000
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert os.path.getsize(path) > 10_000_000
    assert peak < 1_000_000
