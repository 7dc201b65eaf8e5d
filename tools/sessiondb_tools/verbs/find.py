"""Print the records whose fields hold what is asked for; all conditions must hold.

FIELD=TEXT asks for a text, FIELD:=JSON for a number, true, false or null: 5 and "5" differ, 5 and 5.0 do not. The
other conditions are written in the same way: --between FIELD=LOW HIGH for texts, --between FIELD:=LOW HIGH for
numbers. Fields are those at the top of the record. A record whose field is null is not one that has no such field.

Without --order-by the order is that of the keys; records that have no value to sort by come last. Printed is what
`sessiondb list` prints.

  sessiondb find repoName=acme/web tries:=0 --order-by -createdAt --limit 5 --table sessions
"""

from __future__ import annotations

import argparse
from typing import Any

from ..exit_codes import FINE, USAGE, CommandError
from ..field_text import FORM, field_and_value, field_and_values, field_name
from ..locations import add_store_options, add_table_option, open_for_reading, table_for_reading
from ..output import print_json, print_record, shown

REPEATABLE = [
    ("--one-of", "FIELD=VALUE", "one of several values: repeat it, or FIELD:=[JSON, ...]"),
    ("--prefix", "FIELD=TEXT", "a text that begins with this one"),
    ("--absent", "FIELD", "the record has no such field"),
    ("--null", "FIELD", "the field is null, as FIELD:=null"),
    ("--order-by", "FIELD", "sort by this field, -FIELD for descending; repeat it for more"),
]
"""Options that may be given more than once: name, form of the value, help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("conditions", metavar="CONDITION", nargs="*", default=[], help=FORM)
    parser.add_argument(
        "--between", nargs=2, metavar=("FIELD=LOW", "HIGH"), action="append", default=[],
        help="from LOW to HIGH, both included; with := null leaves an end open",
    )  # fmt: skip
    for option, form, text in REPEATABLE:
        parser.add_argument(option, metavar=form, action="append", default=[], help=text)
    parser.add_argument("--limit", type=int, metavar="N", help="at most this many")
    parser.add_argument("--offset", type=int, metavar="N", help="leave out the first N")
    parser.add_argument("--keys", action="store_true", help="only the keys")
    parser.add_argument("--count", action="store_true", help="only how many there are")
    add_table_option(parser)
    add_store_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Find and print."""
    where = _where(arguments)
    order = [field_name(field) for field in arguments.order_by]
    page = {name: getattr(arguments, name) for name in ("limit", "offset") if getattr(arguments, name) is not None}
    if arguments.count and (order or page or arguments.keys):
        raise CommandError("--count counts all of them: leave out --order-by, --limit, --offset and --keys", USAGE)
    with open_for_reading(arguments) as db:
        table = table_for_reading(db, arguments.table)
        if arguments.count:
            number = table.count(where=where)
            print_json({"count": number}) if arguments.json else print(number)
            return FINE
        for key, record in table.find(where, order_by=order, **page):
            print_record(key, record, keys_only=arguments.keys, as_json=arguments.json)
    return FINE


def _where(arguments: argparse.Namespace) -> dict[str, Any]:
    """The conditions, a field each."""
    from sessiondb import absent, between, one_of, prefix

    where: dict[str, Any] = {}
    for word in arguments.conditions:
        field, value = field_and_value(word)
        _add(where, field, _scalar(field, value))
    for words in arguments.between:
        field, (low, high) = field_and_values(words)
        if low is None and high is None:
            raise CommandError(f"field {shown(field)}: --between needs at least one end that is not null", USAGE)
        _add(where, field, between(_scalar(field, low), _scalar(field, high)))
    for field, values in _alternatives(arguments.one_of).items():
        _add(where, field, one_of(values))
    for word in arguments.prefix:
        field, text = field_and_value(word)
        if not isinstance(text, str):
            raise CommandError(f"field {shown(field)}: --prefix needs a text, as in {field}=TEXT", USAGE)
        _add(where, field, prefix(text))
    for field in arguments.absent:
        _add(where, field_name(field), absent)
    for field in arguments.null:
        _add(where, field_name(field), None)
    return where


def _alternatives(words: list[str]) -> dict[str, list[Any]]:
    """Field to the values that it may have; a list in JSON stands for several."""
    found: dict[str, list[Any]] = {}
    for word in words:
        field, value = field_and_value(word)
        values = value if isinstance(value, list) else [value]
        found.setdefault(field, []).extend(_scalar(field, each) for each in values)
    return found


def _add(where: dict[str, Any], field: str, condition: object) -> None:
    if field in where:
        raise CommandError(
            f"there are two conditions on the field {shown(field)}; next: leave one out; --one-of takes several "
            "values, --between a range",
            USAGE,
        )
    where[field] = condition


def _scalar(field: str, value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise CommandError(
            f"field {shown(field)}: no condition finds lists or objects; next: ask for a text, number, true, false or "
            "null",
            USAGE,
        )
    return value
