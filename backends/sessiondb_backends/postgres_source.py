"""What a view reads from: one state of the store, pinned by a transaction, and found again when that is lost.

A server that restarts, a network that breaks or an ``idle_in_transaction_session_timeout`` end the transaction. As
long as the stored position is still that of the view, a new transaction shows the same state: every change of the
store changes its position in the same transaction.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from sessiondb.errors import BackendUnavailableError

from .postgres_driver import psycopg
from .postgres_link import Link, failure, harmless, is_lost
from .postgres_links import Links

__all__ = ["Source"]

T = TypeVar("T")


class Source:
    """A pinned state; it ends with the last reference to it: a view's, or that of a scan."""

    def __init__(self, links: Links):
        self._links = links
        self._lock = threading.RLock()  # not Lock: a destructor that runs inside a read may read itself
        self._commands: deque[tuple[Link, bytes]] = deque()
        self._link: Link | None = None
        state, self._link = links.pin()
        self.meta, self.tables = state.meta, state.tables
        self.place, self.names = links.place, links.names

    def later(self, links: list[Link], command: bytes) -> None:
        """Tell this to the connection before its next question: a generator may end where nobody may wait."""
        self._commands.extend((link, command) for link in links)

    def ask(self, what: str, question: Callable[[Link], T]) -> T:
        """The answer of the server, as of this state.

        Raises:
            BackendUnavailableError: the server cannot be reached, or the state is gone.
        """
        with self._lock:
            try:
                return question(self._pinned())
            except psycopg.Error as error:
                self._unpin(error)
                if not is_lost(error):
                    raise failure(error, what, self.place) from harmless(error, self.place)
            try:
                return question(self._pinned())
            except psycopg.Error as error:
                self._unpin(error)
                raise failure(error, what, self.place) from harmless(error, self.place)

    def _pinned(self) -> Link:
        link = self._link
        if link is not None and link.is_usable:
            while self._commands:
                other, command = self._commands.popleft()
                if other is link:
                    link.command(command)
            return link
        state, link = self._links.pin()
        if state.meta != self.meta:
            self._links.give(link)
            raise BackendUnavailableError(
                f"the server has ended the transaction of a view of {self.place} at {self.meta.position}, "
                f"and the store is at {state.meta.position} now; next: take a new view, and see whether the server "
                "restarted or has an idle_in_transaction_session_timeout"
            )
        self._link = link
        return link

    def _unpin(self, error: psycopg.Error) -> None:
        """After an error the transaction shows nothing any more."""
        link, self._link = self._link, None
        if link is not None:
            self._links.drop(link, error)

    def __del__(self) -> None:
        link = getattr(self, "_link", None)
        if link is not None:
            self._links.let_go(link)
