"""Make the store.

An empty store is made where --db or the settings say, with the folders that it is in. A store that is there already is
left as it is, and that is fine; so init may be run again. (On a server it makes the SQL indexes and views that are
missing, for a role that had no right to.) Anything else that is there is left alone too, and an error.

--print makes nothing and connects to nothing: it prints the SQL statements that a server has to be prepared with, for
somebody to read, or to run with more rights than the program will have.

  sessiondb init --db sqlite:////srv/app/sessions.db
  sessiondb init --print --db postgresql://app@db.example/app | less
"""

from __future__ import annotations

import argparse
import os
import sys

from sessiondb.files import Files
from sessiondb.opening import make_folders

from ..exit_codes import FINE
from ..locations import (
    WAIT_S_WRITING,
    Place,
    add_store_options,
    does_exist,
    find_place,
    has_log_of,
    log_alone,
    open_for_writing,
)
from ..output import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("--print", action="store_true", help="print the SQL statements for a server, and do nothing")
    add_store_options(parser, wait_s=WAIT_S_WRITING)


def run(arguments: argparse.Namespace) -> int:
    """Make it, unless it is there."""
    place = find_place(arguments)
    if arguments.print:
        return _print_statements(place, as_json=arguments.json)
    is_new = not does_exist(place)
    if is_new:
        if has_log_of(place):
            raise log_alone(place)
        if not place.backend.remote:
            make_folders(Files(), os.path.dirname(place.location.path))
        open_for_writing(arguments, create=True).close()
    elif place.backend.remote:
        _tidy_up(place)
    kind, where = place.location.scheme, str(place.location)
    if arguments.json:
        print_json({"location": where, "backend": kind, "created": is_new})
    elif is_new:
        print(f"made a {kind} store at {where}")
    else:
        what = "its SQL indexes and views are up to date" if place.backend.remote else "it was left as it is"
        print(f"there is a {kind} store at {where} already; {what}")
    return FINE


def _tidy_up(place: Place) -> None:
    """Make the SQL indexes and views that the program's role had no right to make; takes nothing over."""
    with place.choice.explaining():
        backend = place.backend.open(Files(), place.location.path, create=False)
        try:
            backend.settle()
        finally:
            backend.close()


def _print_statements(place: Place, *, as_json: bool) -> int:
    make = getattr(place.backend, "ddl", None)
    statements: list[str] = [] if make is None else make(place.location.path)
    if as_json:
        print_json({"location": str(place.location), "backend": place.location.scheme, "statements": statements})
    for statement in () if as_json else statements:
        print(f"{statement.rstrip().rstrip(';')};")
    if not statements:
        sys.stdout.flush()
        print(
            f"sessiondb init: a {place.location.scheme} store is a file: there is nothing to prepare; next: leave out "
            "--print to make it",
            file=sys.stderr,
        )
    return FINE
