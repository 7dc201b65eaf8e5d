"""Where a benchmark works: a folder and a schema of its own, which are removed again, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, LiteralString, NoReturn

from sessiondb.errors import SessionDBError
from sessiondb.location import parse_location
from sessiondb_bench.environment import file_system, load

from ..exit_codes import NOT_DONE, USAGE, CommandError

__all__ = ["on_server", "warnings_for", "workplace"]

IN_MEMORY = ("tmpfs", "ramfs", "hugetlbfs")
"""File systems without a disk: a sync costs nothing there, and nothing survives."""
_SIGNALS = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


@contextmanager
def workplace(folder: str | None) -> Iterator[str]:
    """A new folder, removed at the end: also after an error, Ctrl-C, SIGTERM and SIGHUP. Not after SIGKILL.

    Args:
        folder: where to make it; without it in ``$TMPDIR``, else in ``/var/tmp``: that is on a disk where ``/tmp`` is
            not.

    Raises:
        CommandError: it cannot be made.
    """
    parent = _parent() if folder is None else folder
    if not os.path.isdir(parent):
        raise CommandError(f"{parent} is no folder; next: name one with --dir", USAGE)
    with _signals(_interrupt, _SIGNALS):
        try:
            made = tempfile.mkdtemp(prefix="sessiondb-bench-", dir=os.path.abspath(parent))
        except OSError as error:
            raise CommandError(f"cannot make a folder in {parent}: {error.strerror or error}; next: name another one "
                               "with --dir", NOT_DONE) from error  # fmt: skip
        try:
            yield made
        finally:
            with _signals(signal.SIG_IGN, [signal.SIGINT, *_SIGNALS]):  # it does not take long
                shutil.rmtree(made, ignore_errors=True)
            if os.path.exists(made):
                print(f"sessiondb bench run: {made} could not be removed; next: remove it", file=sys.stderr)


def warnings_for(folder: str) -> list[str]:
    """What makes the figures of a run in this folder doubtful."""
    found = []
    kind = file_system(folder)
    if kind.partition(" ")[0] in IN_MEMORY:
        found.append(
            f"{os.path.dirname(folder)} is in memory ({kind}): syncs cost nothing there, and durable writes look as "
            "fast as others; next: --dir names a folder on the disk that matters"
        )
    busy, cores = load(), os.cpu_count() or 1
    if busy > cores / 2:
        found.append(f"the machine is busy (load {busy:g} on {cores} cores): times are too long, ratios say more")
    return found


@contextmanager
def on_server(url: str | None) -> Iterator[str | None]:
    """The URL for stores on the server: in a schema of their own, which is removed at the end.

    A schema that the URL names is used, and stays: the stores have namespaces of their own in it.

    Args:
        url: what the command line says.

    Raises:
        CommandError: it is no URL of a server.
        SessionDBError: the server does not answer.
    """
    if url is None:
        yield None
        return
    scheme, path = parse_location(url)
    if scheme != "postgresql":
        raise CommandError("--dsn takes a URL postgresql://...; on files the stores are made in --dir", USAGE)
    base, _, query = path.partition("?")
    items = [item for item in query.split("&") if item]
    names_schema = any(item.startswith("schema=") for item in items)
    schema = f"sessiondb_bench_{os.urandom(6).hex()}"
    dsn = f"{scheme}:{base}?{'&'.join(items if names_schema else [*items, f'schema={schema}'])}"
    if names_schema:
        yield dsn
        return
    _run_on_server(dsn, "look whether the server is there", "SELECT 1")
    try:
        yield dsn
    finally:
        with _signals(signal.SIG_IGN, [signal.SIGINT, *_SIGNALS]):
            try:
                _run_on_server(dsn, "remove the benchmark's schema", "DROP SCHEMA IF EXISTS {schema} CASCADE")
            except SessionDBError as error:
                print(
                    f"sessiondb bench run: the schema {schema} could not be removed from the server: {error}; then: "
                    f"DROP SCHEMA {schema} CASCADE",
                    file=sys.stderr,
                )


def _run_on_server(dsn: str, what: str, statement: LiteralString) -> None:
    """Run a statement with the names of the URL's store."""
    from sessiondb_backends.postgres_links import Links
    from sessiondb_backends.postgres_schema import Names
    from sessiondb_backends.postgres_url import parse_place

    place = parse_place(parse_location(dsn).path)
    names = Names(place.schema, place.namespace)
    links = Links(place, names, read_only=False)
    try:
        links.ask(what, lambda link: link.run(names.make(statement)))
    finally:
        links.close()


def _parent() -> str:
    """The folder for temporary files that are on a disk, if there is one."""
    if not os.environ.get("TMPDIR") and os.path.isdir("/var/tmp") and os.access("/var/tmp", os.W_OK | os.X_OK):
        return "/var/tmp"
    return tempfile.gettempdir()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _signals(handler: Any, numbers: list[signal.Signals]) -> Iterator[None]:
    """Handle signals in a way meanwhile; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, old in before:
            signal.signal(number, signal.SIG_DFL if old is None else old)
