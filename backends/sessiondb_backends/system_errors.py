"""Errors of the operating system, in the words of sessiondb: the same for every backend with files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sessiondb.errors import BackendError

__all__ = ["attempt", "refusal"]

_T = TypeVar("_T")


def refusal(what: str, error: OSError) -> BackendError:
    """What it means that the operating system refused to do this."""
    return BackendError(
        f"cannot {what}: {error.strerror or error}; what was there is kept; next: mend the cause and try again"
    )


def attempt(what: str, call: Callable[[], _T]) -> _T:
    """What the call gives.

    Raises:
        BackendError: the operating system refused.
    """
    try:
        return call()
    except OSError as error:
        raise refusal(what, error) from error
