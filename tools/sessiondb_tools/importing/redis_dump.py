"""``--from redis``: dumps of Redis as JSON, in one of three forms.

* JSON Lines or an array of objects with ``key``, ``type`` and ``value``, as the gem redis-dump and RIOT write them;
* an object whose names are the keys, of objects with ``type`` and ``value``, as redis-dump-load writes it;
* an array of one object for each database, whose names are the keys, as ``rdb --command json`` writes it; it does not
  say what has a time to live.

A value is stored as it stands in the dump: hashes are objects, lists and sets arrays, sorted sets arrays of pairs.
Strings are text; ``--values json`` reads the text of each string as JSON, which is how programs keep records in Redis.

A time to live is counted from a moment that the dump does not say, so only an absolute time (``expireat``,
``pexpireat``) can be over: such an entry is left out and counted. All others with a time are refused, unless the user
says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ..json_text import Element, JsonProblem, elements, parse
from .source import Choices, Expired, Found, Unreadable, input_error, own_problem
from .text_file import TextFile
from .values import ValueProblem, decode, made

__all__ = ["TYPES", "RedisDump", "is_item", "open_source"]

SHAPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "hash": (dict,), "list": (list,), "set": (list,), "zset": (list, dict), "json": (str,),
}  # fmt: skip
"""What the value of each type looks like; of others, as streams, anything goes."""
TYPES = {*SHAPES, "stream", "none", "ReJSON-RL"}
GONE = -2
"""The time to live of a key that is not there any more."""


def is_item(value: Any, *names: str) -> bool:
    """Whether a value describes one key of a dump."""
    return isinstance(value, dict) and isinstance(value.get("type"), str) and all(name in value for name in names)


def open_source(path: str, choices: Choices) -> RedisDump:
    """The dump."""
    if choices.values not in (None, "text", "json"):
        raise own_problem(path, f"--values {choices.values} is not for dumps of Redis", "choose text or json")
    return RedisDump(TextFile(path), choices)


class RedisDump:
    """The keys of one database."""

    in_order = False

    def __init__(self, file: TextFile, choices: Choices):
        self.name = file.name
        self._file = file
        self._choices = choices
        self._loaded: list[Element] | None = None
        self._database: str | None = None
        try:
            self._first = file.first_character()
            if self._first not in ("{", "["):
                found = f"it begins with {self._first!r}" if self._first else "it is empty"
                raise own_problem(self.name, f"no dump of Redis: {found}", "choose another kind with --from")
            if self._first == "[" or not self._is_lines():
                self._loaded = list(self._elements())
        except BaseException:
            self.close()
            raise

    def _is_lines(self) -> bool:
        try:
            return is_item(parse(next(iter(self._file.lines())).data), "key", "value")
        except JsonProblem:
            return False

    def _elements(self) -> Iterator[Element]:
        try:
            yield from elements(self._file.text())
        except JsonProblem as problem:
            raise input_error(self.name, f"line {problem.line}", str(problem)) from None

    def __iter__(self) -> Iterator[Found]:
        self._database = None
        for place, key, item, database in self._items():
            if self._is_of(database, place):
                yield self._found(place, key, item)

    def _items(self) -> Iterator[tuple[str, Any, dict[str, Any], str]]:
        """Place, key, description and database of each key."""
        if self._loaded is None:
            for line in self._file.lines():
                place = f"line {line.number}"
                try:
                    item = parse(line.data)
                except JsonProblem as problem:
                    raise input_error(self.name, place, str(problem)) from None
                yield self._described(place, item)
        elif self._first == "{":
            for element in self._loaded:
                place = f"line {element.line}"
                if not is_item(element.value, "value"):
                    raise self._no_item(place)
                yield place, element.name, element.value, str(element.value.get("db", 0))
        else:
            for number, element in enumerate(self._loaded):
                yield from self._of_array(number, element)

    def _of_array(self, number: int, element: Element) -> Iterator[tuple[str, Any, dict[str, Any], str]]:
        place = f"record {number + 1} (line {element.line})"
        if is_item(element.value, "key"):
            yield self._described(place, element.value)
        elif isinstance(element.value, dict):
            for key, value in element.value.items():
                yield f"database {number}", key, {"value": value}, str(number)
        else:
            raise self._no_item(place)

    def _described(self, place: str, item: Any) -> tuple[str, Any, dict[str, Any], str]:
        if not is_item(item, "key"):
            raise self._no_item(place)
        return place, item["key"], item, str(item.get("db", 0))

    def _no_item(self, place: str) -> Exception:
        return own_problem(
            f"{self.name}, {place}", "no key of Redis: an object with key, type and value is expected",
            "choose another kind with --from",
        )  # fmt: skip

    def _is_of(self, database: str, place: str) -> bool:
        chosen = self._choices.source_table
        if chosen is not None:
            return database == chosen
        if self._database is None:
            self._database = database
        if database != self._database:
            raise own_problem(
                f"{self.name}, {place}", f"it has the databases {self._database} and {database}",
                "choose one with --source-table NUMBER",
            )  # fmt: skip
        return True

    # ---- one key

    def _found(self, place: str, key: Any, item: dict[str, Any]) -> Found:
        if not isinstance(key, str):
            return Unreadable(place, repr(key)[:100], "the key is no text")
        try:
            expires = self._expiry(item)
        except ValueProblem as problem:
            return Unreadable(place, key, str(problem))
        if expires is None or item.get("type") == "none":
            return Expired(place)
        return made(self._choices, place, lambda: key, partial(self._value, item), expires)

    def _expiry(self, item: dict[str, Any]) -> str | None:
        """When the entry expires, "" if never, ``None`` if it has."""
        for field, unit in (("expireat", 1.0), ("pexpireat", 0.001)):
            moment = item.get(field)
            if moment is not None:
                at = _number(field, moment) * unit
                return None if at <= self._choices.now else f"at {_moment(at)}"
        for field, unit_text in (("ttl", "s"), ("pttl", "ms")):
            left = item.get(field)
            if left is not None and _number(field, left) >= 0:
                return f"{left} {unit_text} after the dump was made"
            if left == GONE:
                return None
        return ""

    def _value(self, item: dict[str, Any]) -> Any:
        kind, value = item.get("type"), item.get("value")
        if "value" not in item:
            raise ValueProblem("it has no value")
        shape = SHAPES.get(kind or "")
        if shape is not None and not isinstance(value, shape):
            raise ValueProblem(f"the value of a {kind} is a {type(value).__name__}")
        is_json = kind == "json" or (kind in ("string", None) and self._choices.values == "json")
        return decode(value.encode("utf-8", "surrogatepass"), "json") if is_json and isinstance(value, str) else value

    def remarks(self) -> list[str]:
        """Nothing else is left out."""
        return []

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _number(field: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise ValueProblem(f"its {field} is {value!r:.60}, which is no number")
    return value


def _moment(at: float) -> str:
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return repr(at)
