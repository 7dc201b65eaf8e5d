"""Codecs of sessions: one for which what is no session is an error, and one that hands it on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..codec import RecordCodec
from ..errors import UnsupportedFormatError, ValidationError
from .record import SessionMisfit, SessionRecord

__all__ = ["LenientCodec", "Listed", "SessionCodec", "document_of"]

Listed = SessionRecord | SessionMisfit


class SessionCodec(RecordCodec[SessionRecord]):
    """The codec of the table, for which a session under another key than its id is none."""

    def __init__(self, table: str):
        super().__init__(table, SessionRecord, id="session")

    def decode(self, key: str, image: bytes) -> SessionRecord:
        """The session.

        Raises:
            ValidationError: it is none.
        """
        return self._checked(key, super().decode(key, image))

    def patch(self, key: str, image: bytes, changes: Mapping[str, Any]) -> tuple[bytes, SessionRecord]:
        """The stored document with some fields changed; see `RecordCodec.patch`."""
        patched, record = super().patch(key, image, changes)
        return patched, self._checked(key, record)

    def keep_unknown(self, key: str, before: bytes, after: bytes) -> bytes:
        """`after`, with the fields of `before` that sessions do not have, and in its order of fields."""
        fields = self._raw_fields(key, super().keep_unknown(key, before, after))
        ordered = {name: fields.pop(name) for name in self._raw_fields(key, before) if name in fields}
        return self._encode(ordered | fields)

    def _checked(self, key: str, record: SessionRecord) -> SessionRecord:
        if record.session != key:
            raise ValidationError(
                f"the stored record's 'session' is {record.session!r:.80}, not the key it is stored under",
                table=self.table, key=key, path="$.session",
            )  # fmt: skip
        return record


class LenientCodec(RecordCodec[Any]):
    """For reading only: what is no session becomes a `SessionMisfit`."""

    def __init__(self, table: str):
        super().__init__(table, SessionRecord, id="session")
        self._strict = SessionCodec(table)

    def decode(self, key: str, image: bytes) -> Listed:
        """The session, or what is stored in its place."""
        try:
            return self._strict.decode(key, image)
        except ValidationError as error:
            return SessionMisfit(key, error.path, error.problem, document_of(image), error)
        except UnsupportedFormatError as error:
            return SessionMisfit(key, "$", str(error), document_of(image), error)


def document_of(image: bytes) -> Any:
    """What is stored, whatever it is: decoded JSON, or text that is none."""
    try:
        return msgspec.json.decode(image)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return image.decode(errors="replace")
