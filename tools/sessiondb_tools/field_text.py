"""Fields and values as words of a command line: ``FIELD=TEXT`` and ``FIELD:=JSON``.

Nothing is guessed: what follows ``=`` is text, whatever it looks like, and what follows ``:=`` is JSON. The first ``=``
of a word counts, so a text may hold more of them.
"""

from __future__ import annotations

from typing import Any

from .exit_codes import USAGE, CommandError
from .json_text import JsonProblem, parse
from .output import shown

__all__ = ["FORM", "field_and_value", "field_and_values", "field_name"]

FORM = "FIELD=TEXT, or FIELD:=JSON for anything but text"


def field_and_value(word: str) -> tuple[str, Any]:
    """A field and its value.

    Raises:
        CommandError: the word has another form, or its JSON is none.
    """
    field, (value,) = field_and_values([word])
    return field, value


def field_and_values(words: list[str]) -> tuple[str, list[Any]]:
    """A field and several values: the first word names the field and says what the others are, text or JSON.

    Raises:
        CommandError: the first word has another form, or a JSON value is none.
    """
    name, sign, first = words[0].partition("=")
    is_json = name.endswith(":")
    name = name.removesuffix(":")
    if not sign or not name:
        raise CommandError(f"a field and its value are written {FORM}, not {shown(words[0])}; nothing was done", USAGE)
    field_name(name)
    texts = [first, *words[1:]]
    return name, [_json(name, text) if is_json else _utf_8(name, text) for text in texts]


def field_name(name: str) -> str:
    """A field's name as it is, after its check.

    Raises:
        CommandError: it is empty or not UTF-8.
    """
    if not name:
        raise CommandError("a field's name is empty; next: name a field", USAGE)
    return _utf_8(name, name)


def _utf_8(field: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandError(f"field {field!r}: the command line holds bytes that are no UTF-8 text", USAGE) from None
    return text


def _json(field: str, text: str) -> Any:
    try:
        return parse(text)
    except JsonProblem as problem:
        raise CommandError(
            f"field {shown(field)}: {text!r} is no JSON: {problem}; next: correct it, or write {field}=... for text; "
            "nothing was done",
            USAGE,
        ) from None
