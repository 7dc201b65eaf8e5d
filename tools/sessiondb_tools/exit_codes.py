"""What the command's exit codes mean, and which error leads to which."""

from __future__ import annotations

__all__ = ["DAMAGE", "FINE", "INTERRUPTED", "NOT_DONE", "PIPE_CLOSED", "USAGE", "CommandError", "exit_code"]

FINE = 0
"""Done; a torn tail that was cut, or may be, is fine too."""
DAMAGE = 1
"""It looked and found damage, a difference, or not what was asked for (a key that is absent)."""
USAGE = 2
"""The command line or the input is wrong: change it."""
NOT_DONE = 3
"""It could not look or act: the store is missing, busy, foreign, or the system refused."""
INTERRUPTED = 130
"""Ctrl-C."""
PIPE_CLOSED = 141
"""Whoever read the output went away, as with ``| head``: what shells report for any program that this ends."""


class CommandError(Exception):
    """The command cannot do what it was asked: `main` prints the message and exits with the code."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def exit_code(error: Exception) -> int:
    """The exit code that an error leads to."""
    from sessiondb import errors  # only who fails pays for it

    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, errors.CorruptionError):
        return DAMAGE
    wrong_usage = (
        errors.UsageError,
        errors.ConfigError,
        errors.ValidationError,
        errors.TransactionTooLargeError,
        errors.DuplicateKeyError,
    )
    return USAGE if isinstance(error, wrong_usage) else NOT_DONE
