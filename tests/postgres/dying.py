"""A process that dies at the n-th thing that it does: to the files of its log, or to the server.

As `crash.dying`, with the statements of the PostgreSQL backend counted too: the process ends before one is sent, or
when its answer is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

from crash.dying import DyingFiles, Moment
from crash.killing import in_child, read_announcements
from crash.oracle import History
from crash.session import Session
from crash.target import Target
from sessiondb.location import parse_location
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_link import Link

__all__ = ["Death", "count_operations", "die_at", "small_program", "target_of"]


def target_of(url: str) -> Target:
    """The store at a URL."""
    return Target("postgres", "postgresql", url, PostgresBackend.log_folder(parse_location(url).path))


def small_program(session: Session) -> None:
    """Everything that a store on a server is asked to do, once."""
    session.open()
    session.some_puts(1)
    session.index("t", "n")
    session.checkpoint()
    session.some_puts(1)
    session.put_many("u", {"a": 1, "b": 2})
    session.checkpoint()
    session.some_puts(1, "never")
    session.some_puts(1)
    session.close()
    session.open()
    session.some_puts(1)
    session.drop("u")
    session.checkpoint()
    session.some_puts(1)


@contextmanager
def _statements_counted(files: DyingFiles) -> Iterator[None]:
    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(link: Link, *arguments: Any, **options: Any) -> Any:
            files.step("before")
            found = method(link, *arguments, **options)
            files.step("half")  # the answer is there
            files.step("after")
            return found

        return call

    with mock.patch.multiple(Link, **{name: counted(getattr(Link, name)) for name in ("command", "run", "rows")}):
        yield


class Death(NamedTuple):
    """How a process ended."""

    was_killed: bool
    history: History
    """What it had announced before."""


def die_at(url: str, fatal: int, moment: Moment) -> Death:
    """Run the program in a child until it dies there."""

    def work(pipe: int) -> None:
        files = DyingFiles(pipe, fatal, moment)
        with _statements_counted(files):
            small_program(Session(fatal, files, target_of(url)))

    status, announced = in_child(work)
    assert status in (0, 9), f"the child failed at operation {fatal} ({moment})"
    return Death(status == 9, read_announcements(announced))


def count_operations(url: str) -> int:
    """How many operations the program makes."""

    def work(pipe: int) -> None:
        files = DyingFiles()
        with _statements_counted(files):
            small_program(Session(0, files, target_of(url)))
        os.write(pipe, b"%d" % files.count)

    status, count = in_child(work)
    assert status == 0, "the program does not run through"
    return int(count)
