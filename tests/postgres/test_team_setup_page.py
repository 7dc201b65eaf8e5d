"""docs/how-to/team-setup.md, block by block, on a server of its own, each by the role that it is meant for."""

import os
import re
import subprocess
import sys

import psycopg
import pytest

import sessiondb
from docs.pages import ROOT, blocks_of
from docs.running import assert_alike
from sessiondb.errors import SessionDBError
from sessiondb_backends.postgres_url import parse_place

PAGE = ROOT / "docs" / "how-to" / "team-setup.md"
BLOCKS = blocks_of(PAGE)


def words_of(block):
    return dict(word.partition("=")[::2] for word in block.words)


class Team:
    """The server of the page, and the two machines that use it."""

    def __init__(self, server, folder):
        self.address = f"127.0.0.1:{server.port}"
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        (self.programs / "sessiondb").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sessiondb_tools "$@"\n')
        (self.programs / "sessiondb").chmod(0o755)
        self.path = f"{self.programs}:{server._bin}:{os.environ['PATH']}"
        if not (server._bin / "pg_dump").exists():
            pytest.skip("these binaries of PostgreSQL have no pg_dump")

    def url(self, role, database="app", rest=""):
        return f"postgresql://{role}@{self.address}/{database}{rest}"

    def sql(self, text, role, database="postgres"):
        role = "postgres" if role == "dba" else role
        with psycopg.connect(self.url(role, database), autocommit=True) as connection:
            for statement in filter(str.strip, text.split(";")):
                cursor = connection.execute(statement)
        return cursor

    def shell(self, text, **environment):
        text = text.replace("db.example", self.address)
        return self._run(["bash", "-euo", "pipefail", "-c", text], environment)

    def python(self, text, **environment):
        return self._run([sys.executable, "-c", text], environment)

    def _run(self, command, environment):
        ended = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=60,
            env={**os.environ, "PATH": self.path, "HOME": str(self.folder), **environment},
        )  # fmt: skip
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout


def test_the_page_works_as_it_stands(own_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("SESSIONDB_", "PG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    team = Team(own_server, tmp_path)
    url = {
        "admin": team.url("sessiondb_owner"),
        "app": team.url("sessiondb_app", rest="?namespace=billing"),
    }
    before = []
    refused = False
    for block, after in zip(BLOCKS, [*BLOCKS[1:], None], strict=True):
        words = words_of(block)
        if block.language == "sql":
            if words["as"] == "sessiondb_people":
                refused = _people_look(team, block, after)
            else:
                team.sql(block.text, words["as"], words.get("database", "postgres"))
        elif block.language == "console":
            commands = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
            team.shell("\n".join(commands), SESSIONDB_URL=url[words["host"]])
        elif block.language == "python":
            assert_alike(after.text, team.python(block.text, SESSIONDB_URL=url[words["host"]]), block.place)
        elif block.language == "sh" and "export" in block.text:
            _the_url_is_fine(block)
        elif block.language == "sh":
            if block.text.startswith("pg_dump"):
                before = team.sql(
                    "SELECT tbl, key, record::text FROM sessiondb.sessiondb_records", "dba", "app"
                ).fetchall()
            team.shell(block.text.replace("@db.example", "@" + team.address))
            if block.text.startswith("pg_dump"):
                _more_is_written(url["app"])
        elif block.language == "text" and "output" not in block.words and before:
            _it_is_refused(url["app"], block, tmp_path)
    after = team.sql("SELECT tbl, key, record::text FROM sessiondb.sessiondb_records", "dba", "app").fetchall()
    assert sorted(after) == sorted(before)
    assert refused


def _the_url_is_fine(block):
    found = re.fullmatch(r"export SESSIONDB_URL='postgresql:(.*)'\n", block.text)
    place = parse_place(found[1])
    assert not place.is_exposed(None)
    assert place.namespace == "billing"


def _people_look(team, block, shown):
    """As a member of the role, which does not log in itself."""
    team.sql("CREATE ROLE ada LOGIN; GRANT sessiondb_people TO ada", "dba")
    # The owner has run `init` since the program's first run, as the page says.
    team.shell(f"sessiondb init --db {team.url('sessiondb_owner', rest='?namespace=billing')}")
    cursor = team.sql(block.text, "ada", "app")
    rows = [[column.name for column in cursor.description], *cursor.fetchall()]
    table = [[cell.strip() for cell in line.split("|")] for line in shown.text.splitlines() if "|" in line]
    assert table == [[str(cell) for cell in row] for row in rows]
    for statement in (
        "SELECT * FROM sessiondb.sessiondb_records",
        "DELETE FROM sessiondb.billing_invoices",
        "CREATE TABLE sessiondb.mine (a int)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            team.sql(statement, "ada", "app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        team.sql("CREATE TABLE sessiondb.mine (a int)", "sessiondb_app", "app")
    return True


def _more_is_written(url):
    """Between the backup and the restore."""
    with sessiondb.open(url) as db:
        db.table("invoices")["2025-003"] = {"customer": "Mary"}


def _it_is_refused(url, block, tmp_path):
    with pytest.raises(SessionDBError) as caught:
        sessiondb.open(url)
    assert_alike(block.text, str(caught.value), block.place)
    (logs,) = (tmp_path / "state" / "sessiondb" / "postgres").glob("*billing*.wal")
    assert str(logs) in str(caught.value)
    logs.rename(tmp_path / "aside")
    with sessiondb.open(url) as db:
        assert list(db.table("invoices")) == ["2025-001", "2025-002"]
        assert [key for key, _ in db.table("invoices").find({"customer": "Ada"})] == ["2025-001"]


def test_every_block_of_the_page_is_run_by_the_test():
    known = {"sql", "console", "python", "sh", "text"}
    assert {block.language for block in BLOCKS} == known
    assert all("as" in words_of(block) for block in BLOCKS if block.language == "sql")
