"""JSON text as the command reads it: strict, so that nothing of the input is lost on the way.

Python's own reader takes ``NaN`` and, of a name that stands twice in an object, keeps the last: both are refused
here. What a record may hold beyond that is checked by the engine's codec.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

__all__ = ["BOM", "Element", "JsonProblem", "elements", "parse", "text_of"]

BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\n\r]*")


class JsonProblem(Exception):
    """The text is no JSON that could be stored: why, and in which line (counted from 1)."""

    def __init__(self, problem: str, line: int = 1):
        super().__init__(problem)
        self.line = line


class Element(NamedTuple):
    """One element of an array, or one member of an object."""

    line: int
    """Where it begins."""
    name: str
    """The member's name; "" in an array."""
    value: Any
    size: int
    """Length of its text."""


def text_of(data: bytes) -> str:
    """UTF-8 bytes as text, without a byte order mark."""
    try:
        return data.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JsonProblem(f"not UTF-8 (byte 0x{error.object[error.start]:02x})", line) from None


def parse(given: str | bytes) -> Any:
    """The one value of a text."""
    text = text_of(given) if isinstance(given, bytes) else given
    value, end = _value(text, _skip(text, 0))
    _must_end(text, end)
    return value


def elements(text: str) -> Iterator[Element]:
    """The elements of the array, or the members of the object, that a text is; read one by one.

    Raises:
        JsonProblem: while iterating, where the text stops being one.
    """
    at = _skip(text, 0)
    kind = text[at : at + 1]
    if kind not in ("[", "{"):
        raise JsonProblem(f"neither an array nor an object, but {_excerpt(text, at)}", _line(text, at))
    closing = "]" if kind == "[" else "}"
    line, counted = 1, 0
    at = _skip(text, at + 1)
    first = True
    while text[at : at + 1] != closing or not first:
        start, name = at, ""
        if kind == "{":
            name, at = _name(text, at)
        value, end = _value(text, at)
        line, counted = line + text.count("\n", counted, start), start
        yield Element(line, name, value, end - start)
        first = False
        at = _skip(text, end)
        if text[at : at + 1] == closing:
            break
        if text[at : at + 1] != ",":
            raise JsonProblem(f"expected ',' or '{closing}', found {_excerpt(text, at)}", _line(text, at))
        at = _skip(text, at + 1)
    _must_end(text, at + 1)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _value(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at an offset, and the offset behind it."""
    try:
        return _decoder.raw_decode(text, at)
    except json.JSONDecodeError as error:
        where = f"column {error.colno}, {_excerpt(text, error.pos)}"
        raise JsonProblem(f"{error.msg} ({where})", error.lineno) from None
    except RecursionError:
        raise JsonProblem("nested too deeply", _line(text, at)) from None
    except ValueError as error:  # from the two functions above, or a number of more than 4,300 digits
        raise JsonProblem(str(error), _line(text, at)) from None


def _name(text: str, at: int) -> tuple[str, int]:
    """The member's name at an offset, and the offset of its value."""
    if text[at : at + 1] != '"':
        raise JsonProblem(f"expected a name in double quotes, found {_excerpt(text, at)}", _line(text, at))
    name, at = _value(text, at)
    at = _skip(text, at)
    if text[at : at + 1] != ":":
        raise JsonProblem(f"expected ':' behind the name {name!r}, found {_excerpt(text, at)}", _line(text, at))
    return name, _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # it matches nothing, too
    return match.end()


def _must_end(text: str, at: int) -> None:
    at = _skip(text, at)
    if at != len(text):
        raise JsonProblem(f"the value has ended, but there is more: {_excerpt(text, at)}", _line(text, at))


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _excerpt(text: str, at: int) -> str:
    rest = text[at : at + 20].split("\n")[0]
    return repr(rest) if rest else "the end of the line" if at < len(text) else "the end"
