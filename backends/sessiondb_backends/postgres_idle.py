"""Nobody reads for a while: the newest state needs no transaction that keeps the server from cleaning up old rows.

As long as the stored position stays what it is, a new transaction shows the same state (see `postgres_source`). So one
that pins the stored state is ended when it has not been used for `IDLE_S`, and begun again at the next read, or just
before a checkpoint makes this state an old one that somebody may still be reading. A state that is not the stored one
any more keeps its transaction: no other would show it.

One thread for each backend that writes; it sleeps until something may be due. A backend that only reads has none: it
does not know when the owner's next checkpoint comes.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue

from sessiondb.errors import SessionDBError

from .postgres_catalog import Meta, read_meta
from .postgres_links import Links
from .postgres_source import Source

__all__ = ["IDLE_S", "Idle"]

IDLE_S = 10.0


class Idle:
    """The pinned states of one backend.

    Args:
        links: the connections.
        changing: held by whoever changes what is stored: nothing is let go meanwhile.
    """

    def __init__(self, links: Links, changing: threading.RLock):
        self._links = links
        self._changing = changing
        self.clock: Callable[[], float] = time.monotonic
        self._sources: list[weakref.ref[Source]] = []
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._news: SimpleQueue[None] = SimpleQueue()
        """Wakes the thread; a queue of this kind can be put into by a destructor that runs inside it."""
        self._ended = False

    def pin(self) -> Source:
        """The state as stored now, which is let go and found again."""
        source = Source(self._links, self.clock, self._wake)
        self._sources.append(weakref.ref(source))
        self._wake()
        return source

    def _wake(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None and not self._ended:
                    self._thread = threading.Thread(target=self._loop, name="sessiondb-postgres-idle", daemon=True)
                    self._thread.start()
        self._news.put(None)

    def keep(self) -> None:
        """Pin again what was let go: what is stored is about to change. The caller holds `changing`.

        Raises:
            BackendUnavailableError: the server cannot be reached.
        """
        for source in self._alive():
            source.keep()

    def _alive(self) -> list[Source]:
        found = []
        for reference in list(self._sources):
            source = reference()
            if source is None:
                self._sources.remove(reference)
            else:
                found.append(source)
        return found

    # ---- the thread

    def _loop(self) -> None:
        while not self._ended:
            wait = self.tick()
            try:
                self._news.get(timeout=wait)
                while True:
                    self._news.get_nowait()
            except Empty:
                continue

    def tick(self) -> float | None:
        """Let go of what has been idle; returns the seconds until it is worth to look again, ``None``: when woken."""
        if not self._changing.acquire(blocking=False):
            return IDLE_S
        try:
            self._links.tidy()
            return self._look()
        finally:
            self._changing.release()

    def _look(self) -> float | None:
        now = self.clock()
        pinned = [source for source in self._alive() if source.is_pinned]
        due = [source for source in pinned if source.used + IDLE_S <= now and not source.is_old]
        stored = self._stored() if due else None
        if stored is not None:
            for source in due:
                source.let_go_if(stored)
        # An old one is looked at again because of what its end leaves to be done.
        left = [max(source.used + IDLE_S - now, 0.0) or IDLE_S for source in pinned if source.is_pinned]
        return min(left, default=None)

    def _stored(self) -> Meta | None:
        try:
            return self._links.ask("read the store", lambda link: read_meta(link, self._links.names, self._links.place))
        except SessionDBError:
            return None  # the server is away: whoever reads next will say so

    def close(self) -> None:
        """End the thread."""
        with self._starting:
            self._ended = True
        self._news.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def abandon(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._ended = True
        self._sources = []
