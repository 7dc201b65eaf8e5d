"""`sessiondb import` of CSV, TinyDB, dumps of Redis and the predecessor's sessions; JSON that may be one of them."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sessiondb


def write(path: Path, content: Any) -> str:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def stored(path: str, table: str = "records") -> dict[str, Any]:
    with sessiondb.open(path, create=False) as db:
        return dict(db.table(table).scan())


@pytest.fixture
def into(tmp_path: Path) -> str:
    return str(tmp_path / "target.json")


# ---- CSV


def test_rows_become_objects_of_text(run, tmp_path, into):
    source = write(tmp_path / "in.csv", '\ufeffid,name,note\r\n007,"Ann, ""A""",\r\n8,"two\nlines",true\r\n\r\n')
    done = run("import", "--from", "csv", source, "--id", "id", "--db", into)
    assert done.code == 0, done.err
    assert stored(into) == {
        "007": {"id": "007", "name": 'Ann, "A"', "note": ""},
        "8": {"id": "8", "name": "two\nlines", "note": "true"},
    }


@pytest.mark.parametrize(("given", "delimiter"), [("tab", "\t"), ("\\t", "\t"), (";", ";")])
def test_other_delimiters_are_named(run, tmp_path, into, given, delimiter):
    source = write(tmp_path / "in.csv", f"id{delimiter}n\na{delimiter}1,5\n")
    assert run("import", "--from", "csv", source, "--id", "id", "--delimiter", given, "--db", into).code == 0
    assert stored(into) == {"a": {"id": "a", "n": "1,5"}}


def test_csv_of_a_pipe_is_read(command, into):
    done = command("import", "--from", "csv", "-", "--id", "id", "--db", into, input=b"id,n\na,1\n")
    assert done.returncode == 0, done.stderr
    assert stored(into) == {"a": {"id": "a", "n": "1"}}


def test_csv_by_its_name_only_has_to_be_named(run, tmp_path, into):
    done = run("import", write(tmp_path / "in.csv", "id,n\na,1\n"), "--id", "id", "--db", into)
    assert done.code == 2
    assert "this looks like --from csv; nothing was written; next: say so" in done.err


CSV_BAD = {
    "too few fields": ("id,n\na,1\nb\n", "row that ends in line 3: it has 1 fields, not 2"),
    "too many fields": ("id,n\na,1,2\n", "row that ends in line 2: it has 3 fields, not 2"),
    "a name twice": ("id,n,id\n", "line 1: the name 'id' stands twice"),
    "no such field": ("a,n\nb,1\n", "it has no field 'id' (it has a,n)"),
    "a bad quote": ('id,n\na,"b"c\n', "line 2: no CSV: ',' expected after '\"'"),
    "a quote that does not end": ('id,n\na,"b\n', "line 2: no CSV: unexpected end of data"),
    "an empty key": ("id,n\n,1\n", "a key is not empty"),
    "a key twice": ("id\na\nb\na\n", "the key a is there already, in row that ends in line 2"),
    "nothing": ("", "no line of names: it is empty"),
    "blank": ("\n\n", "no line of names: it is empty"),
}


@pytest.mark.parametrize("case", CSV_BAD)
def test_bad_csv_is_refused_with_its_place(run, tmp_path, into, case):
    text, said = CSV_BAD[case]
    done = run("import", "--from", "csv", write(tmp_path / "in.csv", text), "--id", "id", "--db", into)
    assert done.code == 2
    assert said in done.err.replace(", ", ",") or said in done.err
    assert not os.path.exists(into)


def test_csv_without_an_id_says_which_fields_there_are(run, tmp_path, into):
    done = run("import", "--from", "csv", write(tmp_path / "in.csv", "a,b\n1,2\n"), "--db", into)
    assert done.code == 2
    assert "rows have no keys; nothing was written; next: name the field that holds them with --id (it has a, b)" in (
        done.err
    )


def test_csv_that_is_not_utf_8_is_refused_with_its_line(run, tmp_path, into):
    (tmp_path / "in.csv").write_bytes(b"id\na\n\xff\n")
    done = run("import", "--from", "csv", str(tmp_path / "in.csv"), "--id", "id", "--db", into)
    assert "line 3: not UTF-8" in done.err


