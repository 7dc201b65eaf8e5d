"""A command takes a store on a server over from another host only when it is told to.

A program that opens such a store means to own it. Somebody who types `sessiondb put` means one record, and may not know
what it would do: the host that owns the store could not write any more, and what it has not moved to the server yet
would stay behind in its log.
"""

from __future__ import annotations

from sessiondb.errors import BackendError, CorruptionError
from sessiondb.files import Files

from .exit_codes import NOT_DONE, CommandError
from .locations import Place
from .standing import standing_of

__all__ = ["must_be_free"]


def must_be_free(place: Place) -> None:
    """Refuse a store that another host owns; nothing is changed.

    Raises:
        CommandError: another host owns it.
        BackendUnavailableError: the server cannot be asked.
    """
    files, path = Files(), place.location.path
    try:
        backend = place.backend.open(files, path, create=False, read_only=True)
    except (BackendError, CorruptionError):  # also where the schema was prepared, and the store is not made yet
        if place.backend.exists(files, path):
            raise
        return
    try:
        standing = standing_of(files, place.folder, backend)
    except CorruptionError:
        return  # opening it says so
    finally:
        backend.close()
    if standing.is_free or standing.is_unknown or standing.stranded is not None:
        return  # it is ours; or opening it refuses, and says more
    host = standing.owner.host
    raise CommandError(
        f"the host {host} owns {place.location}; writing from here would take it over: {host} could not write any "
        "more, and what it has not moved to the server yet would stay in its log; nothing was changed; next: run this "
        f"on {host}, or end its program there and say --take-over",
        NOT_DONE,
    )
