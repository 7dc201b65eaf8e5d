"""The configuration: each setting from whoever may say it first, and the store that all of them mean.

Argument before environment before file before default. Nothing else is looked at: no file that lies in the current
folder, no variable of another program. `sessiondb.open` with a location never comes here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from .config import Options
from .errors import (
    BackendError,
    BackendUnavailableError,
    ConfigError,
    StoreFailedError,
    UnsupportedFormatError,
    UsageError,
    WrongBackendError,
)
from .files import REAL_FILES, Files
from .location import Location, content_kind, parse_location
from .settings import BACKENDS, PREFIX, SETTINGS, Given, checked, masked, path_place, variable
from .settings_file import VARIABLE, ConfigFile, find_file, near, read_file, user_folder

__all__ = ["Choice", "Config", "Setting", "default_path", "load", "load_config"]

TESTS = "SESSIONDB_TEST_"
"""Variables of the project's own tests."""
FILE_NAMES = {"json": "sessions.json", "sqlite": "sessions.db", "lmdb": "sessions.lmdb"}
KINDS = {"sqlite": "a SQLite database", "lmdb": "an LMDB folder"}
DEFAULTS = {name: getattr(Options(), name, None) for name in SETTINGS} | {"log_level": "warning"}
_EXPLAINED = (
    UsageError, ConfigError, WrongBackendError, UnsupportedFormatError, StoreFailedError, BackendError,
    BackendUnavailableError,
)  # fmt: skip


class Setting(NamedTuple):
    """One setting, as it holds."""

    name: str
    value: Any
    """``None``: nobody says it, and there is no default."""
    source: str
    """``default``, or who says it: a variable, a key in a file, an argument."""
    overridden: tuple[Given, ...]
    """Others who say it, in vain."""

    def __repr__(self) -> str:
        return f"Setting({self.name!r}, {masked(self.value)!r}, {self.source!r}, {self.overridden!r})"


