"""``--from tinydb``: the JSON file of a TinyDB: an object of tables, each an object of numbered documents.

The number is the key, or a field of the document (``--id``). The file is held in memory, as TinyDB does.
"""

from __future__ import annotations

from typing import Any

from ..output import shown
from .source import Choices, Entry, Found, Loaded, Source, Unreadable, own_problem, size_of
from .sqlitedict import chosen_table
from .text_file import KeyProblem, TextFile, field_key

__all__ = ["is_table", "open_source"]


def is_table(value: Any) -> bool:
    """Whether a member of the file's object is a table as TinyDB writes them."""
    return isinstance(value, dict) and all(
        number.isdecimal() and isinstance(document, dict) for number, document in value.items()
    )


def open_source(path: str, choices: Choices) -> Source:
    """The table that is meant; tables without documents do not count."""
    file = TextFile(path)
    try:
        tables = _tables(file)
    finally:
        file.close()
    chosen = choices.source_table
    names = [name for name, table in tables.items() if table or chosen is not None]
    table = tables[chosen_table(file.name, names, chosen)] if names or chosen is not None else {}
    entries = [_found(number, document, choices.id_field) for number, document in table.items()]
    return Loaded(file.name, entries, [], in_order=True)


def _tables(file: TextFile) -> dict[str, dict[str, Any]]:
    first = file.first_character()
    if first != "{":
        found = f"it begins with {first!r}" if first else "it is empty"
        raise own_problem(file.name, f"no TinyDB: {found}", "choose another kind with --from")
    tables = file.members()
    for name, table in tables.items():
        if not is_table(table):
            raise own_problem(
                file.name, f"no TinyDB: {shown(name)} is no table of numbered documents",
                "choose another kind with --from",
            )  # fmt: skip
    return tables


def _found(number: str, document: dict[str, Any], field: str | None) -> Found:
    place = f"document {number}"
    try:
        key = number if field is None else field_key(document, field)
    except KeyProblem as problem:
        return Unreadable(place, number, str(problem))
    return Entry(place, key, document, size_of(document))