def test_bad_rows_may_be_left_out(run, tmp_path, into):
    source = write(tmp_path / "in.csv", "id,n\na,1\nb\nc,3\na,4\n")
    done = run("import", "--from", "csv", source, "--id", "id", "--skip-unreadable", "--db", into)
    assert done.code == 0
    assert done.err == (
        "unreadable: row that ends in line 3, key b: it has 1 fields, not 2\n"
        "unreadable: row that ends in line 5, key a: the key a is there already\n"
    )
    assert stored(into) == {"a": {"id": "a", "n": "1"}, "c": {"id": "c", "n": "3"}}


# ---- JSON and JSON Lines


def test_lines_and_records_that_cannot_be_stored_may_be_left_out(run, tmp_path, into):
    lines = '{"id": "a"}\n{"id": "b", "x": NaN}\n{"id": "c", "x": 1e999}\n{"x": 1}\n{"id": "a"}\n{"id": "d"'
    source = write(tmp_path / "in.jsonl", lines)
    done = run("import", "--from", "jsonl", source, "--id", "id", "--skip-unreadable", "--db", into, "--json")
    assert (done.json["written"], done.json["unreadable"]) == (1, 5)
    assert [line.split(":")[1].strip().split(",")[0] for line in done.err.splitlines()] == [
        "line 2", "line 3", "line 4", "line 5", "line 6",
    ]  # fmt: skip
    assert stored(into) == {"a": {"id": "a"}}


def test_the_first_problem_of_a_text_stops_the_import(run, tmp_path, into):
    source = write(tmp_path / "in.jsonl", '{"id": "a"}\n{"x": 1}\n{"x": 2}\n')
    done = run("import", "--from", "jsonl", source, "--id", "id", "--db", into)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


def test_lines_from_a_pipe_are_read_once(command, into):
    done = command("import", "--from", "jsonl", "-", "--id", "id", "--db", into, input=b'{"id": "a"}\n')
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--id", "id"], "no JSON Lines: it is an array; nothing was written; next: --from json"),
        ([], "lines have no keys; nothing was written; next: name the field that holds them with --id FIELD"),
    ],
)
def test_lines_are_lines_and_need_an_id(run, tmp_path, into, arguments, said):
    done = run("import", "--from", "jsonl", write(tmp_path / "in.json", [{"id": 1}]), *arguments, "--db", into)
    assert done.code == 2
    assert said in done.err


STATE = {"entities": [{"id": "e1", "v": 1}, {"id": 2}], "lastUpdated": "2025-07-14T23:15:28.321Z", "metadata": {"m": 1}}


def test_the_records_may_be_a_member_of_an_object(run, tmp_path, into):
    source = write(tmp_path / "in.json", STATE)
    done = run("import", "--from", "json", source, "--source-table", "entities", "--id", "id", "--db", into)
    assert done.code == 0
    assert "left in the file: lastUpdated, metadata\n" in done.out
    assert stored(into) == {"e1": {"id": "e1", "v": 1}, "2": {"id": 2}}
    arguments = ["--from", "json", "--source-table", "metadata", "--table", "meta"]
    assert run("import", source, *arguments, "--db", into).code == 0
    assert stored(into, "meta") == {"m": 1}


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (STATE, ["--source-table", "metadata", "--id", "id"], "no records in 'metadata'"),
        (STATE, ["--source-table", "absent"], "no records in 'absent'"),
        (STATE, ["--source-table", "entities", "--id", "v"], "the record has no field 'v'"),
        ([1], ["--source-table", "x"], "no JSON object with members"),
        ('{"a": {}, "a": {}}', ["--source-table", "a"], "line 1: the name 'a' stands twice"),
    ],
)
def test_a_member_that_holds_no_records_is_refused(run, tmp_path, into, content, arguments, said):
    done = run("import", "--from", "json", write(tmp_path / "in.json", content), *arguments, "--db", into)
    assert done.code == 2
    assert said in done.err
    assert not os.path.exists(into)


LOOKS_LIKE = {
    "tinydb": {"_default": {"1": {"n": 1}}, "people": {}},
    "sessions": {"sessions": [{"session": "a"}], "baseDir": "/x"},
    "sessions of a backup": {"timestamp": "t", "version": "1.0", "data": {"sessions": [{"session": "a"}]}},
    "sessions in an array": [{"session": "a"}],
    "redis": {"k": {"type": "string", "value": "v"}},
    "redis in an array": [{"key": "k", "type": "string", "value": "v"}],
    "json --source-table entities --id id": STATE,
}


