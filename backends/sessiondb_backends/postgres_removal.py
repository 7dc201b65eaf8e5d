"""Removing a store from a server, with its views: for programs that made one only for themselves."""

from __future__ import annotations

from sessiondb.files import REAL_FILES

from .postgres import PostgresBackend
from .postgres_links import Links
from .postgres_schema import Names
from .postgres_tidy import tidy
from .postgres_url import parse_place

__all__ = ["remove_store"]


def remove_store(path: str) -> None:
    """Remove every row and view of the namespace; nothing when no store is there. Nothing of it comes back.

    Args:
        path: what stands behind the scheme in the URL.

    Raises:
        BackendError: the server refused.
        BackendUnavailableError: it cannot be reached.
    """
    if not PostgresBackend.exists(REAL_FILES, path):
        return
    place = parse_place(path)
    names = Names(place.schema, place.namespace)
    statements = (
        names.make("DELETE FROM {records} WHERE ns = {ns}"), names.make("DELETE FROM {tables} WHERE ns = {ns}"),
        names.make("DELETE FROM {owners} WHERE ns = {ns}"), names.make("DELETE FROM {meta} WHERE ns = {ns}"),
    )  # fmt: skip
    links = Links(place, names, read_only=False)
    try:
        for statement in statements:
            links.ask("remove the store", lambda link, statement=statement: link.run(statement))  # type: ignore[misc]
        links.ask("remove the store's views", lambda link: tidy(link, names, ()))
    finally:
        links.close()
