"""Where a PostgreSQL store is: the URL, and the names that are made of it. Nothing secret leaves this module.

A location is what follows ``postgresql:`` in a URL of PostgreSQL's own form, with parameters of ours among its own::

    //user:password@host:5432/database?namespace=team&schema=sessiondb&sslmode=verify-full

namespace    the store within the schema (``default``); one server holds any number of them
schema       the SQL schema of the tables (``sessiondb``)
log          where the log is: ``local``, the only choice in this version
log_dir      the folder of the logs (``$XDG_STATE_HOME/sessiondb/postgres``)
timeout      seconds that the server has for one answer (30)
prepare      ``off`` where prepared statements do not work: behind older transaction poolers
insecure     ``ok``: no warning about a connection that may be read or changed on its way

All other parameters are libpq's.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any
from urllib.parse import quote, unquote_plus

from sessiondb.errors import UsageError

from .postgres_driver import conninfo_to_dict, psycopg

__all__ = ["Place", "parse_place"]

CONNECT_S = 10
TIMEOUT_S = 30.0
NAME_CHARACTERS_MAX = 120

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_NAMESPACE = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,47}")
_OURS = {"namespace", "schema", "log", "log_dir", "timeout", "prepare", "insecure"}
_SECRET = ("password", "sslpassword", "oauth_client_secret")
_LOOPBACK = re.compile(r"|localhost|127\.[0-9.]+|::1|[/@].*")


class Place:
    """A store on a server, and how it is reached."""

    def __init__(self, connect: dict[str, str], ours: dict[str, str]):
        self.host, self.port, self.database = connect["host"], connect["port"], connect["dbname"]
        self.schema, self.namespace = ours.get("schema", "sessiondb"), ours.get("namespace", "default")
        self.timeout = _seconds(ours.get("timeout"))
        self.prepare = ours.get("prepare", "on") == "on"
        self.insecure_ok = ours.get("insecure") == "ok"
        self._log_dir = ours.get("log_dir")
        self._connect = connect
        self._secrets = sorted(
            {form for name in _SECRET for text in [connect.get(name)] if text for form in (text, quote(text, safe=""))},
            key=len,
            reverse=True,
        )

    def __str__(self) -> str:
        return f"postgresql://{self.address}/{self.database}, schema {self.schema}, namespace {self.namespace}"

    __repr__ = __str__

    @property
    def address(self) -> str:
        """Host and port, of each server if there are several."""
        hosts, ports = self.host.split(","), self.port.split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        return ",".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=True))

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What tells it from other stores; neither user nor password."""
        return self.address, self.database, self.schema, self.namespace

    def connect_arguments(self, *, read_only: bool) -> dict[str, Any]:
        """What libpq is told; it takes from the environment only what is not said here.

        Server, database and session parameters are said, so that nobody's variable leads elsewhere.
        """
        arguments: dict[str, Any] = {
            "connect_timeout": CONNECT_S, "application_name": "sessiondb", "options": "", "hostaddr": "",
            **self._connect,
        }  # fmt: skip
        arguments["client_encoding"] = "utf8"
        arguments.setdefault("target_session_attrs", "any" if read_only else "read-write")
        return arguments

    def is_exposed(self, sslmode: str | None) -> bool:
        """Whether the connection goes to another machine and nothing proves that it is the right one.

        Args:
            sslmode: libpq's default, for a URL that does not say it.
        """
        connect = self._connect
        if connect.get("sslrootcert") == "system":
            sslmode = "verify-full"  # libpq takes nothing less then
        hosts = [*self.host.split(","), *connect.get("hostaddr", "").split(",")]
        loopback = all(_LOOPBACK.fullmatch(host) for host in hosts)
        return not (loopback or self.insecure_ok or connect.get("sslmode", sslmode) == "verify-full")

    def without_secrets(self, text: str) -> str:
        """The text, with ``***`` for passwords."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def log_folder(self) -> str:
        """Where the log of this store lives on this machine."""
        folder = self._log_dir
        if folder is None:
            state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
            folder = os.path.join(state, "sessiondb", "postgres")
        digest = hashlib.sha256("\0".join(self.identity).encode()).hexdigest()[:10]
        readable = re.sub(r"[^A-Za-z0-9.-]+", "_", "_".join(self.identity)).strip("._")[:NAME_CHARACTERS_MAX]
        return os.path.join(os.path.realpath(os.path.expanduser(folder)), f"{readable}-{digest}.wal")


def _seconds(text: str | None) -> float:
    if text is None:
        return TIMEOUT_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise UsageError("the parameter timeout of a postgresql URL is a number of seconds, more than 0")
    return seconds


def parse_place(path: str) -> Place:
    """Read a location; nothing is connected to.

    Raises:
        UsageError: it is no such URL. The message does not repeat it: it may hold a password.
    """
    base, _, query = path.partition("?")
    ours: dict[str, str] = {}
    theirs = []
    for item in filter(None, query.split("&")):
        name, _, value = item.partition("=")
        if name not in _OURS:
            theirs.append(item)
        elif name in ours:
            raise UsageError(f"the parameter {name} stands twice in the postgresql URL; next: say it once")
        else:
            ours[name] = unquote_plus(value)
    _must_be_known(ours)
    return Place(_libpq(f"postgresql:{base}" + (f"?{'&'.join(theirs)}" if theirs else "")), ours)


def _must_be_known(ours: dict[str, str]) -> None:
    for name, choices in {"log": ("local",), "prepare": ("on", "off"), "insecure": ("ok", "no")}.items():
        if ours.get(name, choices[0]) not in choices:
            raise UsageError(
                f"the parameter {name} of a postgresql URL is {' or '.join(choices)}"
                + ("; the log on this machine is the only mode of this version" if name == "log" else "")
            )
    if not _SCHEMA.fullmatch(ours.get("schema", "sessiondb")):
        raise UsageError("a schema is named by a-z, 0-9 and _, at most 48 of them, and begins with no digit")
    if not _NAMESPACE.fullmatch(ours.get("namespace", "default")):
        raise UsageError("a namespace is named by a-z, 0-9, _, . and -, at most 48 of them, and begins with no . or -")
    if not ours.get("log_dir", "/").startswith(("/", "~")):
        raise UsageError("the parameter log_dir of a postgresql URL is an absolute path")


def _libpq(url: str) -> dict[str, str]:
    """The URL as libpq's parameters; server and database are said, so that the environment cannot change them."""
    try:
        found = conninfo_to_dict(url)
    except psycopg.Error:
        found = None  # libpq's message repeats parts of the URL
    if found is None or not url.startswith("postgresql://"):
        raise UsageError(
            "this is no URL of PostgreSQL; next: write postgresql://USER@HOST:PORT/DATABASE?namespace=NAME, with "
            "%XX for special characters"
        )
    connect = {name: str(value) for name, value in found.items() if value is not None and value != ""}
    for name, what in {"host": "host", "dbname": "database"}.items():
        if name not in connect:
            raise UsageError(f"the postgresql URL names no {what}; next: write postgresql://USER@HOST:PORT/DATABASE")
    hosts = connect["host"].count(",") + 1
    ports = [port or "5432" for port in connect.get("port", "").split(",")]
    connect["port"] = ",".join(ports)
    if not all(port.isascii() and port.isdecimal() and 0 < int(port) < 65_536 for port in ports):
        raise UsageError(
            "the port in the postgresql URL is no number from 1 to 65535; next: correct it, or write / in a password "
            "as %2F, : as %3A and @ as %40"
        )
    if "@" in url.removeprefix("postgresql://").partition("?")[0].partition("/")[2]:
        raise UsageError(
            "the database in the postgresql URL holds an @; next: write / in a password as %2F and @ as %40, and an @ "
            "in the name of a database as %40"
        )
    if len(ports) not in (1, hosts):
        raise UsageError("the postgresql URL names not as many ports as hosts; next: one for each, or one for all")
    return connect