@pytest.mark.parametrize("case", LOOKS_LIKE)
def test_what_looks_like_the_file_of_another_program_is_not_taken_for_records(run, tmp_path, into, case):
    source = write(tmp_path / "in.json", LOOKS_LIKE[case])
    done = run("import", source, "--db", into)
    assert done.code == 2
    kind = case if "--" in case else case.split()[0]
    assert f"this looks like --from {kind}; nothing was written; next: say so, or --from json" in done.err
    assert not os.path.exists(into)
    if isinstance(LOOKS_LIKE[case], dict):
        assert run("import", "--from", "json", source, "--db", into).code == 0
        assert stored(into) == LOOKS_LIKE[case]


NO_LOOKALIKES = [
    {"a": {"type": "car", "value": 1}},
    {"a": {}, "b": {}},
    {"a": {"x": {}}},
    {"sessions": 5},
    {"1": {"n": 1}},
]


@pytest.mark.parametrize("content", NO_LOOKALIKES, ids=json.dumps)
def test_objects_of_records_are_still_taken_as_such(run, tmp_path, into, content):
    assert run("import", write(tmp_path / "in.json", content), "--db", into).code == 0
    assert stored(into) == content


# ---- TinyDB


def test_documents_are_stored_by_their_numbers(run, tmp_path, into):
    documents = {str(number): {"n": number} for number in range(1, 13)}
    source = write(tmp_path / "tiny.json", {"_default": documents, "empty": {}})
    assert run("import", "--from", "tinydb", source, "--db", into).code == 0
    assert stored(into) == documents


def test_a_field_of_the_documents_may_be_the_key(run, tmp_path, into):
    source = write(tmp_path / "tiny.json", {"_default": {"1": {"id": "ann"}, "2": {"id": 7}}})
    assert run("import", "--from", "tinydb", source, "--id", "id", "--db", into).code == 0
    assert stored(into) == {"ann": {"id": "ann"}, "7": {"id": 7}}


def test_a_table_is_chosen_where_there_are_more(run, tmp_path, into):
    source = write(tmp_path / "tiny.json", {"a": {"1": {"x": 1}}, "b": {"1": {"x": 2}}, "empty": {}})
    assert "it has 2 tables (a, b)" in run("import", "--from", "tinydb", source, "--db", into).err
    assert run("import", "--from", "tinydb", source, "--source-table", "b", "--db", into).code == 0
    assert stored(into) == {"1": {"x": 2}}
    assert run("import", "--from", "tinydb", source, "--source-table", "empty", "--db", into).code == 0


@pytest.mark.parametrize("content", [{}, {"_default": {}}])
def test_a_tinydb_without_documents_is_no_error(run, tmp_path, into, content):
    done = run("import", "--from", "tinydb", write(tmp_path / "tiny.json", content), "--db", into)
    assert (done.code, stored(into)) == (0, {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no TinyDB: it is empty"),
        ("[]", "no TinyDB: it begins with '['"),
        ({"a": {"x": {}}}, "no TinyDB: a is no table of numbered documents"),
        ({"a": {"1": 5}}, "no TinyDB: a is no table"),
        ({"a": [1]}, "no TinyDB: a is no table"),
        ('{"a": {"1": {}}, "a": {"2": {}}}', "line 1: the name 'a' stands twice"),
        ('{"a": {"1": {}, "1": {}}}', "line 1: the name '1' stands twice"),
        ('{"a": {"1": {}}', "line 1: expected ',' or '}', found the end"),
    ],
)
def test_what_is_no_tinydb_is_refused(run, tmp_path, into, content, said):
    done = run("import", "--from", "tinydb", write(tmp_path / "tiny.json", content), "--db", into)
    assert done.code == 2
    assert said in done.err


# ---- Redis


