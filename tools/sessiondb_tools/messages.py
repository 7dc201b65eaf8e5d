"""What the library reports while a verb works: on stderr, from the level that the settings say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sessiondb.lazy_logging import before_first_message

if TYPE_CHECKING:
    import logging

__all__ = ["hide_messages", "show_messages"]

_handler: logging.Handler | None = None


def show_messages(level: str = "warning") -> None:
    """From the next message on; `logging` is imported when there is one."""
    before_first_message(lambda: _begin(level))


def _begin(level: str) -> None:
    global _handler
    import logging

    hide_messages()
    _handler = logging.StreamHandler(sys.stderr)
    _handler.setFormatter(logging.Formatter("sessiondb: %(message)s"))
    logger = logging.getLogger("sessiondb")
    logger.addHandler(_handler)
    logger.setLevel(level.upper())


def hide_messages() -> None:
    """As it was before."""
    global _handler
    before_first_message(None)
    if _handler is not None:
        import logging

        logger = logging.getLogger("sessiondb")
        logger.removeHandler(_handler)
        logger.setLevel(logging.NOTSET)
        _handler = None
