"""Searching: which sessions hold a text, whatever the case of its letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from ..errors import UsageError
from .record import SessionRecord, value_of

__all__ = ["SEARCHED", "searcher"]

SEARCHED = ("session", "repo_name", "repo_url", "task_id", "pr_branch", "pr_state")
"""The fields that are looked at; of `pr_state` the branch's name."""

_fields_of: Callable[[SessionRecord], tuple[Any, ...]] = attrgetter(*SEARCHED)


def searcher(query: str) -> Callable[[str, object], bool]:
    """A function that says whether a session, by its key and as record or document, holds a text.

    Raises:
        UsageError: the text is none, or empty: everything would hold it.
    """
    if not isinstance(query, str) or not query:
        raise UsageError(f"a search needs a text that is not empty, not {query!r:.80}")
    wanted = query.casefold()

    def holds(key: str, item: object) -> bool:
        texts = _texts(key, item)
        # Nearly all are cleared by one look at all texts; a match from one into the next is none.
        return wanted in "\n".join(texts).casefold() and any(wanted in text.casefold() for text in texts)

    return holds


def _texts(key: str, item: object) -> list[str]:
    if isinstance(item, SessionRecord):
        *values, state = _fields_of(item)
    else:
        *values, state = [value_of(item, name) for name in SEARCHED]
    values = [key, *values, state.get("branchName") if isinstance(state, Mapping) else None]
    return [value for value in values if isinstance(value, str)]