ITEMS = [
    {"db": 0, "key": "h", "ttl": -1, "type": "hash", "value": {"a": "1"}, "size": 2},
    {"db": 0, "key": "l", "ttl": -1, "type": "list", "value": ["a", "b", "a"], "size": 3},
    {"db": 0, "key": "s", "ttl": -1, "type": "set", "value": ["b", "a"], "size": 2},
    {"db": 0, "key": "z", "ttl": -1, "type": "zset", "value": [["a", "1"], ["b", "2.5"]], "size": 4},
    {"db": 0, "key": "t", "ttl": -1, "type": "string", "value": '{"n": 1}', "size": 8},
    {"db": 0, "key": "j", "type": "json", "value": '{"deep": [null]}'},
]
VALUES = {
    "h": {"a": "1"}, "l": ["a", "b", "a"], "s": ["b", "a"], "z": [["a", "1"], ["b", "2.5"]], "t": '{"n": 1}',
    "j": {"deep": [None]},
}  # fmt: skip
DUMPS = {
    "lines": "".join(json.dumps(item) + "\n" for item in ITEMS),
    "one line": json.dumps(ITEMS[0]),
    "array": json.dumps(ITEMS),
    "object": json.dumps({item["key"]: {"type": item["type"], "value": item["value"]} for item in ITEMS}),
    "databases": json.dumps([{key: value for key, value in VALUES.items() if key != "j"}]),
}


@pytest.mark.parametrize("form", DUMPS)
def test_a_dump_of_redis_is_read_in_each_form(run, tmp_path, into, form):
    source = write(tmp_path / "dump", DUMPS[form])
    done = run("import", "--from", "redis", source, "--db", into)
    assert done.code == 0, done.err
    keys = {"one line": ["h"], "databases": ["h", "l", "s", "z", "t"]}.get(form, list(VALUES))
    assert stored(into) == {key: VALUES[key] for key in keys}


def test_strings_may_be_json(run, tmp_path, into):
    source = write(tmp_path / "dump", DUMPS["lines"])
    assert run("import", "--from", "redis", source, "--values", "json", "--db", into).code == 0
    assert stored(into) == VALUES | {"t": {"n": 1}}


def test_strings_that_are_no_json_are_listed(run, tmp_path, into):
    source = write(
        tmp_path / "dump", {"a": {"type": "string", "value": "plain"}, "b": {"type": "string", "value": "5"}}
    )
    done = run("import", "--from", "redis", source, "--values", "json", "--skip-unreadable", "--db", into)
    assert "unreadable: line 1, key a: no JSON: Expecting value" in done.err
    assert stored(into) == {"b": 5}


def item(key: str, **fields: Any) -> dict[str, Any]:
    return {"key": key, "type": "string", "value": key, **fields}


def test_what_has_expired_is_left_out_and_what_will_is_refused(run, tmp_path, into):
    now = time.time()
    items = [
        item("past", expireat=now - 10), item("past ms", pexpireat=(now - 10) * 1000), item("gone", ttl=-2),
        {"key": "none", "type": "none", "value": None},
        item("ever", ttl=-1), item("null", ttl=None, expireat=None),
        item("later", expireat=int(now) + 1000), item("ttl", ttl=79), item("pttl", pttl=5), item("zero", ttl=0),
    ]  # fmt: skip
    source = write(tmp_path / "dump", items)
    done = run("import", "--from", "redis", source, "--db", into)
    assert done.code == 2
    assert "4 entries would expire, as later at 20" in done.err
    done = run("import", "--from", "redis", source, "--ignore-expiry", "--db", into, "--json")
    assert (done.json["expired"], done.json["expiring"]) == (4, 4)
    assert set(stored(into)) == {"ever", "null", "later", "ttl", "pttl", "zero"}


def test_a_time_that_counts_from_the_dump_is_said_so(run, tmp_path, into):
    done = run("import", "--from", "redis", write(tmp_path / "dump", [item("a", ttl=79)]), "--db", into)
    assert "1 entry would expire, as a 79 s after the dump was made" in done.err


def test_one_database_is_chosen(run, tmp_path, into):
    source = write(tmp_path / "dump", "".join(json.dumps(item("k", db=db, value=str(db))) + "\n" for db in (0, 3)))
    done = run("import", "--from", "redis", source, "--db", into)
    assert done.code == 2
    assert "line 2: it has the databases 0 and 3" in done.err
    assert run("import", "--from", "redis", source, "--source-table", "3", "--db", into).code == 0
    assert stored(into) == {"k": "3"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no dump of Redis: it is empty"),
        ("REDIS0009", "no dump of Redis: it begins with 'R'"),
        ([5], "no key of Redis: an object with key, type and value is expected"),
        ({"a": 5}, "no key of Redis"),
        ([item("a"), {"x": 1, "key": "b"}], "it has the databases 0 and 1"),
        ([item("a", type="hash")], "key a: the value of a hash is a str"),
        ([{"key": "a", "type": "string"}], "key a: it has no value"),
        ([item("a", ttl="soon")], "key a: its ttl is 'soon', which is no number"),
        ([{"key": 5, "type": "string", "value": "x"}], "key 5: the key is no text"),
        (DUMPS["one line"] + "\n{", "line 2: Expecting property name"),
        (DUMPS["one line"] + "\n{}", "line 2: no key of Redis"),
        ('[{"key": "a", "type": "string", "value": "\\ud800"}]', "key a"),
    ],
)
def test_what_is_no_dump_is_refused(run, tmp_path, into, content, said):
    done = run("import", "--from", "redis", write(tmp_path / "dump", content), "--db", into)
    assert done.code == 2
    assert said in done.err
    assert not os.path.exists(into)


