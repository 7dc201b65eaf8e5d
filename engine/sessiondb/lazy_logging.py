"""Logging that imports `logging` when there is something to say, and not before.

A command that prints one record has nothing to say, and `logging` would be a tenth of its start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["LazyLogger", "before_first_message"]

_prepare: Callable[[], None] | None = None


def before_first_message(prepare: Callable[[], None] | None) -> None:
    """Have `prepare` called before the next message of sessiondb, once; for programs that set logging up by then."""
    global _prepare
    _prepare = prepare


class LazyLogger:
    """The logger with this name, looked up for each message."""

    __slots__ = ("_name",)

    def __init__(self, name: str):
        self._name = name

    def info(self, text: str, *arguments: Any) -> None:
        """Log at level INFO."""
        _log(self._name, "INFO", text, arguments)

    def warning(self, text: str, *arguments: Any) -> None:
        """Log at level WARNING."""
        _log(self._name, "WARNING", text, arguments)

    def error(self, text: str, *arguments: Any) -> None:
        """Log at level ERROR."""
        _log(self._name, "ERROR", text, arguments)


def _log(name: str, level: str, text: str, arguments: tuple[Any, ...]) -> None:
    global _prepare
    import logging

    prepare, _prepare = _prepare, None
    if prepare is not None:
        prepare()
    number: int = getattr(logging, level)
    logging.getLogger(name).log(number, text, *arguments, stacklevel=3)
