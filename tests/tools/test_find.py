"""`sessiondb find`: each condition, orders and limits, on each backend; what is refused before a store is opened."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

import sessiondb

from .conftest import LOCATIONS, tree

IN_BACKEND = {
    "a": {"name": "web", "n": 1, "at": "2026-01-03"},
    "b": {"name": "web", "n": 5, "at": "2026-01-01"},
    "c": {"name": "api", "n": "5", "at": "2026-01-02", "done": True},
    "d": {"name": "webmail", "n": 2.5, "at": None},
    "gone": {"name": "web", "n": 5},
    "list": [1],
}
IN_LOG = {"b": {"name": "web", "n": 5.0, "at": "2026-01-05"}, "e": {"name": "ü", "n": -1, "done": False, "a=b": "=x"}}


@pytest.fixture(scope="module", params=LOCATIONS)
def searched_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store on each backend, with an index, and what it has is partly in the log."""
    location = str(tmp_path_factory.mktemp("searched") / LOCATIONS[request.param])
    with sessiondb.open(location) as db:
        db.table("records", indexes=["name"]).put_many(IN_BACKEND)
        db.table("blobs", bytes)["x"] = b"1"
        db.checkpoint()
    # A JSON file would be rewritten at a clean end.
    program = f"""
        import os, sessiondb
        table = sessiondb.open({location!r}).table("records")
        table.put_many({IN_LOG!r})
        del table["gone"]
        os.kill(os.getpid(), 9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False).returncode == -9
    return location


@pytest.fixture
def searched(searched_store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SESSIONDB_URL", searched_store)
    return searched_store


CASES = [
    (["name=web"], "a b"),
    (["name=web", "n:=5"], "b"),
    (["n:=5"], "b"),
    (["n=5"], "c"),
    (["n:=5.0"], "b"),
    (["n:=-1"], "e"),
    (['name:="api"'], "c"),
    (["done:=true"], "c"),
    (["done:=false"], "e"),
    (["done:=0"], ""),
    (["at:=null"], "d"),
    (["--null", "at"], "d"),
    (["--absent", "at"], "e list"),
    (["--absent", "at", "--absent", "name"], "list"),
    (["--between", "n:=1", "5"], "a b d"),
    (["--between", "n:=-5", "-1"], "e"),
    (["--between", "n=1", "5"], "c"),
    (["--between", "n:=2.5", "null"], "b d"),
    (["--between", "at=2026-01-01", "2026-01-03"], "a c"),
    (["--one-of", "n:=1", "--one-of", "n=5"], "a c"),
    (["--one-of", 'n:=[1, "5", null]', "--one-of", "at=2026-01-02"], "c"),
    (["--one-of", "n:=[]"], ""),
    (["--prefix", "name=web"], "a b d"),
    (["--prefix", "name=web", "--between", "n:=null", "2"], "a"),
    (["name=ü"], "e"),
    (["name="], ""),
    (["nobody=x"], ""),
    ([], "a b c d e list"),
    (["--limit", "2"], "a b"),
    (["--limit", "2", "--offset", "3"], "d e"),
    (["--limit", "0"], ""),
    (["--order-by", "-at"], "b a c d e list"),
    (["--order-by", "at"], "c a b d e list"),
    (["--order-by=-at", "--limit", "1"], "b"),
    (["--order-by", "name", "--order-by", "-n"], "c b a d e list"),
    (["name=web", "--order-by", "-n", "--keys"], "b a"),
]


@pytest.mark.parametrize(("arguments", "keys"), CASES)
def test_what_is_asked_for_is_found(run, searched, arguments, keys):
    done = run("find", *arguments, "--json")
    assert done.code == 0, done.err
    assert [line["key"] for line in done.lines] == keys.split()


@pytest.mark.parametrize(("arguments", "keys"), CASES)
def test_what_is_found_can_be_counted(run, searched, arguments, keys):
    if any(word.startswith(("--limit", "--order-by")) for word in arguments):
        assert run("find", *arguments, "--count").code == 2
        return
    assert run("find", *arguments, "--count").out == f"{len(keys.split())}\n"
    assert run("find", *arguments, "--count", "--json").json == {"count": len(keys.split())}


def test_found_records_are_printed_as_list_prints_them(run, searched):
    assert run("find", "n:=1").out == 'a\t{"name":"web","n":1,"at":"2026-01-03"}\n'
    assert run("find", "n:=1", "--json").json == {"key": "a", "record": IN_BACKEND["a"]}
    assert run("find", "n:=1", "--keys").out == "a\n"
    assert run("find", "n:=1", "--keys", "--json").json == {"key": "a"}
    for more in ([], ["--json"], ["--keys"], ["--keys", "--json"]):
        assert run("find", *more).out == run("list", *more).out


def test_finding_changes_no_file(run, store):
    before = tree(".")
    assert run("find", "n:=1", "--db", store).code == 0
    assert tree(".") == before


def test_a_field_may_have_an_equals_sign_in_it_when_the_condition_is_an_option_on_its_name(run, searched):
    assert run("find", "--absent", "a=b", "--count").out == "5\n"
    assert run("find", "--order-by", "a=b", "--keys", "--limit", "1").out == "e\n"


def test_a_value_keeps_its_equals_signs(run, location):
    run("put", "k", json.dumps({"url": "x?a=b:=c", "e": "=1"}), "--db", location)
    assert run("find", "url=x?a=b:=c", "e==1", "--keys", "--db", location).out == "k\n"


def test_nothing_found_is_fine(run, searched):
    done = run("find", "name=nobody")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["name"], "written FIELD=TEXT, or FIELD:=JSON for anything but text, not name"),
        (["=x"], "not =x"),
        ([":=1"], "not :=1"),
        (["n:=five"], "'five' is no JSON: Expecting value"),
        (["n:=NaN"], "NaN is no JSON value"),
        (["n:=[1]"], "no condition finds lists or objects"),
        (["--one-of", "n:=[[1]]"], "no condition finds lists or objects"),
        (["n=1", "n:=1"], "two conditions on the field n"),
        (["n=1", "--absent", "n"], "two conditions on the field n"),
        (["--null", "n", "--absent", "n"], "two conditions on the field n"),
        (["--between", "n:=null", "null"], "at least one end"),
        (["--between", "n:=1", '"x"'], "mixes a text with a number"),
        (["--between", "n:=true", "1"], "True"),
        (["--prefix", "n:=1"], "--prefix needs a text"),
        (["--absent", ""], "a field's name is empty"),
        (["--order-by", ""], "a field's name is empty"),
        (["--order-by", "-"], "'-'"),
        (["--limit", "-1"], "limit is -1"),
        (["--offset", "-1"], "offset is -1"),
        (["n:=1e999"], "inf"),
        (["n:=123456789012345678901234567890"], "64 bits"),
        (["n=\udcff"], "no UTF-8"),
        (["\udcff=n"], "no UTF-8"),
        (["--count", "--limit", "1"], "--count counts all"),
        (["--count", "--keys"], "--count counts all"),
        (["--table", "nobody"], "there is no table 'nobody'"),
        (["--table", "blobs", "n=1"], "bytes"),
    ],
)
def test_what_cannot_be_asked_is_refused(run, searched, arguments, said):
    done = run("find", *arguments)
    assert done.code == 2, done.err
    assert said in done.err
    assert done.out == ""


def test_finding_in_no_store_ends_with_3(run, location):
    assert run("find", "n:=1", "--db", location).code == 3
