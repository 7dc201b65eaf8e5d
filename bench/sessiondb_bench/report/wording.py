"""Numbers and names as people read them: units always, three digits, one line, no control characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from ..results import GUARANTEES, Measurement

__all__ = [
    "amount", "clock", "count_of", "duration", "listing", "named", "plain", "rate", "ratio", "series_name", "settings",
    "shortened", "size", "survives", "threads_of",
]  # fmt: skip

NOTHING = "—"
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: str) -> str:
    """One line that shows what it holds: control and direction characters become visible escapes."""
    spaced = " ".join(text.split())
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(character) in _HIDDEN
        else character
        for character in spaced
    )


def shortened(text: str, longest: int) -> str:
    """At most so many characters, the middle left out: the ends of names tell them apart."""
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[len(text) - tail :]}"


def amount(value: float) -> str:
    """Three significant digits, in plain notation as far as anybody reads it so."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 1e15 or magnitude < 1e-4:
        return f"{value:.2e}"
    if magnitude >= 99.95:
        return f"{value:,.0f}"
    if magnitude >= 9.995:
        return f"{value:.1f}"
    return f"{value:.2f}" if magnitude >= 0.0995 else f"{value:.2g}"


def _scaled(value: float, step: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if abs(value) < step * 0.9995:
            return f"{amount(value)} {unit}"
        value /= step
    return f"{amount(value)} {units[-1]}"


def duration(microseconds: float) -> str:
    """A time, in microseconds, milliseconds or seconds."""
    return _scaled(microseconds, 1000, ("µs", "ms", "s"))


def size(number: float) -> str:
    """Bytes, in steps of 1,024."""
    few = f"{number:,.0f} B" if number == int(number) else f"{amount(number)} B"
    return few if abs(number) < 1023.5 else _scaled(number / 1024, 1024, ("KiB", "MiB", "GiB", "TiB"))


def ratio(value: float | None) -> str:
    """How many times the floor."""
    return NOTHING if value is None else f"{amount(value)}×"


def rate(per_second: float, unit: str) -> str:
    """A throughput; nothing where it was not taken."""
    return f"{amount(per_second)} {plain(unit)}/s" if per_second else NOTHING


def count_of(name: str, value: float) -> str:
    """What was counted, in the unit that the end of its name says."""
    if name == "bytes" or name.endswith("_bytes"):
        return size(value)
    if name.endswith(("_us", "_ms")):
        return duration(value * (1000 if name.endswith("_ms") else 1))
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else amount(value)


def clock(started: str) -> str:
    """A date that `checking` has accepted, to the minute."""
    return plain(started).replace("T", " ")[:16]


def named(number: int, one: str, many: str = "") -> str:
    """A count with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def threads_of(number: int) -> str:
    """``1 thread``, ``8 threads``."""
    return named(number, "thread")


def listing(words: Iterable[str], most: int = 12) -> str:
    """Words with commas between them, the rest counted."""
    every = list(words)
    shown = ", ".join(every[:most])
    return f"{shown} and {len(every) - most:,} more" if len(every) > most else shown


def survives(guarantee: str) -> str:
    """The heading of everything that may be compared."""
    return f"What a write survives here: {GUARANTEES[guarantee].replace(': ', ', ')}"


def series_name(measurement: Measurement) -> str:
    """Store, sync level, and whose store it is where it is not sessiondb's."""
    store, sync = plain(measurement.store), plain(measurement.sync)
    name = store if not sync or sync.casefold() in store.casefold() else f"{store}, {sync}"
    return name if measurement.kind == "sessiondb" else f"{measurement.kind}: {name}"


def settings(measurement: Measurement, *, threads: bool = True) -> str:
    """Size and number of records, and threads."""
    parts = [f"{size(measurement.record_bytes)} a record"] if measurement.record_bytes else []
    if measurement.records:
        parts.append(f"{measurement.records:,} in the store")
    if threads:
        parts.append(threads_of(measurement.threads))
    return ", ".join(parts)
