"""Print the sessions that hold a text: in their id, repository name or URL, task id, or pull request's branch.

Any part of one of these will do, and the case of letters makes no difference. The order is that of the ids. Printed is
what `sessiondb list` prints; if there are more matches than printed ones, stderr says how many.

  sessiondb search shop --limit 20
"""

from __future__ import annotations

import argparse
import sys

from ..exit_codes import FINE, USAGE, CommandError
from ..locations import add_store_options, open_for_reading, table_for_reading
from ..output import count, print_json, print_record

LIMIT = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("query", metavar="TEXT")
    parser.add_argument(
        "--limit", type=int, default=LIMIT, metavar="N", help="at most this many (default: %(default)s)"
    )
    parser.add_argument("--keys", action="store_true", help="only the ids")
    parser.add_argument("--count", action="store_true", help="only how many there are")
    parser.add_argument("--table", default="sessions", metavar="NAME", help="the table (default: %(default)s)")
    add_store_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Search and print."""
    from sessiondb.sessions.searching import searcher

    holds = searcher(_utf_8(arguments.query))
    limit: int = arguments.limit
    if limit < 0:
        raise CommandError(f"--limit is {limit}; it must be at least 0", USAGE)
    if arguments.count and (arguments.keys or limit != LIMIT):
        raise CommandError("--count counts all of them: leave out --limit and --keys", USAGE)
    found = 0
    with open_for_reading(arguments) as db:
        table = table_for_reading(db, arguments.table)
        if table.type is bytes:
            raise CommandError(f"table {arguments.table!r} of {db.location} holds bytes: no sessions", USAGE)
        for key, record in table.scan():
            if holds(key, record):
                found += 1
                if found <= limit and not arguments.count:
                    print_record(key, record, keys_only=arguments.keys, as_json=arguments.json)
    if arguments.count:
        print_json({"count": found}) if arguments.json else print(found)
    elif found > limit:
        sys.stdout.flush()
        more = f"{count(limit, 'match')} of {found:,}; next: --limit {found} prints all of them"
        print(f"sessiondb search: printed {more}", file=sys.stderr)
    return FINE


def _utf_8(query: str) -> str:
    try:
        query.encode()
    except UnicodeEncodeError:
        raise CommandError("the command line holds bytes that are no UTF-8 text", USAGE) from None
    return query
