"""Filters: what a caller asks of sessions by name, as conditions."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import UsageError
from ..query import between, one_of
from .moments import wanted_moment
from .record import value_of

__all__ = ["Date", "filters", "task_ids"]

Date = str | datetime.datetime


def filters(
    where: Mapping[str, Any] | None,
    task_id: str | None,
    repo_name: str | None,
    branch: str | None,
    status_not_in: Iterable[str],
    created_after: Date | None,
    created_before: Date | None,
) -> tuple[Mapping[str, Any], Callable[[str, object], bool] | None]:
    """The conditions, and a test for what no condition says.

    Raises:
        UsageError: a value is none that can be asked for, or there are two conditions on one field.
    """
    asked: dict[str, Any] = {}
    if task_id is not None:
        asked["task_id"] = one_of(task_ids(task_id))
    asked |= {
        name: _text(name, value) for name, value in (("repo_name", repo_name), ("branch", branch)) if value is not None
    }
    for name, end in (("created_after", created_after), ("created_before", created_before)):
        wanted_moment(name, end)  # the message names the argument
    if created_after is not None or created_before is not None:
        asked["created_at"] = between(created_after, created_before)
    if where is not None:
        if not isinstance(where, Mapping):
            raise UsageError(f"where is {where!r:.80}; it must be a dict from field to value or condition")
        twice = [field for field in where if field in asked]
        if twice:
            raise UsageError(f"there are two conditions on {twice[0]!r}; next: leave one out")
        asked |= where
    return asked, _status_test(status_not_in)


def task_ids(task_id: str) -> list[str]:
    """The texts that stand for a task: with and without the ``#`` that one kind of task ids begins with.

    Raises:
        UsageError: it is none: an empty one would be that of every session that has none.
    """
    bare = _text("task_id", task_id).removeprefix("#")
    if not bare:
        raise UsageError(
            f"task_id is {task_id!r}; a task id is not empty; next: get_entities({{'task_id': {task_id!r}}}) finds "
            "this text"
        )
    return [f"#{bare}"] if bare.startswith("#") else [bare, f"#{bare}"]


def _status_test(status_not_in: Iterable[str]) -> Callable[[str, object], bool] | None:
    if isinstance(status_not_in, str) or not isinstance(status_not_in, Iterable):
        raise UsageError(f"status_not_in is {status_not_in!r:.80}; it must be a list of texts")
    unwanted = frozenset(_text("one of status_not_in", status) for status in status_not_in)
    if not unwanted:
        return None

    def passes(key: str, item: object) -> bool:
        status = value_of(item, "status")
        return not (isinstance(status, str) and status in unwanted)

    return passes


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{name} is {value!r:.80}; it must be a text")
    return value
