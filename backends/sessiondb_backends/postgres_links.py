"""The connections of one store: a few that wait for work, and those that pin a state for a view."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from .postgres_catalog import State, read_state
from .postgres_driver import pq, psycopg
from .postgres_link import Link, connect, is_lost, translated
from .postgres_schema import Names
from .postgres_url import Place

__all__ = ["Links"]

T = TypeVar("T")

IDLE_MAX = 2
BEGIN_VIEW = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

_leaked: list[object] = []
"""What a forked child must not touch: libpq would speak on its parent's connections."""


class Links:
    """The connections of one backend; safe for many threads."""

    def __init__(self, place: Place, names: Names, *, read_only: bool):
        self.place = place
        self.names = names
        self._read_only = read_only
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._idle: list[Link] = []
        self._let_go: deque[Link] = deque()
        """Links of views that are garbage: a destructor may not wait for the server."""
        self._closed = False

    def take(self) -> Link:
        """A connection that is in no transaction; give it back, or drop it."""
        self.tidy()
        with self._lock:
            while self._idle:
                link = self._idle.pop()
                if link.is_usable:
                    return link
        return connect(self.place, read_only=self._read_only)

    def give(self, link: Link) -> None:
        """Take back a connection, in whatever state it is; an open transaction is rolled back."""
        if not link.is_usable:
            return
        try:
            if link.pgconn.transaction_status != pq.TransactionStatus.IDLE:
                link.command(b"ROLLBACK")
        except psycopg.Error:
            link.drop()
            return
        with self._lock:
            if self._closed or len(self._idle) >= IDLE_MAX:
                link.drop()
            else:
                self._idle.append(link)

    def drop(self, link: Link, error: BaseException) -> None:
        """Close a connection on which something failed; if it was lost, those that wait are lost too, as a rule."""
        link.drop()
        if is_lost(error):
            with self._lock:
                idle, self._idle = self._idle, []
            for other in idle:
                other.drop()

    def let_go(self, link: Link) -> None:
        """As `give`, but without waiting for anything: for destructors."""
        if os.getpid() != self._process:
            _leaked.append(link)
        elif self._closed:
            link.drop()
        else:
            self._let_go.append(link)

    def tidy(self) -> None:
        """End the transactions of views that are garbage: they keep the server from cleaning up old rows."""
        while self._let_go:
            try:
                link = self._let_go.popleft()
            except IndexError:
                return
            self.give(link)

    def ask(self, what: str, question: Callable[[Link], T]) -> T:
        """The answer to a question that any connection can answer."""
        answer, link = self._ask(what, question)
        self.give(link)
        return answer

    def pin(self) -> tuple[State, Link]:
        """The state as stored now, and a connection whose transaction goes on seeing it."""

        def begin(link: Link) -> State:
            link.command(BEGIN_VIEW)
            return read_state(link, self.names, self.place)

        return self._ask("read the store", begin)

    def _ask(self, what: str, question: Callable[[Link], T]) -> tuple[T, Link]:
        """Once more when the first connection died while it waited for work."""
        with translated(what, self.place):
            for last in (False, True):
                link = self.take()
                try:
                    return question(link), link
                except psycopg.Error as error:
                    self.drop(link, error)
                    if last or not is_lost(error):
                        raise
                except BaseException:
                    link.drop()
                    raise
        raise AssertionError  # the last round returns or raises

    def close(self) -> None:
        """Close what waits; what pins a state is closed when it is let go."""
        self.tidy()
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for link in idle:
            link.drop()
        self.tidy()

    def abandon(self) -> None:
        """In a forked child: forget all connections, without a word to libpq."""
        _leaked.extend((self._idle, self._let_go))
        self._lock = threading.Lock()
        self._idle, self._let_go = [], deque()
        self._closed = True
