"""Nothing secret is printed: what looks like a password in a URL becomes ``***``, whoever repeats the URL.

The library keeps passwords out of its own errors. What is typed on a command line in a wrong place, or with a slip, is
no URL to it, and comes back in the words of whoever did not understand it.
"""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

__all__ = ["Parser", "masked"]

_USER = re.compile(r"((?:[a-z][a-z0-9+.-]*:)?//|postgres(?:ql)?[:/]+)[^\s'\"?]*:[^\s'\"?]*@", re.IGNORECASE)
_PARAMETER = re.compile(r"\b((?:ssl)?password|oauth_client_secret)=[^\s&'\"]*", re.IGNORECASE)


def masked(text: str) -> str:
    """The text without passwords."""
    return _PARAMETER.sub(r"\1=***", _USER.sub(r"\1***@", text))


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line, without passwords."""

    def error(self, message: str) -> NoReturn:
        """Print the message and end with 2."""
        super().error(masked(message))
