"""`sessiondb search`: which sessions it finds, on each backend, and what it says when there are more."""

from __future__ import annotations

import json

import pytest

import sessiondb

from .conftest import tree

SESSIONS = {
    "task#101": {"session": "task#101", "repoName": "local/Shop", "branch": "elsewhere", "unknown": 1},
    "b": {"session": "b", "repoUrl": "https://github.com/acme/SHOP.git", "taskId": "mt#7", "createdAt": "yesterday"},
    "c": {"session": "c", "prBranch": "pr/größe", "github": {"token": "shop"}},
    "d": {"session": "d", "prState": {"branchName": "PR/shop"}, "taskId": None},
    "e": {"session": "e", "branch": "shop", "taskId": ["shop"], "prState": "shop"},
    "f": ["shop"],
}


@pytest.fixture
def searched(location, monkeypatch):
    """A store on each backend: sessions in the backend and in the log, and what is none."""
    with sessiondb.open(location) as db:
        table = db.table("sessions")
        table.put_many({key: SESSIONS[key] for key in ("task#101", "b", "c")})
        db.checkpoint()
        table.put_many({key: SESSIONS[key] for key in ("d", "e", "f")})
        db.table("blobs", bytes)["x"] = b"shop"
    monkeypatch.setenv("SESSIONDB_URL", location)
    return location


CASES = {
    "shop": "b d task#101", "SHOP": "b d task#101", "#101": "task#101", "MT#7": "b", "GRÖSSE": "c", "pr/": "c d",
    "elsewhere": "", "token": "", "yesterday": "", "%": "", "f": "f",
}  # fmt: skip


def test_what_is_asked_for_is_found_in_the_order_of_the_ids(run, searched):
    for text, keys in CASES.items():
        done = run("search", text, "--keys")
        assert (done.code, done.err, done.out.split()) == (0, "", keys.split()), text
        assert run("search", text, "--count").out == f"{len(keys.split())}\n"


def test_found_sessions_are_printed_as_they_are_stored(run, searched):
    assert run("search", "#101").out == f"task#101\t{json.dumps(SESSIONS['task#101'], separators=(',', ':'))}\n"
    assert run("search", "#101", "--json").json == {"key": "task#101", "record": SESSIONS["task#101"]}
    assert run("search", "#101", "--json", "--keys").json == {"key": "task#101"}
    assert run("search", "shop", "--json", "--count").json == {"count": 3}


def test_what_was_left_out_is_said(run, searched):
    done = run("search", "shop", "--limit", "2", "--keys")
    assert done.out == "b\nd\n"
    assert done.err == "sessiondb search: printed 2 matches of 3; next: --limit 3 prints all of them\n"
    assert run("search", "shop", "--limit", "3").err == ""
    done = run("search", "shop", "--limit", "0", "--json")
    assert (done.code, done.out) == (0, "")
    assert "0 matches of 3" in done.err


def test_ten_are_printed_unless_more_are_asked_for(run, location):
    with sessiondb.open(location) as db:
        db.table("sessions").put_many({f"s{number}": {"session": f"s{number}"} for number in range(12)})
    done = run("search", "s", "--db", location)
    assert len(done.out.splitlines()) == 10
    assert "10 matches of 12" in done.err
    assert len(run("search", "s", "--limit", "20", "--db", location).out.splitlines()) == 12


def test_searching_changes_no_file(run, tmp_path):
    (tmp_path / "s.json").write_text('[{"session": "a"}]\n')
    before = tree(".")
    assert run("search", "a", "--db", "s.json", "--keys").out == "a\n"
    assert tree(".") == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([""], "text that is not empty"),
        (["shop", "--limit", "-1"], "--limit is -1"),
        (["shop", "--count", "--keys"], "--count counts all"),
        (["shop", "--count", "--limit", "5"], "--count counts all"),
        (["\udcff"], "no UTF-8"),
        (["shop", "--table", "nobody"], "there is no table 'nobody'"),
        (["shop", "--table", "blobs"], "holds bytes"),
    ],
)
def test_what_cannot_be_asked_is_refused(run, searched, arguments, said):
    done = run("search", *arguments)
    assert done.code == 2, done.err
    assert said in done.err
    assert done.out == ""


def test_searching_in_no_store_ends_with_3(run, location):
    assert run("search", "x", "--db", location).code == 3
