"""JSON text that is changed in places: everything that is not changed keeps its bytes. Pure.

A *container* is an array or object as it stands in a file: its bracket, its items with the white space around them, and
its end. Putting it together again gives the same bytes; replacing one item changes that item only. New text is laid out
as its neighbours are: `Style`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec

__all__ = [
    "Frame",
    "Item",
    "Repeated",
    "Span",
    "Style",
    "TextError",
    "compact",
    "edit_object",
    "fields",
    "join",
    "read_items",
    "render",
    "scan",
    "skip_white",
    "style_of",
]


class TextError(ValueError):
    """What is wrong, and at which character of the text."""

    def __init__(self, problem: str, index: int):
        super().__init__(problem)
        self.problem = problem
        self.index = index


class Repeated(dict[str, Any]):
    """An object in which a name stands twice."""


class Span(NamedTuple):
    """Where an item of a container stands in the text, and what it is."""

    lead: int
    """Where the white space before it begins."""
    label: int
    """Where its name begins; in an array the same as `start`."""
    start: int
    end: int
    after: int
    """Where the white space behind it ends."""
    name: str
    """Empty in an array."""
    value: Any
    """Decoded, but for numbers: what they are is never asked."""


class Item(NamedTuple):
    """One item of a container, as bytes."""

    lead: bytes
    """The white space before it."""
    name: bytes
    """In an object, the name as it is written."""
    colon: bytes
    """In an object, the colon with the white space around it."""
    body: bytes
    trail: bytes = b""
    """The white space behind it, if it is not the last."""


class Frame(NamedTuple):
    """What stands around the items of an array or object."""

    opening: bytes
    first_lead: bytes | None
    """The white space before the first item; ``None``: there has been none."""
    closing: bytes
    """The bracket, and the white space before it."""


class Style(NamedTuple):
    """How a value is laid out."""

    newline: bytes = b"\n"
    """Empty: all on one line."""
    unit: bytes = b"  "
    """Of indentation."""
    colon: bytes = b": "
    space: bytes = b""
    """Behind a comma, on one line."""


_WHITE = re.compile(r"[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^"\[\]{}:,]+')
_decode_value = msgspec.json.decode
_encode_value = msgspec.json.encode


def _number(_: str) -> int:
    return 0  # neither how large nor how exact it is matters here


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(found)


_decode = json.JSONDecoder(
    parse_int=_number, parse_float=_number, parse_constant=_constant, object_pairs_hook=_object
).raw_decode


def skip_white(text: str, index: int) -> int:
    """The index of the next character that is no white space."""
    found = _WHITE.match(text, index)
    assert found is not None  # it matches nothing at all, too
    return found.end()


def _value(text: str, index: int) -> tuple[Any, int]:
    try:
        return _decode(text, index)
    except json.JSONDecodeError as error:
        raise TextError(f"no JSON: {error.msg.lower()}", error.pos) from error
    except ValueError as error:
        raise TextError(str(error), index) from error
    except RecursionError as error:
        raise TextError("nested too deep", index) from error


def scan(text: str, start: int) -> tuple[list[Span], int]:
    """The items of the array or object at `start`, and where it ends.

    Raises:
        TextError: it is no JSON.
    """
    closing = "]" if text[start] == "[" else "}"
    spans: list[Span] = []
    lead = start + 1
    index = skip_white(text, lead)
    if text[index : index + 1] == closing:
        return spans, index + 1
    while True:
        label, name = index, ""
        if closing == "}":
            name, index = _label(text, index)
        value, end = _value(text, index)
        after = skip_white(text, end)
        spans.append(Span(lead, label, index, end, after, name, value))
        if text[after : after + 1] == closing:
            return spans, after + 1
        if text[after : after + 1] != ",":
            raise TextError(f"no JSON: a comma or {closing} is missing", after)
        lead = after + 1
        index = skip_white(text, lead)


def _label(text: str, index: int) -> tuple[str, int]:
    if text[index : index + 1] != '"':
        raise TextError("no JSON: a name in quotes is missing", index)
    name, end = _value(text, index)
    colon = _COLON.match(text, end)
    if colon is None:
        raise TextError("no JSON: a colon is missing", end)
    return name, colon.end()


def read_items(text: str, start: int, spans: list[Span], end: int) -> tuple[Frame, list[Item]]:
    """What `scan` found, as bytes."""
    items = []
    for span in spans:
        label = text[span.label : span.start]
        name, colon, behind = label.rpartition(":")  # the white space behind the colon holds none
        quoted = name.rstrip(" \t\n\r")
        items.append(
            Item(
                text[span.lead : span.label].encode(),
                quoted.encode(),
                (name[len(quoted) :] + colon + behind).encode(),
                text[span.start : span.end].encode(),
                text[span.end : span.after].encode(),
            )
        )
    closing = start + 1
    if items:
        closing = spans[-1].end  # the white space behind the last belongs to the bracket
        items[-1] = items[-1]._replace(trail=b"")
    return Frame(text[start].encode(), items[0].lead if items else None, text[closing:end].encode()), items


def join(frame: Frame, items: Sequence[Item]) -> bytes:
    """The text of an array or object."""
    if not items:
        return frame.opening + (frame.closing if frame.first_lead is None else frame.closing.lstrip())
    parts = [frame.opening]
    for number, item in enumerate(items):
        if number:
            parts += (b",", item.lead)
        else:
            parts.append(item.lead if frame.first_lead is None else frame.first_lead)
        parts += (item.name, item.colon, item.body)
        if number < len(items) - 1:
            parts.append(item.trail)
    parts.append(frame.closing)
    return b"".join(parts)


def compact(body: bytes) -> bytes:
    """The value without white space between its parts; numbers and strings keep their text.

    Raises:
        ValueError: a number or string that no record can hold.
    """
    _decode_value(body)
    return msgspec.json.format(body, indent=-1)


def style_of(items: Sequence[Item], pad: bytes) -> Style:
    """How an object with these fields, at this indentation, is laid out; the usual way where it does not show."""
    if not items:
        return Style()
    colon = items[0].colon or b": "
    newline = _newline(items[0].lead)
    if not newline:
        return Style(b"", b"", colon, items[1].lead if len(items) > 1 else b" " * colon.endswith(b" "))
    inner = items[0].lead.rpartition(b"\n")[2]
    unit = inner[len(pad) :] if inner.startswith(pad) and len(inner) > len(pad) else b"  "
    return Style(newline, unit, colon)


def _newline(lead: bytes) -> bytes:
    return b"\r\n" if b"\r\n" in lead else b"\n" if b"\n" in lead else b""


def render(image: bytes, style: Style, pad: bytes) -> bytes:
    """Compact JSON text, laid out; the indentation of its first line is `pad`."""
    out: list[bytes] = []
    before = b""
    for token in _TOKEN.findall(image):
        if token in (b"]", b"}"):
            pad = pad[: len(pad) - len(style.unit)]
            if before not in (b"[", b"{") and style.newline:
                out.append(style.newline + pad)
        elif before in (b"[", b"{") and style.newline:
            out.append(style.newline + pad)
        out.append(style.colon if token == b":" else token)
        if token in (b"[", b"{"):
            pad += style.unit
        elif token == b",":
            out.append(style.newline + pad if style.newline else style.space)
        before = token
    return b"".join(out)


def edit_object(body: bytes, image: bytes, pad: bytes, without: Collection[str] = ()) -> bytes:
    """An object's text after it got another value: fields that stay keep their place, equal ones their bytes too.

    Args:
        body: the object as it stands.
        image: what it is to be, compact.
        pad: the indentation it stands at.
        without: names to leave out of `image`.
    """
    frame, old = fields(body)
    style = style_of([item for _, item in old], pad)
    wanted = {name: item for name, item in fields(image)[1] if name not in without}
    items = []
    for name, item in old:
        after = wanted.pop(name, None)
        if after is not None:
            kept = _same(item.body, after.body)
            items.append(item if kept else item._replace(body=render(after.body, style, pad + style.unit)))
    lead = style.newline + pad + style.unit if style.newline else style.space
    for number, item in enumerate(wanted.values(), len(items)):
        added = render(item.body, style, pad + style.unit)
        first = lead if style.newline else b""
        items.append(Item(lead if number else first, item.name, style.colon, added))
    if not old and items and style.newline:
        frame = frame._replace(closing=style.newline + pad + b"}")
    return join(frame, items)


def fields(body: bytes) -> tuple[Frame, list[tuple[str, Item]]]:
    """The fields of an object."""
    text = body.decode()
    spans, end = scan(text, 0)
    frame, items = read_items(text, 0, spans, end)
    return frame, [(span.name, item) for span, item in zip(spans, items, strict=True)]


def _same(one: bytes, other: bytes) -> bool:
    """Whether two texts are read as the same value: 1 is not 1.0, and the order of names counts."""
    if compact(one) == compact(other):
        return True
    try:
        return bool(_encode_value(_decode_value(one)) == _encode_value(_decode_value(other)))
    except (ValueError, OverflowError):
        return False  # an integer that JSON can hold and a record cannot
