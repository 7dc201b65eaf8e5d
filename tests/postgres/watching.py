"""Looks at every statement that the backend sends, in every test of this folder, before the server has it.

Behind a transaction pooler the next transaction may run on another connection, and a member of PostgreSQL's family may
spread the tables over servers. So no statement may leave anything on its connection, each carries the namespace as a
constant, and none uses what some members of the family lack.
"""

from __future__ import annotations

import gc
import re
import time
import weakref
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg
import pytest

from sessiondb_backends.postgres_driver import pq
from sessiondb_backends.postgres_link import Link
from sessiondb_backends.postgres_links import Links
from sessiondb_backends.postgres_source import Source

__all__ = ["Facts", "Watch", "facts_of"]

LATER_S = 1.0
FORBIDDEN = {
    "ADVISORY", "BIGSERIAL", "COPY", "CMAX", "CMIN", "CTID", "DEALLOCATE", "DISCARD", "EXECUTE", "FOREIGN", "FUNCTION",
    "HOLD", "INHERITS", "LISTEN", "LOCK", "MERGE", "NEXTVAL", "NOTIFY", "PARTITION", "PREPARE", "PREPARED",
    "PROCEDURE", "REFERENCES", "RESET", "RETURNING", "RULE", "SAVEPOINT", "SEQUENCE", "SERIAL", "SESSION", "TABLESPACE",
    "TEMP", "TEMPORARY", "TRIGGER", "TRUNCATE", "UNLISTEN", "UNLOGGED", "VACUUM", "XMAX", "XMIN",
}  # fmt: skip
"""Left behind on a connection, or not known everywhere; and what we have no reason to do."""

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<text>[eE]?'(?:[^']|'')*')|(?P<name>"(?:[^"]|"")*")|(?P<word>[A-Za-z_][A-Za-z_0-9$]*)|"""
    r"(?P<other>%s|::|%%|.)",
    re.DOTALL,
)
_TABLES = {f'"sessiondb_{name}"' for name in ("meta", "owners", "tables", "records")}


class Facts(NamedTuple):
    """What a statement says of itself."""

    problems: tuple[str, ...]
    namespaces: frozenset[str]
    """Constants that it compares ``ns`` with, or stores as such."""
    touches: bool
    """Whether it reads or changes rows of a store."""


@lru_cache(maxsize=10_000)
def facts_of(statement: str) -> Facts:
    """Read the statement, or several with semicolons between them."""
    parts: list[list[tuple[str, str]]] = [[]]
    for match in _TOKEN.finditer(statement):
        kind, text = match.lastgroup or "", match[0]
        if kind == "space":
            continue
        if text == ";":
            parts.append([])
        else:
            parts[-1].append((kind, text.upper() if kind == "word" else text))
    facts = [_facts(part) for part in parts if part]
    return Facts(
        tuple(problem for one in facts for problem in one.problems),
        frozenset().union(*(one.namespaces for one in facts)),
        any(one.touches for one in facts),
    )


def _facts(tokens: list[tuple[str, str]]) -> Facts:
    words = [text for kind, text in tokens if kind == "word"]
    if words[0] == "EXPLAIN":
        return _facts(tokens[1:])  # a test asks for the plan
    problems = [f"uses {word}" for word in words if word in FORBIDDEN or word.startswith(("PG_ADVISORY", "PG_TRY_"))]
    if words[0] == "SET" and words[1] != "LOCAL":
        problems.append("a SET that outlives the transaction")
    texts = [text for _, text in tokens]
    namespaces = {
        texts[place + 2].strip("eE'")
        for place in range(len(texts) - 2)
        if texts[place] == "NS" and texts[place + 1] == "=" and tokens[place + 2][0] == "text"
    }
    if any(texts[place : place + 2] == ["NS", "="] and tokens[place + 2][0] != "text" for place in range(len(texts))):
        problems.append("the namespace is no constant")
    if words[0] == "INSERT":
        begin = next(place for place, text in enumerate(texts) if text in ("VALUES", "SELECT"))
        first = next((text for kind, text in tokens[begin + 1 : begin + 3] if kind == "text"), "")
        namespaces.add(first.strip("eE'"))
        if not first:
            problems.append("stores no constant as the namespace")
    touches = words[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "DECLARE", "WITH") or (
        words[0] == "CREATE" and bool({"INDEX", "VIEW"} & set(words[:5]))
    )
    touches = touches and bool(_TABLES & set(texts))
    if touches and not namespaces:
        problems.append("does not name the namespace")
    return Facts(tuple(problems), frozenset(namespaces), touches)


class Watch:
    """Over all connections of the backend, until `stop`; each problem is raised where the statement is sent."""

    def __init__(self) -> None:
        self.said: dict[str, int] = {}
        """Statement to how often it was sent."""
        self.links: weakref.WeakKeyDictionary[Link, str] = weakref.WeakKeyDictionary()
        """Connections that have said something, to the namespace of their stores."""
        self._patch = pytest.MonkeyPatch()
        execute = psycopg.Cursor.execute

        def watched_execute(cursor: Any, query: Any, params: Any = None, **how: Any) -> Any:
            if isinstance(cursor.connection, Link):
                self._look(cursor.connection, query)
            return execute(cursor, query, params, **how)

        self._patch.setattr(psycopg.Cursor, "execute", watched_execute)

    def _look(self, link: Link, query: Any) -> None:
        statement = bytes(query).decode()
        self.said[statement] = self.said.get(statement, 0) + 1
        facts = facts_of(statement)
        assert not facts.problems, f"{facts.problems}: {statement}"
        for namespace in facts.namespaces:
            assert self.links.setdefault(link, namespace) == namespace, f"another namespace: {statement}"

    def left_open(self) -> list[Link]:
        """Connections with a transaction that belongs to nobody, also a moment later: a thread may be ending it."""
        until = time.monotonic() + LATER_S
        while (found := self._left_open()) and time.monotonic() < until:
            time.sleep(0.01)
        return found

    def _left_open(self) -> list[Link]:
        busy = [link for link in list(self.links) if not link.closed and link.pgconn.transaction_status != IDLE]
        if not busy:
            return []
        known: list[object] = []
        for one in gc.get_objects():
            if isinstance(one, Source):
                known.append(one._link)
            elif isinstance(one, Links):
                known.extend(one._let_go)
        return [link for link in busy if all(link is not other for other in known)]

    def stop(self) -> None:
        """Look no longer."""
        self._patch.undo()


IDLE = pq.TransactionStatus.IDLE
