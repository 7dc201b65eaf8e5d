"""The store that a migration reads: opened read-only, judged as a whole, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..backend import TableKind
from ..config import Options
from ..errors import CorruptionError, StoreBusyError
from ..files import Files
from ..location import Location
from ..opening import close_store, open_store
from ..ownership import ownership
from ..store import Store
from ..views import View
from ..wal.verdict import segment_names
from .content import Content, Problems, read_content
from .result import Misfit

__all__ = ["Source", "must_be_ours", "open_source"]


class Source:
    """An open source."""

    def __init__(self, store: Store, view: View):
        self.store = store
        self.view = view
        self._left = store.backend.left_behind()

    @property
    def notices(self) -> list[str]:
        """What opening it had to say, and what of it is no record."""
        others = [f"not carried over, for only the source has a place for it: {what}" for what in self._left[1]]
        return [*self.store.report.notices, *others]

    @property
    def left_behind(self) -> list[Misfit]:
        """Records that the location holds, and that no other one could."""
        return [Misfit(*what) for what in self._left[0]]

    def read(self, report: Callable[[int, int], None], look: Callable[[str, TableKind, str, bytes], None]) -> Content:
        """Read and judge everything.

        Args:
            report: called with the number of records that were read, and that there are.
            look: called for each record.

        Raises:
            CorruptionError: something is damaged.
        """
        location = str(self.store.location)
        damage = self.store.check()
        if damage:
            more = f"; and {len(damage) - 1} more" if len(damage) > 1 else ""
            raise CorruptionError(f"the source is damaged: {damage[0]}{more}", path=location)
        problems = Problems()
        content = read_content(self.view, problems, report, look)
        if problems.count:
            raise CorruptionError(
                f"the source holds what cannot be read: {problems}", path=location,
                advice="put these records anew, or restore a backup; the target is untouched",
            )  # fmt: skip
        return content


@contextmanager
def open_source(files: Files, location: Location, lock_timeout: float) -> Iterator[Source]:
    """Open the source for as long as the block runs; nobody can open it for writing meanwhile.

    Raises:
        UsageError: nothing is there, or this process has it open for writing.
        StoreBusyError: another process has it open for writing, or it is another host's.
        CorruptionError: it is damaged.
        OSError: it cannot be read.
    """
    store = open_store(files, location, Options(read_only=True, create=False, lock_timeout=lock_timeout))
    try:
        must_be_ours(store, "read")
        _make_log_durable(store)
        with store.pin() as view:
            yield Source(store, view)
    finally:
        close_store(store)


def must_be_ours(store: Store, verb: str) -> None:
    """Refuse a store on a server that another host writes to: that host's log may hold what the server does not.

    Raises:
        StoreBusyError: it does.
    """
    backend = type(store.backend)
    folder = backend.log_folder(store.location.path)
    if not backend.remote or folder is None:
        return
    state = ownership(store.files, folder, store.backend)
    if state.host and not state.is_current:
        raise StoreBusyError(
            f"{store.location} is owned by the host {state.host}, whose log may hold what the server does not have, so "
            f"it cannot be {verb} as a whole from here; next: migrate on that host, or close it there and open it here "
            "once for writing, which takes it over"
        )


def _make_log_durable(store: Store) -> None:
    """What is moved must not be more than a power cut would leave: a killed writer may not have synced its log."""
    files, folder = store.files, type(store.backend).log_folder(store.location.path)
    if folder is None or files.stat(folder) is None:
        return
    names = segment_names(files, folder)
    for name in names:
        file = files.open(f"{folder}/{name}", read_only=True)
        try:
            file.fsync()
        finally:
            file.close()
    if names:
        files.sync_folder(folder)
