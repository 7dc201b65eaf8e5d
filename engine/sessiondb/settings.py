"""The settings that there are: what each may hold, and how it is shown.

A setting has one name: an argument of `sessiondb.load_config`, a key of the configuration file, and in capitals behind
``SESSIONDB_`` an environment variable. This module is pure but for names in paths (``~`` and ``$NAME``).
"""

from __future__ import annotations

import os
import re
from typing import Any, Literal, NamedTuple

from .config import Options
from .errors import ConfigError, SessionDBError, UsageError
from .location import SUFFIXES, Location, parse_location

__all__ = [
    "BACKENDS",
    "LEVELS",
    "PREFIX",
    "SETTINGS",
    "Given",
    "Level",
    "absolute",
    "checked",
    "masked",
    "path_place",
    "variable",
]

PREFIX = "SESSIONDB_"
LOG_LEVELS = ("debug", "info", "warning", "error")

Level = Literal["default", "file", "environment", "argument"]
LEVELS: tuple[Level, ...] = ("default", "file", "environment", "argument")
"""Where a value may come from; each goes before those in front of it."""

SETTINGS: dict[str, type] = {
    "url": str,
    "backend": str,
    "json_path": str,
    "sqlite_path": str,
    "lmdb_path": str,
    "postgresql_url": str,
    "sync": str,
    "sync_interval_ms": int,
    "lock_timeout": float,
    "checkpoint_bytes": int,
    "checkpoint_records": int,
    "checkpoint_age_s": float,
    "cache_bytes": int,
    "log_level": str,
}
"""Every setting with the type of its value."""

BACKENDS = {"json": "json_path", "sqlite": "sqlite_path", "lmdb": "lmdb_path", "postgresql": "postgresql_url"}
"""What ``backend`` may be, and the setting that says where such a store is."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)
_UNSET = re.compile(r"\$(\w+|\{[^}]*\})")
_SECRET = re.compile(r"pass|secret|token|key|credential", re.IGNORECASE)
_NO_SERVER = "{} is no URL of PostgreSQL; next: write postgresql://USER@HOST:PORT/DATABASE"
"""Without the text: it may hold a password."""
_KINDS = {str: "a text", int: "a whole number", float: "a number"}


class Given(NamedTuple):
    """A value, and who says so."""

    value: Any
    source: str
    """For people: ``SESSIONDB_SYNC``, ``sync in /home/me/.config/sessiondb/config.toml``, ``--db``, ``default``."""
    level: Level

    @property
    def rank(self) -> int:
        """Higher goes first."""
        return LEVELS.index(self.level)

    def wrong(self, problem: str) -> SessionDBError:
        """What to raise for a value that cannot be: a wrong argument is the caller's mistake."""
        return (UsageError if self.level == "argument" else ConfigError)(f"{self.source}: {problem}")

    def __repr__(self) -> str:
        return f"Given({masked(self.value)!r}, {self.source!r}, {self.level!r})"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def checked(name: str, given: Given) -> Given:
    """The value in its type, if it can be one of this setting.

    Raises:
        ConfigError: it cannot; the message says where it comes from.
        UsageError: the same for an argument.
    """
    given = given._replace(value=_typed(SETTINGS[name], given))
    value = given.value
    if isinstance(value, str) and (not value or "\0" in value):
        raise given.wrong(f"{name} is {'empty' if not value else 'no text'}; next: give it a value, or leave it out")
    if name == "url":
        _check_url(given)
    elif name == "backend":
        _check_choice(name, given, tuple(BACKENDS))
    elif name == "log_level":
        _check_choice(name, given, LOG_LEVELS)
    elif name == "postgresql_url":
        if not value.startswith(("postgresql://", "postgres://")):
            raise given.wrong(_NO_SERVER.format(name))
    elif name.endswith("_path"):
        path_place("", given)
    else:
        try:
            Options(**{name: value})
        except UsageError as error:
            raise given.wrong(str(error)) from None
    return given


def _typed(kind: type, given: Given) -> Any:
    value = given.value
    if given.level == "environment" and kind is not str:
        try:
            return kind(value)
        except ValueError:
            raise given.wrong(f"the value is {value!r:.80}; it must be {_KINDS[kind]}") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 1 << 53 else value
    if not isinstance(value, kind) or isinstance(value, bool):
        what = f"{value!r:.80}" if isinstance(value, (bool, int, float)) else f"of type {type(value).__name__}"
        raise given.wrong(f"the value is {what}; it must be {_KINDS[kind]}")
    return value


def _check_choice(name: str, given: Given, choices: tuple[str, ...]) -> None:
    if given.value not in choices:
        raise given.wrong(f"{name} is {given.value!r:.80}; it must be one of {', '.join(choices)}")


def _check_url(given: Given) -> None:
    try:
        place = parse_location(given.value)
    except UsageError as error:
        if "@" in given.value:
            raise given.wrong("this is no location; it is not repeated here, as it may hold a password") from None
        raise given.wrong(str(error)) from None
    if place.scheme == "postgresql" and not place.path.startswith("//"):
        raise given.wrong(_NO_SERVER.format("url"))
    if place.scheme in SUFFIXES.values():
        match = _URL.fullmatch(given.value)
        absolute(given.value if match is None else match[2][3:], given)


def path_place(scheme: str, given: Given) -> Location:
    """The location that a path names.

    Raises:
        ConfigError: it is none that is the same wherever a program is started; see `checked`.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", given.value):
        raise given.wrong("the value is a URL; next: write the path alone, or use the setting url")
    return Location(scheme, os.path.realpath(absolute(given.value, given)))


def absolute(path: str, given: Given) -> str:
    """The absolute path, with ``~`` and variables expanded.

    Raises:
        ConfigError: it depends on the current folder, which only an argument's may; or on a variable that is not set.
    """
    expanded = os.path.expandvars(path)
    unset = _UNSET.search(expanded)
    expanded = os.path.expanduser(expanded)
    if expanded.startswith("~") and "/" in expanded:
        raise given.wrong(f"the path {path!r} begins with the home folder of a user that is not known")
    if given.level != "argument":
        if unset is not None:
            raise given.wrong(f"the path {path!r} holds {unset[0]}, which is not set")
        if not os.path.isabs(expanded):
            raise given.wrong(
                f"the path {path!r} is relative, so it would name another file in every folder; next: write all of it"
            )
    return os.path.abspath(expanded)


def masked(value: Any) -> Any:
    """The value for people: of a URL no password, and nothing that may be one."""
    match = _URL.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[1].lower() in SUFFIXES.values():
        return value
    address, mark, parameters = match[2].partition("?")
    if "@" in parameters:  # no telling where a password ends there
        return f"{match[1]}:***"
    user, at, server = address.rpartition("@")
    name, colon, _ = user.removeprefix("//").partition(":")
    if colon:
        user = f"{'//' if user.startswith('//') else ''}{name}:***"
    return f"{match[1]}:{user}{at}{server}{mark}{'&'.join(map(_masked_parameter, parameters.split('&')))}"


def _masked_parameter(parameter: str) -> str:
    name, equals, _ = parameter.partition("=")
    if equals and (_SECRET.search(name) or "%" in name):  # an encoded name hides what it is
        return f"{name}=***"
    return parameter
