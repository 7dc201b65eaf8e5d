"""Record versions: how a stored document says which version it is of, and how an old one becomes a current one.

1. A document of version n > 1 carries the version as its first field: ``{"$v":3,"session":"a"}``. It is put there
   when the record has been encoded and taken off before it is decoded, so no record ever shows it.
2. A document without that field is of version 1. So a table that never had versions needs no change to get some.
3. Upgrade function n turns a document of version n into one of version n + 1, as plain Python values. It gets values
   that were decoded for it alone, and what it returns is encoded again before anybody sees it.
4. A document of a later version than the program declares is refused by whoever would read it or build on it: what
   is in it cannot be known here.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from .errors import UnsupportedFormatError, UsageError, ValidationError
from .paths import show

__all__ = ["BEHIND_MARKERS", "VERSION_FIELD", "Upgrade", "Versions"]

VERSION_FIELD = "$v"
BEHIND_MARKERS = b'{"$v;'
"""No document that begins with a marker sorts at or behind this: one comparison clears nearly all others."""

Upgrade = Callable[[Any], Any]
"""From a document of version n, as `dict`, `list`, `str` and so on, to the document of version n + 1, a `dict`."""


class _Marker(msgspec.Struct, rename={"version": VERSION_FIELD}):
    version: Any = msgspec.UNSET


_read_marker = msgspec.json.Decoder(_Marker).decode
_decode_document = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Versions:
    """The version that a table declares, and the way there from earlier ones."""

    def __init__(self, table: str, version: int = 1, upgrades: Mapping[int, Upgrade] | None = None):
        """Check what the program declares.

        Args:
            table: the table's name, for messages.
            version: of the documents that are written from now on, at least 1.
            upgrades: for every earlier version the function that leads to the next one.

        Raises:
            UsageError: no version, or an upgrade function is missing or one too many.
        """
        if type(version) is not int or version < 1:
            raise UsageError(f"table {table!r}: version is {version!r}; it must be a whole number of at least 1")
        if not isinstance(upgrades, Mapping | None):
            raise UsageError(f"table {table!r}: upgrades is {upgrades!r}; it must be a dict from version to function")
        self.version = version
        self._table = table
        self._upgrades = dict(upgrades or {})
        self._marker = b'{"%b":%d,' % (VERSION_FIELD.encode(), version)
        for step in range(1, version):
            if not callable(self._upgrades.get(step)):
                raise UsageError(
                    f"table {table!r}: version={version} needs a function from version {step} to {step + 1}; "
                    f"next: give upgrades={{{step}: ...}}, one for every version from 1 on"
                )
        for step in self._upgrades:
            if step not in range(1, version):
                raise UsageError(f"table {table!r}: upgrades holds {step!r}, which is no version below {version}")

    def marked(self, document: bytes) -> bytes:
        """The document of the declared version, as it is stored."""
        if self.version == 1:
            return document
        return self._marker + document[1:] if len(document) > 2 else self._marker[:-1] + b"}"

    def is_current(self, image: bytes) -> bool:
        """Whether the stored document is of the declared version."""
        if image.startswith(self._marker):
            return True
        marker = _marker(image)
        return not _is_version(marker) if self.version == 1 else marker == self.version and _is_version(marker)

    def split(self, key: str, image: bytes) -> tuple[int, bytes]:
        """A stored document's version, and the document without its marker.

        Raises:
            UnsupportedFormatError: it is of a later version than declared.
            ValidationError: what stands in the marker's place is no version.
        """
        if image.startswith(self._marker):
            return self.version, b"{" + image[len(self._marker) :]
        marker = _marker(image)
        if marker is msgspec.UNSET:
            return 1, image
        self.refuse_later(key, marker)
        if self.version == 1:
            return 1, image  # a field that only happens to have this name
        if not _is_version(marker):
            raise ValidationError(
                f"the stored field {VERSION_FIELD!r} is kept for the record's version, and {show(marker)} is none; "
                "next: rename the field through an untyped table without version=",
                table=self._table, key=key, path=f"$.{VERSION_FIELD}",
            )  # fmt: skip
        document = _decode_document(image)  # in another order, with spaces, or of an earlier version
        del document[VERSION_FIELD]
        return marker, _encode(document)

    def refuse_later(self, key: str, marker: object) -> None:
        """Do nothing, if this is no marker of a later version.

        Raises:
            UnsupportedFormatError: it is.
        """
        if _is_version(marker) and marker > self.version:  # type: ignore[operator]
            raise UnsupportedFormatError(
                f"table {self._table!r}: key {key!r}: the record is of version {marker}, and this program knows "
                f"version {self.version}; the record was left as it is; next: use the newer program, or give this "
                f"one version={marker} and the upgrade functions up to there"
            )

    def check_replaced(self, key: str, image: bytes) -> None:
        """Make sure that overwriting the stored document loses nothing that this program does not know of.

        Raises:
            UnsupportedFormatError: it is of a later version than declared.
        """
        if not image.startswith(self._marker):
            self.refuse_later(key, _marker(image))

    def upgrade(self, key: str, version: int, document: Any) -> dict[str, Any]:
        """The document of the declared version that a decoded one of an earlier version becomes.

        Raises:
            ValidationError: an upgrade function failed, or returned no document.
        """
        for step in range(version, self.version):
            try:
                document = self._upgrades[step](document)
            except Exception as error:
                raise ValidationError(
                    f"the upgrade from version {step} to {step + 1} failed: {type(error).__name__}: {error}",
                    table=self._table, key=key,
                ) from error  # fmt: skip
            if not isinstance(document, dict) or VERSION_FIELD in document:
                problem = f"one with a field {VERSION_FIELD!r}" if isinstance(document, dict) else show(document)
                raise ValidationError(
                    f"the upgrade from version {step} to {step + 1} must return the document, a dict, not {problem}",
                    table=self._table, key=key,
                )  # fmt: skip
        return document  # type: ignore[no-any-return]


def _marker(image: bytes) -> Any:
    """What stands in the marker's place, wherever in the document; `msgspec.UNSET` when nothing does."""
    try:
        return _read_marker(image).version
    except msgspec.DecodeError:
        return msgspec.UNSET  # no object, so of version 1; or no JSON, which whoever decodes it will say


def _is_version(marker: object) -> bool:
    return type(marker) is int and marker > 1
