"""The first reading of a source: everything is looked at before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sessiondb.codec import RecordCodec, check_key
from sessiondb.errors import TransactionTooLargeError, ValidationError

from ..exit_codes import NOT_DONE, CommandError
from ..output import shown
from .source import Entry, Expired, Found, Source, Unreadable, input_error

__all__ = ["Verdict", "accepted", "check_source", "judged"]


@dataclass
class Verdict:
    """What the first reading found."""

    keys: set[str] = field(default_factory=set)
    """Of the records that can be stored."""
    left_out: set[int] = field(default_factory=set)
    """The numbers, from 0, of the others."""
    unreadable: int = 0
    expired: int = 0
    expiring: int = 0
    example: Entry | None = None
    """The first record that will expire."""


def check_source(
    source: Source, table: str, record_type: Any, *, skip: bool, report: Callable[[Unreadable], None]
) -> Verdict:
    """Read everything once; memory is needed for the keys only.

    Args:
        source: what is read.
        table: for messages.
        record_type: `bytes`, or `Any`.
        skip: entries that cannot be stored are left out.
        report: is called for each of them.

    Raises:
        CommandError: something that makes reading on pointless; in a text that is read in order also the first entry
            that cannot be stored, unless it may be skipped.
    """
    verdict = Verdict()
    for number, found in enumerate(judged(source, table, record_type, stop=source.in_order and not skip)):
        if isinstance(found, Entry):
            verdict.keys.add(found.key)
            if found.expires:
                verdict.expiring += 1
                verdict.example = verdict.example or found
            continue
        verdict.left_out.add(number)
        if isinstance(found, Expired):
            verdict.expired += 1
        else:
            verdict.unreadable += 1
            report(found)
    return verdict


def judged(source: Source, table: str, record_type: Any = Any, *, stop: bool) -> Iterator[Found]:
    """What the source gives, with entries that cannot be stored as unreadable ones; of equal keys the first counts.

    Args:
        source: what is read.
        table: for messages.
        record_type: `bytes`, or `Any`.
        stop: raise for the first entry that cannot be stored.

    Raises:
        CommandError: see `stop`.
    """
    codec: RecordCodec[Any] = RecordCodec(table, record_type)
    keys: set[str] = set()
    for found in source:
        if isinstance(found, Entry):
            if found.key in keys:
                first = f", in {_first_place(source, found.key)}" if stop else ""
                found = Unreadable(found.place, found.key, f"the key {shown(found.key)} is there already{first}")
            else:
                found = _storable(codec, table, found)
        if isinstance(found, Entry):
            keys.add(found.key)
        elif stop and isinstance(found, Unreadable):
            raise input_error(source.name, found.place, found.problem)
        yield found


def _storable(codec: RecordCodec[Any], table: str, entry: Entry) -> Entry | Unreadable:
    try:
        check_key(table, entry.key)
        codec.encode(entry.key, entry.record)
    except (ValidationError, TransactionTooLargeError) as error:
        return Unreadable(entry.place, entry.key, str(error))
    return entry


def _first_place(source: Source, key: str) -> str:
    return next(other.place for other in source if isinstance(other, Entry) and other.key == key)


def accepted(source: Source, verdict: Verdict) -> Iterator[Entry]:
    """The records that were found good, read again.

    Raises:
        CommandError: the source is not what it was.
    """
    number = -1
    missing = len(verdict.keys)
    for number, found in enumerate(source):
        if number in verdict.left_out:
            continue
        if not isinstance(found, Entry) or found.key not in verdict.keys:
            raise CommandError(f"{source.name}, {found.place}: it is not what it was when it was checked", NOT_DONE)
        missing -= 1
        yield found
    if missing:
        raise CommandError(f"{source.name}: {missing:,} records that were checked are not there any more", NOT_DONE)
