"""Where in a record something is: finding the reason why one cannot be stored. Not on the way of a good one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

__all__ = [
    "Attributes",
    "children",
    "compares_by_identity",
    "find_path",
    "first_difference",
    "has_surrogate",
    "nesting_depth",
    "show",
    "split_message",
]

_PATH = re.compile(r" - at `(\$[^`]*)`$")


def compares_by_identity(value: object) -> bool:
    """Whether the value's type does not say what equal is."""
    if isinstance(value, msgspec.Struct):
        return not value.__struct_config__.eq
    return type(value).__eq__ is object.__eq__


def split_message(message: str) -> tuple[str, str]:
    """A message of msgspec as problem and path."""
    match = _PATH.search(message)
    return (message, "$") if match is None else (message[: match.start()], match[1])


_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')


def nesting_depth(image: bytes) -> int:
    """How deeply compact JSON is nested."""
    depth = deepest = 0
    for byte in _STRING.sub(b"", image):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def show(value: object) -> str:
    """The value and its type, short enough for a message."""
    text = f"{value!r} ({type(value).__name__})"
    return text if len(text) <= 120 else f"{text[:100]}... ({type(value).__name__})"


def has_surrogate(value: object) -> bool:
    """Whether it is text that UTF-8 cannot hold."""
    return isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value)


class Attributes(Mapping[str, Any]):
    """A record's attributes as a mapping."""

    def __init__(self, record: object):
        self._record = record

    def __getitem__(self, name: str) -> Any:
        return getattr(self._record, name)

    def __iter__(self) -> Iterator[str]:
        return iter(_attribute_names(self._record))

    def __len__(self) -> int:
        return len(_attribute_names(self._record))


def _attribute_names(record: Any) -> tuple[str, ...]:
    if isinstance(record, msgspec.Struct):
        return record.__struct_fields__
    if hasattr(type(record), "__dataclass_fields__"):
        import dataclasses  # imports a lot, and who has one has imported it

        return tuple(field.name for field in dataclasses.fields(record))
    return ()


def children(value: object, path: str) -> list[tuple[Any, object, str]]:
    """What is directly inside a value: name or index, child, path."""
    if isinstance(value, Mapping):
        return [(name, child, f"{path}.{name}") for name, child in value.items()]
    if isinstance(value, (list, tuple)):
        return [(index, child, f"{path}[{index}]") for index, child in enumerate(value)]
    return [(name, getattr(value, name), f"{path}.{name}") for name in _attribute_names(value)]


def find_path(value: object, path: str, wanted: Callable[[object], bool], depth: int = 0) -> str | None:
    """The path to the first value that is wanted, keys of dicts included."""
    if wanted(value):
        return path
    if depth > 200:
        return None
    for name, child, where in children(value, path):
        if wanted(name):
            return where
        found = find_path(child, where, wanted, depth + 1)
        if found is not None:
            return found
    return None


def first_difference(before: object, after: object, path: str, depth: int = 0) -> tuple[str, object, object]:
    """The innermost place where two values differ."""
    if depth < 200 and type(before) is type(after):
        others = {name: child for name, child, _ in children(after, path)}
        mine = children(before, path)
        if [name for name, _, _ in mine] == list(others):
            for name, child, where in mine:
                if child != others[name]:
                    return first_difference(child, others[name], where, depth + 1)
    return path, before, after
