"""``--from json`` and ``--from jsonl``: the three forms of `RecordsInput`, and JSON texts whose kind nobody said.

Without ``--from`` a JSON object is an object of records; but files of other programs are JSON objects too, and taken
for one of records they would become two or three odd records. What looks like one is refused, with the kind to name.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from ..json_text import JsonProblem, elements, parse
from ..records_input import RecordsInput
from .export_lines import is_exported
from .redis_dump import TYPES, is_item
from .source import Choices, Entry, Found, Loaded, Source, Unreadable, own_problem, size_of
from .text_file import KeyProblem, TextFile, field_key
from .tinydb import is_table

__all__ = ["open_json", "open_lines", "open_unnamed"]

LOOKED_AT = 100
"""Members of an object that decide what it looks like."""


def open_json(path: str, choices: Choices) -> Source:
    """An array or an object of records; with an id field also JSON Lines; or one member of an object."""
    if choices.source_table is not None:
        return _of_member(path, choices.source_table, choices)
    return RecordsInput(path, choices.id_field, skipping=choices.skip_unreadable)


def _of_member(path: str, name: str, choices: Choices) -> Source:
    """The records that are a member of the file's object: an array with an id field, or an object without one."""
    file = TextFile(path)
    try:
        if file.first_character() != "{":
            raise own_problem(file.name, "no JSON object with members", "leave out --source-table")
        members = file.members()
    finally:
        file.close()
    found = members.pop(name, None)
    if not isinstance(found, dict if choices.id_field is None else list):
        what = "an array, with --id FIELD, or an object, without it"
        raise own_problem(file.name, f"no records in {name!r}", f"name a member of the file's object that is {what}")
    pairs = found.items() if isinstance(found, dict) else enumerate(found, 1)
    entries = [_member_entry(name, at, value, choices.id_field) for at, value in pairs]
    return Loaded(file.name, entries, [f"left in the file: {', '.join(members)}"] if members else [])


def _member_entry(name: str, at: str | int, value: Any, field: str | None) -> Found:
    place = f"{name}, record {at}"
    try:
        key = str(at) if field is None else field_key(value, field)
    except KeyProblem as problem:
        return Unreadable(place, None, str(problem))
    return Entry(place, key, value, size_of(value))


def open_lines(path: str, choices: Choices) -> Source:
    """JSON Lines."""
    if choices.id_field is None:
        raise own_problem(path, "lines have no keys", "name the field that holds them with --id FIELD")
    source = RecordsInput(path, choices.id_field, skipping=choices.skip_unreadable)
    if source.first_character() == "[":
        source.close()
        raise own_problem(path, "no JSON Lines: it is an array", "--from json")
    return source


def open_unnamed(path: str, choices: Choices) -> Source:
    """A text that may be JSON."""
    return _Wary(path, choices.id_field, skipping=choices.skip_unreadable)


class _Wary(RecordsInput):
    """Records of the user's own; what may be something else is refused."""

    def __iter__(self) -> Iterator[Found]:
        first = self.first_character()
        if first not in ("", "{", "[") and self.name.lower().endswith((".csv", ".tsv")):
            self._must_be_plain("csv")
        if first == "{" and starts_as_export(self._file):
            self._must_be_plain("export")
        if self._id_field is not None:
            return super().__iter__()
        if first == "[":
            self._must_be_plain(kind_of_array(self._file))
        found = super().__iter__()
        looked_at = list(islice(found, LOOKED_AT))
        self._must_be_plain(kind_of_object([(each.key, each.record) for each in looked_at if isinstance(each, Entry)]))
        return chain(looked_at, found)

    def _must_be_plain(self, kind: str) -> None:
        if kind:
            raise own_problem(
                self.name, f"this looks like --from {kind}", "say so, or --from json if it is one of records"
            )


def starts_as_export(file: TextFile) -> bool:
    """Whether the first line is one that `sessiondb export` wrote."""
    try:
        return is_exported(parse(next(iter(file.lines())).data))
    except JsonProblem:
        return False


def kind_of_array(file: TextFile) -> str:
    """What an array looks like by its first element, "" if like none of another program's."""
    try:
        first = next(iter(elements(file.text())), None)
    except JsonProblem:
        return ""
    value = None if first is None else first.value
    if is_item(value, "key"):
        return "redis"
    return "sessions" if isinstance(value, dict) and isinstance(value.get("session"), str) else ""


def kind_of_object(members: list[tuple[str, Any]]) -> str:
    """What an object looks like by its first members, "" if like none of another program's."""
    names = dict(members)
    if isinstance(names.get("entities"), list) and "lastUpdated" in names:
        return "json --source-table entities --id id"
    if is_state(names) or (isinstance(names.get("data"), dict) and is_state(names["data"]) and "version" in names):
        return "sessions"
    if members and all(is_item(value, "value") and value["type"] in TYPES for _, value in members):
        return "redis"
    tables = [value for _, value in members if is_table(value)]
    return "tinydb" if len(tables) == len(members) and any(tables) else ""


def is_state(value: dict[str, Any]) -> bool:
    """Whether an object is the predecessor's state: an array of sessions, and hardly anything else."""
    sessions = value.get("sessions")
    return isinstance(sessions, list) and all(isinstance(each, dict) for each in sessions) and len(value) <= 4
