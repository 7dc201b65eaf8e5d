"""The verbs on a store on a server: who owns it, who may write, what was left behind, a server that is away."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from sessiondb.files import Files
from sessiondb_backends.postgres import PostgresBackend

from .conftest import change_byte, tree
from .hosts import READING, WRITING, Host


@pytest.fixture(autouse=True)
def input_file(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"a": {"n": 3}}')


@pytest.fixture
def store(alpha: Host) -> Host:
    """A store with one record, whose owner, alpha, has closed it."""
    with alpha.open() as db:
        db.table("records")["a"] = {"n": 1}
    return alpha


@pytest.fixture
def stranded(store: Host, beta: Host) -> Host:
    """A store that beta has taken over from alpha, whose log holds three transactions that the server never got."""

    def work(db):
        table = db.table("records")
        table.put_many({"b": 2, "c": 3})
        table["a"] = {"n": 2}
        del table["b"]

    store.killed(work)
    with beta.open() as db:
        db.table("records")["d"] = 4
    return store


RUN = r"3 transactions \(4 changes\), LSN 2 to 4, from 20\S+Z to 20\S+Z"


# ---- reading and writing


def test_a_record_is_stored_read_changed_found_and_removed(alpha):
    assert alpha("put", "k", '{"n": 1}').out == f"stored k in table 'records' of {alpha.shown} at 2:1\n"
    assert alpha("get", "k", "--json").json == {"n": 1}
    assert alpha("patch", "k", "n:=2", "--json").json == {"n": 2}
    assert alpha("find", "n:=2", "--keys").out == "k\n"
    assert alpha("import", "in.json").code == 0
    assert alpha("list").out == 'a\t{"n":3}\nk\t{"n":2}\n'
    assert alpha("delete", "k").code == 0
    assert alpha("tables").out == "records  json  1 record\n"
    assert alpha("checkpoint", "--json").json["moved"] == 0
    assert alpha("check").code == 0


def test_reading_takes_nothing_over_and_leaves_nothing_on_the_host_it_is_done_on(store, beta):
    for verb in READING:
        assert beta(*verb).code == 0, verb
        assert beta(*verb, "--json").code == 0, verb
    assert not beta.log.parent.exists()
    assert beta("status", "--json").json["owner"]["host"] == "alpha"
    assert store("put", "b", "1").code == 0


def test_reading_after_a_kill_changes_nothing(store):
    store.killed(lambda db: db.table("records").put("b", 2))
    before = tree(store.log)
    for verb in READING:
        assert store(*verb).code == 0, verb
        assert tree(store.log) == before, verb
    assert store("get", "b").out == "2\n"


def test_no_verb_but_those_that_make_a_store_makes_one(alpha):
    for verb in READING + WRITING:
        if verb[0] not in ("put", "import"):
            done = alpha(*verb)
            assert done.code == 3, verb
            assert f"there is no store at {alpha.shown}; next: " in done.err
    assert not alpha.log.parent.exists()


# ---- taking over


@pytest.mark.parametrize("verb", WRITING, ids=lambda verb: verb[0])
def test_a_command_does_not_take_a_store_over_unless_it_is_told_to(store, beta, verb):
    done = beta(*verb)
    assert done.code == 3
    assert re.search(
        r"the host alpha owns .* nothing was changed; next: run this on alpha, or .* --take-over", done.err
    )
    assert store("status", "--json").json["owner"]["is_here"] is True
    assert store("list").out == 'a\t{"n":1}\n'
    done = beta(*verb, "--take-over")
    assert done.code == 0, done.err
    assert f"{beta.shown}: the store was taken over from the host alpha, which cannot write to it any more" in done.err
    assert store("status", "--json").json["owner"]["host"] == "beta"
    assert beta(*verb).code == (1 if verb[0] == "delete" else 0), "the second time it is ours"


def test_the_owner_needs_no_leave_and_no_notice(store):
    for _ in range(2):
        done = store("put", "b", "1")
        assert (done.code, done.err) == (0, "")


def test_a_store_that_nobody_has_written_to_is_free_and_has_no_owner(alpha, beta):
    PostgresBackend.open(Files(), alpha.path, create=True).close()
    assert "owner       nobody yet\n" in alpha("status").out
    assert alpha("status", "--json").json["owner"] is None
    assert "nobody has written to the store yet" in alpha("export", "--stranded").err
    assert beta("put", "a", "1").code == 0


# ---- status


def test_the_status_on_the_owner(store):
    done = store("status")
    assert done.code == 0
    server = r"\S+:\d+, database \S+, schema test_\S+, namespace team"
    assert re.fullmatch(
        rf"location    {re.escape(store.shown)}\n"
        rf"server      {server}\n"
        rf"mode        logged: one host owns the store, its log is in {store.log}\n"
        r"owner       this host \(alpha\), since 20\S+Z\n"
        r"backend     postgresql, format 1, [\d,]+ bytes\n"
        r"state       ready\n"
        r"records     1 record in 1 table\n"
        r"            records: 1 record \(json\)\n"
        r"position    epoch 2, last LSN 1, durable 1, applied 1\n"
        r"log         1 segment, 128 bytes on disk; 0 changes \(0 bytes\) not in the backend yet\n"
        r"recovery    the store was closed cleanly\n"
        r"checkpoint  last error: none known\n"
        r"quarantine  empty\n",
        done.out,
    ), done.out


def test_the_status_on_another_host_names_the_owner(store, beta):
    done = beta("status")
    assert done.code == 0
    assert f"its log is there; here it would be in {beta.log}\n" in done.out
    assert re.search(r"^owner +the host alpha, since 20\S+Z; this host never did$", done.out, re.MULTILINE)
    assert "records     1 record in 1 table, as of the last checkpoint\n" in done.out
    assert "recovery    not known\n" in done.out


def test_the_status_as_json(store, beta, pg_schema):
    found = store("status", "--json").json
    assert found["mode"] == "logged"
    assert found["server"].keys() == {"address", "database", "schema", "namespace"}
    assert (found["server"]["schema"], found["server"]["namespace"]) == (pg_schema, "team")
    assert found["log_folder"] == str(store.log)
    assert found["owner"].pop("since").startswith("20")
    assert found["owner"] == {"host": "alpha", "is_here": True, "lost_after": None}
    assert (found["stranded"], found["waiting"], found["recovery"]["clean"]) == (None, None, True)
    found = beta("status", "--json").json
    assert (found["owner"]["is_here"], found["recovery"], found["log"]["records"]) == (False, None, None)


def test_what_waits_in_the_owners_log_is_seen(store):
    store.killed(lambda db: db.table("records").put("b", 2))
    done = store("status")
    assert done.code == 0
    assert "records     2 records in 1 table\n" in done.out
    assert "recovery    1 transaction to replay, up to LSN 2\n" in done.out


# ---- what another host's take-over left here


def test_the_host_before_says_which_transactions_never_reached_the_server(stranded):
    done = stranded("status")
    assert done.code == 1
    assert re.search(r"^owner +the host beta, since 20\S+Z; this host did, until LSN 1$", done.out, re.MULTILINE)
    assert re.search(rf"^STRANDED +{RUN}: committed on this host, never on the server; next: ", done.out, re.MULTILINE)
    assert re.search(r"^state +fenced: another host took it over", done.out, re.MULTILINE)
    assert f"its log is there; the one of this host is in {stranded.log}\n" in done.out
    assert re.fullmatch(
        rf"sessiondb status: the host beta took {stranded.shown} over; {RUN}, committed on this host, never "
        r"reached it; next: `sessiondb export --stranded` writes them out\n",
        done.err,
    )
    assert stranded("list", "--keys").out == "a\nd\n", "reading shows what the server has"


def test_the_same_as_json(stranded):
    for verb in (["status"], ["check"], ["log", "verify"]):
        done = stranded(*verb, "--json")
        assert done.code == 1, verb
        run = done.json["stranded"]
        assert run.pop("first_time") < run.pop("last_time")
        assert run == {"transactions": 3, "changes": 4, "first_lsn": 2, "last_lsn": 4}
        assert (done.json["owner"]["host"], done.json["owner"]["lost_after"]) == ("beta", 1)
        assert done.json["problems"] == []
        assert done.json.get("fine", False) is False
    assert stranded("status", "--json").json["state"] == "fenced"


@pytest.mark.parametrize("verb", [["check"], ["log", "verify"]], ids=" ".join)
def test_checking_tells_what_is_left_from_damage(stranded, beta, verb):
    done = stranded(*verb)
    assert done.code == 1
    assert re.search(rf"^STRANDED +{RUN}: ", done.out, re.MULTILINE)
    assert "3 transactions behind LSN 1, where another host took over, up to LSN 4" in done.out
    assert done.out.endswith("verdict   the store is fine, but transactions of this host never reached it\n")
    assert "DAMAGE" not in done.out
    done = beta(*verb)
    assert done.code == 0
    assert "owner     this host (beta), since 20" in done.out


def test_damage_in_what_is_left_is_damage(stranded):
    (segment,) = (path for path in stranded.log.glob("*.seg") if path.stat().st_size > 1000)
    change_byte(segment, 200)
    for verb in (["check"], ["log", "verify"], ["status"]):
        done = stranded(*verb)
        assert done.code == 1, verb
        assert "the log is damaged" in done.out
    assert stranded("export", "--stranded").code == 1


def test_the_dump_tells_what_is_left_from_what_is_needed(stranded, beta):
    assert "(stranded: another host took over)" in stranded("log", "dump").out
    assert "(needed)" not in stranded("log", "dump").out
    assert "(needed)" in beta("log", "dump").out


def test_writing_is_refused_until_what_is_left_is_dealt_with(stranded):
    before = tree(stranded.log)
    for flags in ([], ["--take-over"]):
        done = stranded("put", "x", "1", *flags)
        assert done.code == 3
        assert "the host beta took" in done.err
        assert "LSN 2 to 4 were committed here" in done.err
        assert "sessiondb export --stranded" in done.err
    assert {path: data for path, data in tree(stranded.log).items() if not path.endswith("OPEN")} == {
        path: data for path, data in before.items() if not path.endswith("OPEN")
    }
    shutil.move(stranded.log, stranded.log.with_suffix(".aside"))
    assert stranded("put", "x", "1", "--take-over").code == 0


def test_a_take_over_that_left_nothing_behind_is_no_trouble(store, beta):
    assert beta("put", "b", "2", "--take-over").code == 0
    done = store("status")
    assert done.code == 0
    assert "this host did, until LSN 1\n" in done.out
    assert "STRANDED" not in done.out
    assert "state       ready\n" in done.out
    assert store("check").code == 0
    assert "(not needed any more)" in store("log", "dump").out
    assert store("put", "c", "3", "--take-over").code == 0


# ---- while the owner runs


def test_while_the_owner_runs_and_when_it_is_fenced_and_runs_on(store, beta):
    program = f"""
        import sessiondb, sys
        db = sessiondb.open({store.url!r}, checkpoint_age_s=3600)
        t = db.table("records")
        for line in sys.stdin:
            t[line.strip()] = "x"
            print("stored", flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        owner.stdin.write("b\n")
        owner.stdin.flush()
        owner.stdout.readline()

        busy = store("status")
        assert busy.code == 3
        assert re.search(rf"^state +busy: process {owner.pid} \(-c\) has it open since", busy.out, re.MULTILINE)
        assert re.search(r"^owner +this host \(", busy.out, re.MULTILINE)
        assert store("check").code == 0
        assert store("get", "a").code == 3
        assert beta("list", "--keys").out == "a\n", "another host reads what the server has"

        assert beta("put", "c", "1", "--take-over").code == 0
        fenced = store("status", "--json")
        assert fenced.code == 1
        assert fenced.json["state"] == "busy"
        assert fenced.json["holder"]["pid"] == owner.pid
        assert fenced.json["stranded"]["transactions"] == 1
        done = store("export", "--stranded", "--wait", "0")
        assert done.code == 3
        assert f"process {owner.pid}" in done.err
        assert done.out == ""
        owner.kill()
    assert len(store("export", "--stranded").lines) == 1