def test_other_encodings_are_not_for_dumps(run, tmp_path, into):
    done = run("import", "--from", "redis", write(tmp_path / "d", "{}"), "--values", "pickle", "--db", into)
    assert done.code == 2
    assert "--values pickle is not for dumps of Redis" in done.err


# ---- the predecessor's sessions


SESSIONS = [
    {"session": "task#1", "repoUrl": "https://example.org/a.git", "createdAt": "2025-04-29T15:23:00Z", "unknown": [1]},
    {"session": "#87", "repoName": "local/a", "branch": "", "prApproved": False, "remote": {"depth": 1}},
]
BY_ID = {session["session"]: session for session in SESSIONS}
SHAPES = {
    "A": SESSIONS,
    "A in one line": json.dumps(SESSIONS) + "\n",
    "B": {"sessions": SESSIONS, "baseDir": "/x"},
    "C": {"sessions": SESSIONS},
    "D": {"timestamp": "2025-06-23T16:46:12.144Z", "version": "1.0", "data": {"sessions": SESSIONS, "baseDir": "/x"}},
    "E": {str(session["session"]): session for session in SESSIONS},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_sessions_are_read_in_every_shape(run, tmp_path, into, shape):
    source = write(tmp_path / "session-db.json", SHAPES[shape])
    done = run("import", "--from", "sessions", source, "--db", into)
    assert done.code == 0, done.err
    assert "to table 'sessions' of" in done.out
    assert ("kept in the file only: " in done.out) == (shape in "BD")
    assert stored(into, "sessions") == BY_ID


def test_a_keyed_session_need_not_repeat_its_id(run, tmp_path, into):
    source = write(tmp_path / "s.json", {"158": {"repoName": "x"}})
    assert run("import", "--from", "sessions", source, "--table", "t", "--db", into).code == 0
    assert stored(into, "t") == {"158": {"repoName": "x"}}


@pytest.mark.parametrize("content", ["", " \n", "[]"])
def test_files_without_sessions_are_no_error(run, tmp_path, into, content):
    done = run("import", "--from", "sessions", write(tmp_path / "s.json", content), "--db", into)
    assert (done.code, stored(into, "sessions")) == (0, {})
    assert ("the file is empty" in done.out) == (not content.strip())


def test_backups_of_the_last_months_name_the_id_otherwise(run, tmp_path, into):
    renamed = [{"sessionId": "b1-f2", "repoName": "x"}, {"session": "old"}, {"repoName": "neither"}]
    source = write(tmp_path / "backup.json", {"sessions": renamed, "baseDir": "/x"})
    done = run("import", "--from", "sessions", source, "--db", into)
    assert done.code == 2
    assert "unreadable: session 3: the record has no field 'session'" in done.err
    assert run("import", "--from", "sessions", source, "--skip-unreadable", "--db", into).code == 0
    assert stored(into, "sessions") == {"b1-f2": renamed[0], "old": renamed[1]}


def test_the_first_of_two_sessions_with_one_id_counts_and_the_other_is_listed(run, tmp_path, into):
    source = write(tmp_path / "s.json", [*SESSIONS, {"session": "#87", "branch": "second"}])
    done = run("import", "--from", "sessions", source, "--db", into)
    assert done.code == 2
    assert "unreadable: session 3, key #87: the key #87 is there already" in done.err
    assert run("import", "--from", "sessions", source, "--skip-unreadable", "--db", into).code == 0
    assert stored(into, "sessions") == BY_ID


@pytest.mark.parametrize(
    "content", ["{ invalid json }", {"foo": 1}, "42", '"x"', [5], {"sessions": 5}, [{"id": "x"}], "{}"]
)
def test_what_is_no_file_of_sessions_is_refused(run, tmp_path, into, content):
    done = run("import", "--from", "sessions", write(tmp_path / "s.json", content), "--db", into)
    assert done.code == 2
    assert "no file of sessions: " in done.err
    assert not os.path.exists(into)


def session_table(path: Path, columns: str, *rows: tuple[Any, ...]) -> str:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE sessions ({columns})")
        places = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO sessions VALUES ({places})", rows)
    return str(path)


def test_a_database_of_sessions_is_read(run, tmp_path, into):
    path = session_table(
        tmp_path / "sessions.db",
        "session TEXT PRIMARY KEY, repoName TEXT, taskId TEXT, prApproved TEXT, prState TEXT, commit_count INTEGER",
        ("a", "x", None, "false", '{"branchName": "pr/a"}', 3),
        ("b", "", "#1", None, None, None),
    )
    before = Path(path).read_bytes()
    assert run("import", path, "--db", into).code == 0
    assert stored(into, "sessions") == {
        "a": {
            "session": "a",
            "repoName": "x",
            "prApproved": False,
            "prState": {"branchName": "pr/a"},
            "commitCount": 3,
        },
        "b": {"session": "b", "repoName": "", "taskId": "#1"},
    }
    assert Path(path).read_bytes() == before


def test_columns_that_hold_something_else_are_listed(run, tmp_path, into):
    path = session_table(
        tmp_path / "s.db",
        "session TEXT PRIMARY KEY, prState TEXT",
        ("a", "{"),
        ("b", b"\xff"),
        (None, None),
        ("d", "[]"),
    )
    done = run("import", path, "--skip-unreadable", "--db", into)
    assert "row 1, key a: the column prState holds no JSON" in done.err
    assert "row 2, key b: the column prState holds bytes" in done.err
    assert "row 3: the record has no field 'session'" in done.err
    assert stored(into, "sessions") == {"d": {"session": "d", "prState": []}}


# ---- what `sessiondb export` wrote


@pytest.fixture
def exported(run, store, tmp_path) -> str:
    path = str(tmp_path / "all.jsonl")
    assert run("export", "--output", path, "--db", store).code == 0
    return path


def test_an_export_comes_back_table_by_table(run, exported, into):
    done = run("import", "--from", "export", exported, "--source-table", "records", "--db", into)
    assert done.code == 0, done.err
    assert run("import", "--from", "export", exported, "--source-table", "blobs", "--db", into).code == 0
    assert stored(into) == {"a": {"n": 1}, "b": [None, 2.5, "ü"], "c": "text"}
    with sessiondb.open(into) as db:
        assert dict(db.table("blobs", bytes).scan()) == {"logo": b"\x00\xff"}


def test_an_export_of_one_table_needs_no_choice(run, store, tmp_path, into):
    path = str(tmp_path / "one.jsonl")
    assert run("export", "--table", "blobs", "--output", path, "--db", store).code == 0
    done = run("import", "--from", "export", path, "--db", into)
    assert "wrote 1 record in 1 batch to table 'blobs'" in done.out


def test_an_export_is_not_taken_for_records_of_its_own(run, exported, into):
    for arguments in ([], ["--id", "key"]):
        done = run("import", exported, *arguments, "--db", into)
        assert done.code == 2
        assert "this looks like --from export" in done.err


@pytest.mark.parametrize(
    ("content", "arguments", "said"),
    [
        (None, [], "line 2: it has more than one table (blobs and records)"),
        (None, ["--source-table", "x"], "it has no table 'x'"),
        ('{"lsn": 1, "table": "t", "key": "a", "record": 1}\n', [], "line 1: no record that `sessiondb export` wrote"),
        ('{"table": "t", "key": "a", "base64": "?"}\n', [], "line 1: its base64 is none"),
        ('{"table": "t", "key": "a", "record": 1}\n{"table": "t"', [], "line 2: "),
        ("[]", [], "line 1: no record"),
    ],
)
def test_what_is_no_export_of_one_table_is_refused(run, exported, tmp_path, into, content, arguments, said):
    path = exported if content is None else write(tmp_path / "bad.jsonl", content)
    done = run("import", "--from", "export", path, *arguments, "--db", into)
    assert done.code == 2
    assert said in done.err
    assert not os.path.exists(into)
