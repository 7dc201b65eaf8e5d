"""The demo on a server: stores in namespaces of its own, which are removed again."""

from __future__ import annotations

import os
import sys
from urllib.parse import quote

from sessiondb.errors import SessionDBError
from sessiondb.location import parse_location
from sessiondb.opening import backend_class

from ..exit_codes import USAGE, CommandError
from ..masking import masked

__all__ = ["OnServer"]


class OnServer:
    """Stores on a server, in the schema that the URL says.

    Args:
        url: what the command line says; a namespace in it does not count, so that no store that is there is touched.

    Raises:
        CommandError: it is no URL of a server.
    """

    title = "PostgreSQL"

    def __init__(self, url: str):
        scheme, path = parse_location(url)
        if scheme != "postgresql" or not backend_class(scheme).remote:
            raise CommandError(
                "--db is for postgresql:// URLs; on files the demo makes stores of its own: --dir", USAGE
            )
        base, _, query = path.partition("?")
        kept = [item for item in query.split("&") if item and item.partition("=")[0] not in ("namespace", "log_dir")]
        self._start = f"{scheme}:{base}?" + "".join(f"{item}&" for item in kept)
        self.namespace = f"demo_{os.urandom(6).hex()}"

    def location(self, folder: str, part: str = "") -> str:
        """A new store whose log is in the folder."""
        return f"{self._start}namespace={self.namespace}{part}&log_dir={quote(os.path.abspath(folder), safe='/')}"

    def shown(self, location: str) -> str:
        """The location for people: without a password."""
        return masked(location)

    def remove(self, location: str) -> None:
        """Remove a store of the demo from the server, with its views; when that fails, say so."""
        from sessiondb_backends.postgres_removal import remove_store

        try:
            remove_store(parse_location(location).path)
        except SessionDBError as error:
            what = f"the namespace of {masked(location)} could not be removed from the server"
            print(f"sessiondb demo: {what}: {error}", file=sys.stderr)
