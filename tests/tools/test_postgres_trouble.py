"""A store on a server that is away, refuses, is damaged or put back; and that no password is ever printed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from postgres.proxy import Wire
from sessiondb_tools.masking import masked

from .conftest import change_byte, tree
from .hosts import READING, SECRET, WRITING, Host


@pytest.fixture(autouse=True)
def input_file(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text('{"a": {"n": 3}}')


@pytest.fixture
def store(alpha: Host) -> Host:
    """A store with one record, whose owner, alpha, has closed it."""
    with alpha.open() as db:
        db.table("records")["a"] = {"n": 1}
    return alpha


# ---- a server that is away


@pytest.fixture
def wired(alpha: Host, pg_dsn: str) -> Iterator[tuple[Host, Wire]]:
    """A host whose way to the server can be cut, with two transactions that are in its log only."""
    port = int(psycopg.conninfo.conninfo_to_dict(pg_dsn)["port"])
    wire = Wire(port)
    alpha.path = alpha.path.replace(f":{port}/", f":{wire.port}/")
    alpha.url = f"postgresql:{alpha.path}"
    alpha.shown = alpha.shown.replace(f":{port}/", f":{wire.port}/")

    def work(db):
        table = db.table("records")
        table["a"] = 1
        db.checkpoint()
        table["b"] = 2
        table["c"] = 3

    alpha.killed(work)
    wire.is_up = False
    wire.cut()
    yield alpha, wire
    wire.close()


def test_a_server_that_is_away_is_said_and_what_the_log_holds_is_shown(wired):
    alpha, _ = wired
    before = tree(alpha.log)
    done = alpha("status")
    assert done.code == 3
    assert "state       unreachable, the server cannot be asked\n" in done.out
    assert "owner       unknown\n" in done.out
    assert "records     unknown\n" in done.out
    assert f"the log of this host is in {alpha.log}\n" in done.out
    assert "position    by HEAD, a hint: epoch 2, last LSN 3, durable 3, applied 1\n" in done.out
    assert "2 changes (32 bytes) not in the backend yet\n" in done.out
    assert re.search(
        r"^ +2 transactions: LSN 2 to 3, 20\S+Z to 20\S+Z; the server may not have them yet$", done.out, re.MULTILINE
    )
    assert re.match(rf"sessiondb status: cannot \w+.*{re.escape(alpha.shown)}", done.err)
    found = alpha("status", "--json")
    assert found.code == 3
    assert (found.json["state"], found.json["owner"], found.json["records"]) == ("unreachable", None, None)
    assert found.json["waiting"]["transactions"] == 2
    assert (found.json["epoch"], found.json["last_lsn"], found.json["applied_lsn"]) == (2, 3, 1)
    assert tree(alpha.log) == before


def test_the_log_is_dumped_without_the_server_and_the_other_verbs_say_that_it_is_away(wired):
    alpha, wire = wired
    assert alpha("log", "dump").out.count("TRANSACTION") == 3 - 1
    assert "(needed)" not in alpha("log", "dump").out
    for verb in [*READING[:4], *READING[5:7], ["log", "verify"], ["export", "--stranded"], *WRITING]:
        done = alpha(*verb)
        assert done.code == 3, verb
        assert re.match(rf"sessiondb {verb[0]}.*: cannot ", done.err), verb
        assert done.out == ""
    assert "`sessiondb log dump --json`" in alpha("export", "--stranded").err
    wire.is_up = True
    assert alpha("list", "--keys").out == "a\nb\nc\n"


def test_a_torn_tail_or_damage_of_the_log_is_told_also_without_the_server(wired):
    alpha, _ = wired
    newest = max(alpha.log.glob("*.seg"))
    change_byte(newest, 150)
    done = alpha("status")
    assert done.code == 3
    assert "problem     the log is damaged" in done.out


def test_nothing_here_and_a_server_that_is_away(alpha, tmp_path):
    away = re.sub(r":\d+/", ":1/", alpha.url)
    done = alpha("status", db=away)
    assert done.code == 3
    assert "state       unreachable" in done.out
    assert "log         0 segments" in done.out
    assert not alpha.log.parent.exists()


def test_a_server_that_refuses_is_told_from_one_that_is_away(store, pg_dsn):
    database = psycopg.conninfo.conninfo_to_dict(pg_dsn)["dbname"]
    done = store("status", db=store.url.replace(f"/{database}?", "/nowhere?"))
    assert done.code == 3
    assert "state       refused, the server does not let this user look\n" in done.out
    assert re.match(r"sessiondb status: cannot connect .* does not exist", done.err)


@pytest.fixture
def reader(pg_admin: psycopg.Connection, pg_schema: str) -> Iterator[str]:
    """A role that may only read the test's schema; call it when that is there."""
    role = f"reader_{pg_schema}"
    pg_admin.execute(f"CREATE ROLE \"{role}\" LOGIN PASSWORD '{SECRET}'")
    yield role
    pg_admin.execute(f'DROP OWNED BY "{role}"')
    pg_admin.execute(f'DROP ROLE "{role}"')


