"""The configuration file: which one is read, and what makes it wrong."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import sessiondb
from sessiondb.configuration import load
from sessiondb.files import Files, FileStat
from sessiondb.testing import FaultyFiles

ConfigError = sessiondb.ConfigError


@pytest.fixture
def world(settings_world: Path) -> Path:
    return settings_world


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_named_file_goes_before_the_variables_before_the_users(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = put(world / "config/sessiondb/config.toml", "cache_bytes = 1")
    assert sessiondb.load_config().file == str(users)
    assert sessiondb.load_config().settings["cache_bytes"].value == 1
    variables = put(world / "a.toml", "cache_bytes = 2")
    monkeypatch.setenv("SESSIONDB_CONFIG", str(variables))
    config = sessiondb.load_config()
    assert (config.file, config.file_source, config.settings["cache_bytes"].value) == (
        str(variables), "SESSIONDB_CONFIG", 2,
    )  # fmt: skip
    named = put(world / "b.toml", "cache_bytes = 3")
    config = sessiondb.load_config(named)
    assert (config.file, config.file_source) == (str(named), "argument config")
    assert config.settings["cache_bytes"].value == 3
    assert config.settings["cache_bytes"].overridden == (), "one file is read, not several"


def test_no_file_is_found_by_where_the_program_was_started(world: Path) -> None:
    for name in ("config.toml", ".sessiondb.toml", "sessiondb.toml", "sessiondb/config.toml", ".sessiondb/config.toml",
                 ".config/sessiondb/config.toml", ".minsky/config.yaml", "pyproject.toml"):  # fmt: skip
        put(world / "work" / name, "nonsense")
    assert sessiondb.load_config().file is None


def test_a_relative_configuration_folder_counts_as_unset(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world / "work/config/sessiondb/config.toml", "nonsense")
    users = put(world / "home/.config/sessiondb/config.toml", "")
    for folder in ("config", "./config", ""):
        monkeypatch.setenv("XDG_CONFIG_HOME", folder)
        assert sessiondb.load_config().file == str(users)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert sessiondb.load_config().file == str(users)


def test_a_named_file_that_is_missing_is_an_error(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"there is no configuration file at .*/no.toml, which argument config names"):
        sessiondb.load_config(world / "no.toml")
    monkeypatch.setenv("SESSIONDB_CONFIG", str(world / "no.toml"))
    with pytest.raises(
        ConfigError, match=r"there is no configuration file at .*/no.toml, which SESSIONDB_CONFIG names"
    ):
        sessiondb.load_config()


def test_a_variable_may_not_name_a_file_by_where_one_stands(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world / "work/a.toml", "cache_bytes = 5")
    monkeypatch.setenv("SESSIONDB_CONFIG", "a.toml")
    with pytest.raises(ConfigError, match=r"SESSIONDB_CONFIG: the path 'a.toml' is relative"):
        sessiondb.load_config()
    assert sessiondb.load_config("a.toml").settings["cache_bytes"].value == 5, "who calls knows where he is"


@pytest.mark.parametrize("name", [""])
def test_a_name_that_is_none_is_an_error(world: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONDB_CONFIG", name)
    with pytest.raises(ConfigError, match="SESSIONDB_CONFIG: "):
        sessiondb.load_config()
    with pytest.raises(sessiondb.UsageError, match="argument config: "):
        sessiondb.load_config(name)


def test_a_home_is_found_in_the_name(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(world / "home/x.toml", "cache_bytes = 5")
    for name in ("~/x.toml", "$HOME/x.toml", "${HOME}/x.toml"):
        monkeypatch.setenv("SESSIONDB_CONFIG", name)
        assert sessiondb.load_config().settings["cache_bytes"].value == 5


@pytest.mark.parametrize("name", ["/dev/null"])
def test_an_empty_file_says_nothing(world: Path, name: str) -> None:
    put(world / "config/sessiondb/config.toml", "cache_bytes = 1")
    assert sessiondb.load_config(name).settings["cache_bytes"].source == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cache_byte = 1", "there is no setting 'cache_byte'; did you mean cache_bytes?"),
        ("[sqlite]\npath = '/x'", "there is no setting 'sqlite'"),
        ("[sessiondb]\nbackend = 'json'", "there is no setting 'sessiondb'"),
        ("cache_bytes 1\n", r"is no TOML file: .*line 1"),
        ("cache_bytes = 1\ncache_bytes = 2", "is no TOML file: Cannot overwrite"),
        ("backend: json", "is no TOML file"),
        ('{"backend": "json"}', "is no TOML file"),
        (b"backend = '\xff'", "it is not UTF-8"),
        (b"SQLite format 3\0", "is no TOML file"),
        (b"\xef\xbb\xbfcache_bytes = 1", "is no TOML file"),
        ("", None),
        ("# nothing\n", None),
    ],
)
def test_a_file_that_is_wrong_is_an_error_that_names_it(world: Path, text: str | bytes, said: str | None) -> None:
    path = put(world / "config/sessiondb/config.toml", text)
    if said is None:
        assert sessiondb.load_config().file == str(path)
        return
    with pytest.raises(ConfigError, match=f"{path}.*{said}"):
        sessiondb.load_config()


def test_a_file_that_has_no_size_is_read(world: Path) -> None:
    """Those in /proc say that they are empty, and are not."""
    if not os.path.exists("/proc/self/cmdline"):
        pytest.skip("there is no /proc")
    with pytest.raises(ConfigError, match="is no TOML file"):
        sessiondb.load_config("/proc/self/cmdline")


def test_a_file_of_another_kind_is_not_read_whole(world: Path) -> None:
    path = put(world / "big.toml", b"#" * (1 << 20) + b"\n" + b"#" * 10)
    with pytest.raises(ConfigError, match="longer than 1,048,576 bytes"):
        sessiondb.load_config(path)
    with pytest.raises(ConfigError):
        sessiondb.load_config("/dev/zero")


def test_a_folder_is_no_file(world: Path) -> None:
    (world / "config/sessiondb/config.toml").mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        sessiondb.load_config()


@pytest.mark.parametrize("operation", ["open", "pread"])
def test_a_file_that_cannot_be_read_is_not_taken_for_none(world: Path, operation: str) -> None:
    path = put(world / "config/sessiondb/config.toml", "cache_bytes = 1")
    files = FaultyFiles()
    with (
        files.failing(operation, errno.EACCES),
        pytest.raises(ConfigError, match=f"{path} cannot be read: Permission denied"),
    ):
        load({}, None, files)


def test_a_folder_that_cannot_be_looked_into_is_not_taken_for_empty(world: Path) -> None:
    class Closed(Files):
        def stat(self, path: str) -> FileStat | None:
            raise PermissionError(errno.EACCES, "Permission denied", path)

    with pytest.raises(ConfigError, match=r"config.toml cannot be read: Permission denied"):
        load({}, None, Closed())


def test_a_broken_file_stops_also_who_names_a_store(world: Path) -> None:
    put(world / "config/sessiondb/config.toml", "nonsense")
    with pytest.raises(ConfigError):
        sessiondb.load_config(url=str(world / "x.json"))
    assert sessiondb.load_config(os.devnull, url=str(world / "x.json")).backend == "json"
