"""Words for what a table cannot store or read: what, where in the record, and why."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from .errors import ValidationError
from .paths import children, find_path, first_difference, has_surrogate, show, split_message
from .versions import VERSION_FIELD

__all__ = ["Refusals"]


class Refusals:
    """Makes the errors of one table's codec. Not on the way of a good record."""

    def __init__(self, table: str, type: str, encode: Callable[[object], bytes]):
        """Prepare for a table.

        Args:
            table: its name.
            type: the name of its records' type.
            encode: makes JSON of a value.
        """
        self._table = table
        self._type = type
        self._encode = encode

    def no_record(self, key: str, error: Exception, what: str = "the stored record") -> ValidationError:
        """Stored bytes that do not fit the type."""
        problem, path = split_message(str(error))
        return ValidationError(f"{what} is no {self._type}: {problem}", table=self._table, key=key, path=path)

    def reserved(self, key: str) -> ValidationError:
        """A field of the caller's own where the version belongs."""
        return ValidationError(
            f"the field {VERSION_FIELD!r} is kept for the record's version",
            table=self._table, key=key, path=f"$.{VERSION_FIELD}",
        )  # fmt: skip

    def refused(self, key: str, record: object, error: Exception) -> Exception:
        """What encoding or decoding again has raised, as an error of ours; what is none of the record's, as it is."""
        if isinstance(error, OverflowError):
            path = find_path(record, "$", lambda value: isinstance(value, int) and not -(2**63) <= value < 2**64)
            return ValidationError("an integer does not fit in 64 bits", table=self._table, key=key, path=path or "$")
        if isinstance(error, UnicodeEncodeError):
            path = find_path(record, "$", has_surrogate)
            return ValidationError("text holds a lone surrogate", table=self._table, key=key, path=path or "$")
        if isinstance(error, RecursionError):
            return ValidationError("the record is nested too deeply", table=self._table, key=key)
        if isinstance(error, (msgspec.MsgspecError, TypeError, ValueError)):
            problem, path = split_message(str(error))
            if path == "$" and not isinstance(error, msgspec.MsgspecError):
                path = find_path(record, "$", self._is_unencodable) or "$"
            return ValidationError(problem, table=self._table, key=key, path=path)
        if isinstance(error, LookupError):  # a KeyError would say that there is no such record
            return ValidationError(f"a hook raised {error!r}", table=self._table, key=key)
        return error

    def _is_unencodable(self, value: object) -> bool:
        if children(value, "$"):
            return False  # what is inside it is looked at by itself
        try:
            self._encode(value)
        except (TypeError, ValueError, msgspec.MsgspecError):
            return True
        return False

    def changed(self, key: str, record: object, decoded: object, path: str = "$") -> ValidationError:
        """A record that would not come back equal."""
        where, before, after = first_difference(record, decoded, path)
        return ValidationError(
            f"{show(before)} cannot be stored: it would come back as {show(after)}",
            table=self._table, key=key, path=where,
        )  # fmt: skip
