"""The configuration file: which one is read, and what stands in it.

That is the one that is named, or ``sessiondb/config.toml`` in the user's configuration folder; never one that lies
where the program was started.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from .errors import ConfigError
from .files import Files
from .settings import SETTINGS, Given, absolute

__all__ = ["ConfigFile", "find_file", "near", "read_file", "user_folder"]

VARIABLE = "SESSIONDB_CONFIG"
BYTES_MAX = 1 << 20


class ConfigFile(NamedTuple):
    """A file to read."""

    path: str
    source: str
    """Who named it; empty for the one in the user's folder, which need not be there."""


def user_folder(name: str, otherwise: str) -> str | None:
    """A folder of the XDG rules from its variable; as they say, a relative one counts as unset.

    Returns:
        An absolute path; ``None`` when there is no home folder either, as for users that only a container knows.
    """
    folder = os.environ.get(name, "")
    if not os.path.isabs(folder):
        folder = os.path.expanduser(otherwise)
    return folder if os.path.isabs(folder) else None


def find_file(files: Files, named: Given | None) -> ConfigFile | None:
    """The file to read; ``None``: none was named, and the user's folder has none.

    Raises:
        ConfigError: the name is empty, or relative and not an argument.
    """
    if named is None:
        folder = user_folder("XDG_CONFIG_HOME", "~/.config")
        if folder is None:
            return None
        path = os.path.join(folder, "sessiondb", "config.toml")
        try:
            return None if files.stat(path) is None else ConfigFile(path, "")
        except OSError as error:
            raise _unreadable(path, error) from error
    if not isinstance(named.value, str) or not named.value or "\0" in named.value:
        raise named.wrong("the name of the configuration file is empty or no text; next: name a file, or leave it out")
    return ConfigFile(absolute(named.value, named), named.source)


def read_file(files: Files, file: ConfigFile) -> dict[str, Given]:
    """What the file says; values are not checked yet.

    Raises:
        ConfigError: it cannot be read, is no TOML, or holds a key that is no setting.
    """
    path = file.path
    try:
        opened = files.open(path, read_only=True)
        try:
            data = opened.pread(BYTES_MAX + 1, 0)  # not its size: what is no plain file says 0
        finally:
            opened.close()
    except FileNotFoundError as error:
        who = f", which {file.source} names" if file.source else ""
        raise ConfigError(f"there is no configuration file at {path}{who}; next: make it, or name another") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > BYTES_MAX:
        raise ConfigError(f"{path} is longer than {BYTES_MAX:,} bytes: it is no configuration file; next: name another")
    import tomllib  # only who has a file pays for it

    try:
        found = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigError(f"{path} is no TOML file: {reason}; next: correct it") from None
    for key in found:
        if key not in SETTINGS:
            raise ConfigError(f"{path}: there is no setting {key!r}{near(key, SETTINGS)}; next: correct or remove it")
    return {key: Given(value, f"{key} in {path}", "file") for key, value in found.items()}


def near(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` where something known looks like it."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _unreadable(path: str, error: OSError) -> ConfigError:
    reason = error.strerror or error
    return ConfigError(f"the configuration file {path} cannot be read: {reason}; next: mend that, or name another file")
