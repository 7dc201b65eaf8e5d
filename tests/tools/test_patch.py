"""`sessiondb patch`: the forms of a change, what stays, what is refused before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sessiondb

from .conftest import tree

RECORD = {"session": "s1", "branch": "main", "n": 1, "deep": {"x": 1, "y": 2}, "pr": None}


@pytest.fixture
def patched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = str(tmp_path / "s.json")
    with sessiondb.open(path) as db:
        db.table("records").put_many({"k": RECORD, "-dash": {}, "list": [1]})
        db.table("blobs", bytes)["x"] = b"1"
    monkeypatch.setenv("SESSIONDB_URL", path)
    return path


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["branch=fix"], {"branch": "fix"}),
        (["n=5"], {"n": "5"}),
        (["n:=5"], {"n": 5}),
        (["n:=null", "branch="], {"n": None, "branch": ""}),
        (["url=x?a=b:=c"], {"url": "x?a=b:=c"}),
        (["odd==1"], {"odd": "=1"}),
        (['deep:={"x": 3}'], {"deep": {"x": 3}}),
        (["new:=[1, 2.5, true]"], {"new": [1, 2.5, True]}),
        (["ü=ö"], {"ü": "ö"}),
        (['{"branch": "fix", "a=b": 1, "": 0}'], {"branch": "fix", "a=b": 1, "": 0}),
        (["{}"], {}),
    ],
)
def test_a_change_sets_its_fields_and_all_others_stay(run, patched, arguments, changed):
    done = run("patch", "k", *arguments, "--json")
    assert done.code == 0, done.err
    assert done.json == RECORD | changed
    assert list(done.json) == list(RECORD | changed)
    assert run("get", "k", "--json").json == RECORD | changed


def test_a_record_is_changed_on_every_backend_in_the_backend_and_in_the_log(run, location):
    with sessiondb.open(location) as db:
        db.table("records", indexes=["branch"])["k"] = RECORD
        db.checkpoint()
    for n in (2, 3):
        done = run("patch", "k", f"n:={n}", "branch=fix", "--unset", "pr", "--json", "--db", location)
        assert done.json == {"session": "s1", "branch": "fix", "n": n, "deep": {"x": 1, "y": 2}}
        assert run("find", "branch=fix", "--json", "--db", location).json == {"key": "k", "record": done.json}


def test_unset_removes_fields(run, patched):
    done = run("patch", "k", "n:=2", "--unset", "pr", "--unset", "deep", "--unset", "nobody", "--json")
    assert done.json == {"session": "s1", "branch": "main", "n": 2}


def test_unset_alone_reads_no_standard_input(command, patched):
    done = command("patch", "k", "--unset", "pr", "--json", input=b"no JSON")
    assert json.loads(done.stdout) == {name: value for name, value in RECORD.items() if name != "pr"}


def test_the_record_is_printed_as_get_prints_it(run, patched):
    assert run("patch", "k", "n:=2").out == run("get", "k").out
    assert run("patch", "k", "n:=2", "--json").out == run("get", "k", "--json").out


@pytest.mark.parametrize("arguments", [[], ["-"], ["-", "--unset", "pr"]])
def test_the_changes_may_come_from_standard_input(command, patched, arguments):
    done = command("patch", "k", "--json", *arguments, input=b'\xef\xbb\xbf {"n": 7}\n')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 7
    assert ("pr" in json.loads(done.stdout)) == (len(arguments) < 2)


def test_options_may_stand_between_key_and_changes(run, patched):
    assert run("patch", "k", "--db", patched, "n:=2", "--json", "branch=x").json == RECORD | {"n": 2, "branch": "x"}
    assert run("patch", "--json", "--db", patched, "--", "-dash", "-n=2").json == {"-n": "2"}


def test_a_field_that_begins_with_a_dash_can_be_removed(run, patched):
    run("patch", "--", "-dash", "-n=2")
    assert run("patch", "--unset", "-n", "--", "-dash").out == "{}\n"


def test_an_absent_key_ends_with_1_and_writes_nothing(run, patched):
    done = run("patch", "nobody", "n:=1")
    assert done.code == 1
    assert done.out == ""
    assert "there is no record nobody in table 'records'" in done.err
    assert run("list", "--keys").out == "-dash\nk\nlist\n"


def test_the_patched_record_is_durable(run, patched):
    run("patch", "k", "n:=2")
    with sessiondb.open(patched, read_only=True) as db:
        assert db.table("records")["k"]["n"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["k", "n"], "written FIELD=TEXT, or FIELD:=JSON for anything but text, not n"),
        (["k", "=1"], "not =1"),
        (["k", "n:=x"], "'x' is no JSON: Expecting value (column 1, 'x'); next: correct it, or write n=... for text"),
        (["k", "n:=NaN"], "NaN is no JSON value"),
        (["k", "n:=1e999"], "inf"),
        (["k", "n:=123456789012345678901234567890"], "64 bits"),
        (["k", 'n:={"a": 1, "a": 2}'], "the name 'a' stands twice"),
        (["k", "n=1", "n=2"], "the field n is changed twice"),
        (["k", "n=1", "--unset", "n"], "the field n is changed twice"),
        (["k", "--unset", ""], "a field's name is empty"),
        (["k", '{"n": 1}', "m=1"], 'not {"n": 1}'),
        (["k", "{"], "the JSON argument is no JSON object"),
        (["k", "n=\udcff"], "no UTF-8"),
        (["k", "\udcff=n"], "no UTF-8"),
        (["k", '{"a": "\\ud800"}'], "surrogate"),
        (["k", '{"\\ud800": 1}'], "surrogate"),
        (["list", "n=1"], "the record is no JSON object"),
        (["x", "n=1", "--table", "blobs"], "holds bytes"),
        (["k", "n=1", "--table", "nobody"], "there is no table 'nobody'"),
        (["", "n=1"], "key"),
        ([], "required: KEY"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(run, patched, arguments, said):
    before = run("log", "dump", "--json").out
    done = run("patch", *arguments)
    assert done.code == 2, done.err
    assert said in done.err
    assert done.out == ""
    assert run("log", "dump", "--json").out == before


def test_input_that_is_no_object_is_refused(command, patched):
    for text in (b"[1]", b"", b'{"a": NaN}'):
        done = command("patch", "k", input=text)
        assert done.returncode == 2
        assert b"standard input is no JSON object" in done.stderr


def test_a_patch_makes_no_store(run, location, tmp_path):
    assert run("patch", "k", "n=1", "--db", location).code == 3
    assert tree(tmp_path) == {}