def test_a_role_that_may_only_select_is_enough_to_read(store, beta, reader, pg_admin, pg_schema):
    pg_admin.execute(f'GRANT USAGE ON SCHEMA "{pg_schema}" TO "{reader}"')
    pg_admin.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{pg_schema}" TO "{reader}"')
    url = re.sub("//[^@]*@", f"//{reader}:{SECRET}@", beta.url)
    for verb in READING:
        assert beta(*verb, db=url).code == 0, verb
    done = beta("put", "a", "1", "--take-over", db=url)
    assert done.code == 3
    assert "permission denied" in done.err


# ---- damage of what says who owns it


def test_a_damaged_owner_file_is_damage(store):
    (store.log / "OWNER").write_bytes(b"rubbish")
    for verb in (["status"], ["check"], ["log", "verify"]):
        done = store(*verb)
        assert done.code == 1, verb
        assert "the file that names this log's owner is damaged" in done.out


def test_a_log_that_the_server_does_not_know_is_damage(store, beta):
    store.killed(lambda db: db.table("records").put("b", 2))
    shutil.copytree(store.log, beta.log)
    with store.open():
        pass
    for verb in (["status"], ["check"], ["log", "verify"], ["export", "--stranded"]):
        done = beta(*verb)
        assert done.code == 1, verb
        assert "the server does not know its owner" in done.out + done.err


def test_a_log_whose_store_is_gone_is_damage(store, pg_admin, pg_schema):
    pg_admin.execute(f'DROP SCHEMA "{pg_schema}" CASCADE')
    for verb in (["status"], ["check"], ["log", "verify"], ["get", "a"]):
        done = store(*verb)
        assert done.code == 1, verb
        assert f"the store {store.shown} is missing, but its log is there" in done.out + done.err


def test_a_server_that_was_put_back_is_noticed(store, pg_admin, pg_schema):
    pg_admin.execute(f'UPDATE "{pg_schema}".sessiondb_meta SET epoch = 1')
    done = store("check")
    assert done.code == 1
    assert "the log has epoch 2, the server is at 1:1: it was put back to an earlier state" in done.out


def test_a_torn_tail_is_fine(store):
    store.killed(lambda db: db.table("records").put("b", 2))
    newest = max(store.log.glob("*.seg"))
    data = newest.read_bytes()
    end = len(data.rstrip(b"\0"))
    newest.write_bytes(data[: end - 5] + bytes(len(data) - end + 5))
    (store.log / "HEAD").unlink()
    assert store("check").code == 0
    assert "a torn tail of" in store("status").out


# ---- nothing secret


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "URL"],
        ["URL", "status"],
        ["status", "--bd", "URL"],
        ["status", "--db=URL", "--wait", "URL"],
        ["get", "--db", "URL"],
        ["demo", "URL"],
        ["demo", "--dir", "x", "--db", "URL", "--rounds", "0"],
        ["log", "URL"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:1/db?user=u&password={SECRET}&schema=BAD",
        f"postgresql//u:{SECRET}@127.0.0.1:1/db",
        f"postgresql:u:{SECRET}@127.0.0.1:1/db",
    ],
)
def test_a_password_is_not_repeated_wherever_it_was_typed(run, arguments, url):
    done = run(*(word.replace("URL", url) for word in arguments))
    assert done.code in (2, 3), done
    assert SECRET not in done.out + done.err


def test_what_is_no_password_is_left_as_it_is():
    for text in ("json:///a@b.json", "a:b@c", "postgresql://me@host/db", "x=1 password is wrong", "lsn 1:2"):
        assert masked(text) == text
    assert masked("postgresql://u:p@h/db?password=a&sslpassword=b c") == (
        "postgresql://***@h/db?password=***&sslpassword=*** c"
    )


def test_json_outputs_hold_no_password(store, beta):
    for host in (store, beta):
        for verb in READING:
            done = host(*verb, "--json")
            for line in done.out.splitlines():
                json.loads(line)
