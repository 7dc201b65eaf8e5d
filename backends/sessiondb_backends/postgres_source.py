"""What a view reads from: one state of the store, pinned by a transaction, and found again when that has ended.

A server that restarts, a network that breaks or an ``idle_in_transaction_session_timeout`` end the transaction, and
`postgres_idle` does when nobody reads. As long as the stored position is still that of the view, a new transaction
shows the same state: every change of the store changes its position in the same transaction.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from sessiondb.errors import BackendUnavailableError, FencedError, StoreFailedError

from .postgres_catalog import Meta
from .postgres_driver import psycopg
from .postgres_link import Link, failure, harmless, is_lost
from .postgres_links import Links

__all__ = ["Source"]

T = TypeVar("T")


def _nobody() -> None:
    """Nobody looks after the transaction."""


class Source:
    """A pinned state; it ends with the last reference to it: a view's, or that of a scan.

    Args:
        links: the connections.
        clock: seconds, for `used`.
        began: called after a transaction was begun anew.
    """

    def __init__(self, links: Links, clock: Callable[[], float] = time.monotonic, began: Callable[[], None] = _nobody):
        self._links = links
        self._clock = clock
        self._began = began
        self._lock = threading.RLock()  # not Lock: a destructor that runs inside a read may read itself
        self._commands: deque[tuple[int, bytes]] = deque()
        self._link: Link | None = None
        self.round = 0
        """Counts the transactions: what was declared in one is not there in the next."""
        self.used = clock()
        """When a question was last asked."""
        self.is_old = False
        """Whether another state is known to be stored."""
        state, self._link = links.pin()
        self.meta, self.tables = state.meta, state.tables
        self.place, self.names = links.place, links.names

    def later(self, rounds: list[int], command: bytes) -> None:
        """Tell this to the server before the next question: a generator may end where nobody may wait.

        Args:
            rounds: the transactions that it concerns; it is forgotten with them.
            command: a statement.
        """
        self._commands.extend((number, command) for number in rounds)

    def ask(self, what: str, question: Callable[[Link], T]) -> T:
        """The answer of the server, as of this state.

        Raises:
            BackendUnavailableError: the server cannot be reached, or the state is gone.
            FencedError: the state is gone, because another owner has taken the store over.
        """
        with self._lock:
            try:
                return self._ask(question)
            except psycopg.Error as error:
                self._unpin(error)
                if not is_lost(error):
                    raise failure(error, what, self.place) from harmless(error, self.place)
            try:
                return self._ask(question)
            except psycopg.Error as error:
                self._unpin(error)
                raise failure(error, what, self.place) from harmless(error, self.place)

    def _ask(self, question: Callable[[Link], T]) -> T:
        answer = question(self._pinned())
        self.used = self._clock()
        return answer

    def _pinned(self) -> Link:
        link = self._link
        if link is not None and link.is_usable:
            while self._commands:
                number, command = self._commands.popleft()
                if number == self.round:
                    link.command(command)
            return link
        state, link = self._links.pin()
        if state.meta != self.meta:
            self._links.give(link)
            raise self._gone(state.meta)
        self._link = link
        self.round += 1
        self._began()
        return link

    def _gone(self, stored: Meta) -> StoreFailedError:
        self.is_old = True
        said = f"the transaction of a view of {self.place} at {self.meta.position} has ended"
        if stored.position.epoch != self.meta.position.epoch:
            return FencedError(
                f"{said}, and another owner has taken the store over, which is at {stored.position} now; "
                "next: open it again to read what is there"
            )
        return BackendUnavailableError(
            f"the server has ended {said.removesuffix(' has ended')}, and the store is at {stored.position} now; "
            "next: take a new view, and see whether the server restarted or has an idle_in_transaction_session_timeout"
        )

    def _unpin(self, error: psycopg.Error) -> None:
        """After an error the transaction shows nothing any more."""
        link, self._link = self._link, None
        if link is not None:
            self._links.drop(link, error)

    # ---- idle

    @property
    def is_pinned(self) -> bool:
        """Whether there is a transaction."""
        return self._link is not None

    def let_go_if(self, stored: Meta) -> None:
        """End the transaction, unless another state is stored, or somebody is reading just now."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self.is_old = self.is_old or stored != self.meta
            if self.is_old:
                return
            link, self._link = self._link, None
        finally:
            self._lock.release()
        if link is not None:
            self._links.give(link)

    def keep(self) -> None:
        """Pin it again if it was let go, or its transaction has ended; what is gone already stays so.

        Raises:
            BackendUnavailableError: the server cannot be reached.
        """
        with self._lock:
            link = self._link
            if self.is_old or (link is not None and not link.was_closed()):
                return
            try:
                self._pinned()
            except StoreFailedError:
                if not self.is_old:
                    raise

    def __del__(self) -> None:
        link = getattr(self, "_link", None)
        if link is not None:
            self._links.let_go(link)
