"""Printing: aligned text for people, JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

__all__ = [
    "as_text",
    "as_time",
    "compact",
    "count",
    "indexes_of",
    "print_fields",
    "print_json",
    "print_record",
    "print_table",
    "say_absent",
    "shown",
]


def print_json(value: object) -> None:
    """Print a value as one line of JSON; bytes become base64."""
    sys.stdout.write(compact(value) + "\n")


def print_record(key: str, record: object, *, keys_only: bool, as_json: bool) -> None:
    """Print a record in one line: the key, a tab and JSON, or all as JSON."""
    if as_json:
        print_json({"key": key} if keys_only else {"key": key, "record": record})
    else:
        sys.stdout.write(shown(key) + ("\n" if keys_only else f"\t{compact(record)}\n"))


def say_absent(verb: str, key: str, table: str, location: str) -> None:
    """Say on stderr that a record is not there."""
    sys.stdout.flush()
    print(
        f"sessiondb {verb}: there is no record {shown(key)} in table {table!r} of {location}; "
        "next: `sessiondb list --keys` prints the keys",
        file=sys.stderr,
    )


def compact(value: object) -> str:
    """A value as JSON in one line."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # a path that is no UTF-8
        import json

        return json.dumps(msgspec.to_builtins(value), separators=(",", ":"))


def as_text(record: Any) -> str:
    """A record as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2).decode()


def as_time(us: int) -> str:
    """Microseconds since 1970 in UTC, ISO 8601; as a number where that cannot be."""
    seconds, rest = divmod(us, 1_000_000)
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:06d}Z"
    except (OverflowError, ValueError, OSError):
        return f"{us} us"


def shown(text: str) -> str:
    """A key or name as it is, or as a JSON string where it would not show plainly in a terminal."""
    plain = text.isprintable() and text and not text[0].isspace() and not text[-1].isspace() and text[0] != '"'
    if plain:
        return text
    import json  # not for every start of the command

    return json.dumps(text)


def count(number: int, noun: str) -> str:
    """``1 record``, ``2,000 records``, ``3 batches``."""
    ending = "" if number == 1 else "es" if noun.endswith(("s", "ch")) else "s"
    return f"{number:,} {noun}{ending}"


def indexes_of(fields: Sequence[str]) -> str:
    """What to put behind a table's name: nothing when it has no index."""
    noun = "index" if len(fields) == 1 else "indexes"
    return f", {noun} on {', '.join(map(shown, fields))}" if fields else ""


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns; an empty name goes on with the value above."""
    rows = list(fields)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def print_table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows in aligned columns; those numbered in `right` are aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