class Choice(NamedTuple):
    """The store that the settings mean."""

    place: Location
    source: str
    """Which setting says where it is."""
    overridden: tuple[Given, ...]
    """Settings of a place that do not count."""
    is_argument: bool
    """Whether the caller named it."""
    is_default: bool
    """Nothing says which store is meant."""
    in_default_folder: bool
    """Where folders are made with the store."""

    def __repr__(self) -> str:
        return f"Choice({str(self.place)!r}, {self.source!r})"

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Errors say which setting led here, unless the caller named the location."""
        try:
            yield
        except _EXPLAINED as error:
            if self.is_argument or type(error) not in _EXPLAINED:
                raise
            raise type(error)(f"{error} (chosen by {self.source})") from error

    def missing(self) -> str:
        """What to say when no store is there."""
        if self.is_default:
            return (
                f"no store is configured, and there is none at the default place {self.place}; next: `sessiondb init` "
                "makes it there; --db, SESSIONDB_URL or the configuration file name another"
            )
        who = "" if self.is_argument else f" (chosen by {self.source})"
        return f"there is no store at {self.place}{who}"


class Config:
    """Every setting with its source; made by `load_config`.

    Attributes:
        file: the configuration file that was read, or ``None``.
        file_source: who named it; empty for the one in the user's configuration folder.
        settings: name to `Setting`.
    """

    def __init__(self, file: ConfigFile | None, given: dict[str, list[Given]], files: Files):
        self.file = None if file is None else file.path
        self.file_source = "" if file is None else file.source
        self.settings = {name: _setting(name, given[name]) for name in SETTINGS}
        self._given = given
        self._files = files

    @property
    def location(self) -> str:
        """Where the store is, for people: an absolute path, or a URL without user, password and parameters.

        Raises:
            ConfigError: see `choose`.
        """
        return str(self.choose().place)

    @property
    def backend(self) -> str:
        """The URL scheme of the location.

        Raises:
            ConfigError: see `choose`.
        """
        return self.choose().place.scheme

    def options(self, *, read_only: bool = False, create: bool = True, wait_s: float | None = None) -> Options:
        """The options to open the store with; `wait_s` is the ``lock_timeout`` when nobody says one."""
        values = {name: each.value for name, each in self.settings.items() if name in Options.__struct_fields__}
        if wait_s is not None and not self._given["lock_timeout"]:
            values["lock_timeout"] = wait_s
        return Options(**values, read_only=read_only, create=create)

    def given(self, *names: str) -> list[Given]:
        """All that is said of these settings, what holds first."""
        return [each for name in names for each in self._given[name]]

    def choose(self) -> Choice:
        """The store that is meant; nothing of it is opened.

        The highest level that gives `url` or `backend` chooses; of both on one level `url` says where. The place for
        the chosen backend counts from its own highest level, and before an `url` of a lower one.

        Raises:
            ConfigError: the settings contradict each other, or do not say where; or nothing says which store is meant,
                and the default folder has one of another backend.
        """
        url, backend = self._top("url"), self._top("backend")
        rank = max(url.rank if url else 0, backend.rank if backend else 0)
        by_url = url is not None and url.rank == rank
        scheme = _scheme(url, backend, rank)
        own = self._top(BACKENDS[scheme]) if scheme in BACKENDS else None
        chooser = url if by_url else backend
        self._must_be_meant(scheme, chooser, rank)
        if own is not None and (own.rank > rank or not by_url):
            how = "" if backend is None or by_url else f", with {backend.source}"
            return self._choice(_place(scheme, own), own, f"{own.source}{how}")
        if url is not None and by_url:
            return self._choice(parse_location(url.value), url, url.source)
        return self._default(scheme, backend)

    def _top(self, name: str) -> Given | None:
        found = self._given[name]
        return found[0] if found else None

    def _must_be_meant(self, scheme: str, chooser: Given | None, rank: int) -> None:
        """A place for another backend than the chosen one, from somebody who goes first, would be left out silently."""
        above = {name: given for name in BACKENDS if (given := self._top(BACKENDS[name])) and given.rank > rank}
        if above and scheme not in above:
            name, given = next(iter(above.items()))
            who = "no setting chooses a backend, and the default is" if chooser is None else f"{chooser.source} chooses"
            raise ConfigError(
                f"{given.source} says where a {name} store is, but {who} {scheme}; next: set {variable('backend')}="
                f"{name}, or leave {given.source} out"
            )

    def _choice(self, place: Location, used: Given, source: str) -> Choice:
        names = ("url", "backend", BACKENDS.get(place.scheme, "url"))
        given = [(name, each) for name in dict.fromkeys(names) for each in self._given[name]]
        lost = [each for name, each in given if each is not used and (name, each.value) != ("backend", place.scheme)]
        return Choice(place, source, tuple(lost), used.level == "argument", is_default=False, in_default_folder=False)

    def _default(self, scheme: str, backend: Given | None) -> Choice:
        if scheme not in FILE_NAMES:
            who = "" if backend is None else f" ({backend.source})"
            raise ConfigError(
                f"the store is not configured: the backend is {scheme}{who}, but nothing says where; next: set "
                f"{variable(BACKENDS[scheme])}, or {BACKENDS[scheme]} in the configuration file"
            )
        place = Location(scheme, os.path.realpath(default_path(scheme)))
        if backend is None:
            self._must_be_alone()
            return Choice(place, "default", (), is_argument=False, is_default=True, in_default_folder=True)
        chosen = self._choice(place, backend, f"default, with {backend.source}")
        return chosen._replace(is_argument=False, in_default_folder=True)

    def _must_be_alone(self) -> None:
        """Without a word about it the JSON store is meant; not where the user had another one."""
        found = [scheme for scheme, kind in KINDS.items() if _is_there(self._files, default_path(scheme), kind)]
        if found:
            paths = " and ".join(default_path(scheme) for scheme in found)
            choices = " or ".join(f"{variable('backend')}={scheme}" for scheme in (*found, "json"))
            raise ConfigError(
                f"no setting says which store is meant, the default is {default_path('json')}, and there is {paths}; "
                f"next: set {choices}, or name the store"
            )

    def __repr__(self) -> str:
        said = [each for each in self.settings.values() if each.source != "default"]
        return f"<Config {', '.join(f'{each.name}={masked(each.value)!r} ({each.source})' for each in said)}>"


def _setting(name: str, given: list[Given]) -> Setting:
    if not given:
        return Setting(name, DEFAULTS[name], "default", ())
    return Setting(name, given[0].value, given[0].source, tuple(given[1:]))


def _scheme(url: Given | None, backend: Given | None, rank: int) -> str:
    """The backend of whoever chooses, who may say it twice."""
    scheme = parse_location(url.value).scheme if url is not None and url.rank == rank else None
    if backend is None or backend.rank < rank:
        return scheme or "json"
    if scheme is not None and scheme != backend.value:
        assert url is not None
        raise ConfigError(
            f"{url.source} names a {scheme} store, and {backend.source} says {backend.value}; next: leave one out"
        )
    return str(backend.value)


def _place(scheme: str, given: Given) -> Location:
    return parse_location(given.value) if scheme == "postgresql" else path_place(scheme, given)


def _is_there(files: Files, path: str, kind: str) -> bool:
    try:
        return files.stat(path) is not None and content_kind(files, path) == kind
    except OSError:
        return True  # something is, and it is not for us to say that it does not matter


def default_path(scheme: str) -> str:
    """Where a store of this backend is when nothing says where: in ``$XDG_STATE_HOME/sessiondb``.

    Raises:
        ConfigError: the user has no home folder.
    """
    folder = user_folder("XDG_STATE_HOME", "~/.local/state")
    if folder is None:
        raise ConfigError(
            "the store is not configured, and there is no default place without a home folder; next: set "
            "SESSIONDB_URL, or HOME, or XDG_STATE_HOME"
        )
    return os.path.join(folder, "sessiondb", FILE_NAMES[scheme])


def load(arguments: Mapping[str, Given], config: Given | None = None, files: Files = REAL_FILES) -> Config:
    """Read the settings from everywhere.

    Args:
        arguments: setting to what the caller says.
        config: the configuration file that the caller names.
        files: the file system, for tests.

    Raises:
        ConfigError: an unknown setting or a bad value, also one that is overridden; the message names where it is from.
        UsageError: a bad argument.
    """
    environment = _environment()
    file = find_file(files, config or environment.pop("config", None))
    environment.pop("config", None)
    levels = [arguments, environment, {} if file is None else read_file(files, file)]
    given = {name: [checked(name, level[name]) for level in levels if name in level] for name in SETTINGS}
    return Config(file, given, files)


def _environment() -> dict[str, Given]:
    """What the environment says, by setting; and ``config``, the file that it names.

    Raises:
        ConfigError: a variable of ours that is none.
    """
    known = {variable(name): name for name in SETTINGS} | {VARIABLE: "config"}
    found = {}
    for name, value in os.environ.items():
        if not name.startswith(PREFIX) or name.startswith(TESTS):
            continue
        if name not in known:
            raise ConfigError(f"there is no setting {name}{near(name, known)}; next: correct or unset the variable")
        found[known[name]] = Given(value, name, "environment")
    return found


def load_config(
    config: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    backend: str | None = None,
    json_path: str | None = None,
    sqlite_path: str | None = None,
    lmdb_path: str | None = None,
    postgresql_url: str | None = None,
    sync: str | None = None,
    sync_interval_ms: int | None = None,
    lock_timeout: float | None = None,
    checkpoint_bytes: int | None = None,
    checkpoint_records: int | None = None,
    checkpoint_age_s: float | None = None,
    cache_bytes: int | None = None,
    log_level: str | None = None,
) -> Config:
    """Read the settings: what is given here goes before the environment, that before the file, that before defaults.

    Args:
        config: the configuration file; else ``SESSIONDB_CONFIG`` names it, else it is ``sessiondb/config.toml`` in the
            user's configuration folder, if that is there.
        url: a location.
        backend: ``json``, ``sqlite``, ``lmdb`` or ``postgresql``.
        json_path: where the store is if that is its backend.
        sqlite_path: the same.
        lmdb_path: the same.
        postgresql_url: the same.
        sync: as for `sessiondb.open`.
        sync_interval_ms: as for `sessiondb.open`.
        lock_timeout: as for `sessiondb.open`.
        checkpoint_bytes: as for `sessiondb.open`.
        checkpoint_records: as for `sessiondb.open`.
        checkpoint_age_s: as for `sessiondb.open`.
        cache_bytes: as for `sessiondb.open`.
        log_level: what the command prints of the library's messages.

    Raises:
        ConfigError: an unknown setting or a bad value, also one that is overridden; the message names where it is from.
        UsageError: a bad argument.
    """
    values: dict[str, Any] = {
        "url": url, "backend": backend, "json_path": json_path, "sqlite_path": sqlite_path, "lmdb_path": lmdb_path,
        "postgresql_url": postgresql_url, "sync": sync, "sync_interval_ms": sync_interval_ms,
        "lock_timeout": lock_timeout, "checkpoint_bytes": checkpoint_bytes, "checkpoint_records": checkpoint_records,
        "checkpoint_age_s": checkpoint_age_s, "cache_bytes": cache_bytes, "log_level": log_level,
    }  # fmt: skip
    return load(said(values), None if config is None else Given(os.fspath(config), "argument config", "argument"))


def said(values: Mapping[str, Any]) -> dict[str, Given]:
    """Those arguments of a function that were given."""
    return {name: Given(value, f"argument {name}", "argument") for name, value in values.items() if value is not None}
