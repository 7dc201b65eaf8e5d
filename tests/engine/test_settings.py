"""Settings: one precedence for every key, and values that are refused with their source."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from sessiondb.config import Options
from sessiondb.settings import BACKENDS, SETTINGS, Given, checked, masked, variable

pytestmark = pytest.mark.usefixtures("settings_world")

VALUES: dict[str, tuple[Any, Any, Any]] = {
    "url": ("/file/x.json", "/environment/x.json", "/argument/x.json"),
    "backend": ("sqlite", "lmdb", "json"),
    "json_path": ("/file/x", "/environment/x", "/argument/x"),
    "sqlite_path": ("/file/x", "/environment/x", "/argument/x"),
    "lmdb_path": ("/file/x", "/environment/x", "/argument/x"),
    "postgresql_url": ("postgresql://file/x", "postgresql://environment/x", "postgres://argument/x"),
    "sync": ("never", "interval", "always"),
    "sync_interval_ms": (1, 2, 3),
    "lock_timeout": (0.5, 1.5, 2.5),
    "checkpoint_bytes": (1, 2, 3),
    "checkpoint_records": (1, 2, 3),
    "checkpoint_age_s": (0.5, 1.5, 2.5),
    "cache_bytes": (1, 2, 0),
    "log_level": ("debug", "info", "error"),
}
"""What the file says, what the environment says, what the caller says."""
DEFAULTS = {name: getattr(Options(), name) for name in SETTINGS if name in Options.__struct_fields__}
OPTIONS = [name for name in SETTINGS if name in Options.__struct_fields__]
NOT_SETTINGS = {"read_only", "create", "layout"}
"""Options that belong to a call."""


def write_file(text: str) -> Path:
    path = Path(os.environ["XDG_CONFIG_HOME"], "sessiondb", "config.toml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_every_option_is_a_setting_or_belongs_to_a_call() -> None:
    assert set(Options.__struct_fields__) - set(SETTINGS) <= NOT_SETTINGS
    assert not NOT_SETTINGS & set(SETTINGS)


def test_the_precedence_is_tried_for_every_setting() -> None:
    assert list(VALUES) == list(SETTINGS)


@pytest.mark.parametrize("name", SETTINGS)
def test_an_argument_goes_before_the_environment_before_the_file_before_the_default(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file, in_environment, as_argument = VALUES[name]
    default = DEFAULTS.get(name, "warning" if name == "log_level" else None)
    for has_file, has_environment, has_argument in itertools.product((False, True), repeat=3):
        path = write_file(f"{name} = {toml(in_file)}" if has_file else "")
        if has_environment:
            monkeypatch.setenv(variable(name), str(in_environment))
        else:
            monkeypatch.delenv(variable(name), raising=False)
        expected = [(default, "default")]
        expected += [(in_file, f"{name} in {path}")] * has_file
        expected += [(in_environment, variable(name))] * has_environment
        expected += [(as_argument, f"argument {name}")] * has_argument
        config = sessiondb.load_config(**({name: as_argument} if has_argument else {}))
        found = config.settings[name]
        assert (found.value, found.source) == expected[-1]
        assert [(lost.value, lost.source) for lost in found.overridden] == expected[-2:0:-1]
        assert config.file == str(path)


@pytest.mark.parametrize("level", ["file", "environment", "argument"])
@pytest.mark.parametrize("name", OPTIONS)
def test_what_holds_is_what_the_store_is_opened_with(name: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_file, in_environment, as_argument = VALUES[name]
    expected = in_file
    write_file(f"{name} = {toml(in_file)}")
    monkeypatch.setenv("SESSIONDB_URL", "memory:")
    if level != "file":
        expected = in_environment
        monkeypatch.setenv(variable(name), str(in_environment))
    given = {name: as_argument} if level == "argument" else {}
    if level == "argument":
        expected = as_argument
    with sessiondb.open(**given) as db:
        assert getattr(db._open.options, name) == expected
        others = {other: value for other, value in DEFAULTS.items() if other != name}
        assert {other: getattr(db._open.options, other) for other in others} == others


def test_an_argument_may_be_the_default_and_still_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's variable weakens what the program asks for."""
    monkeypatch.setenv("SESSIONDB_SYNC", "never")
    with sessiondb.open(sync="always") as db:
        assert db._open.options.sync == "always"


def test_without_any_setting_everything_is_the_default() -> None:
    config = sessiondb.load_config()
    assert config.file is None
    assert {each.source for each in config.settings.values()} == {"default"}
    assert config.options() == Options()
    assert config.location == os.path.join(os.environ["XDG_STATE_HOME"], "sessiondb", "sessions.json")
    assert config.backend == "json"


# ---- values

BAD = [
    ("url", "x.json", "is relative"),
    ("url", "sqlite:///x.db", "is relative"),
    ("url", "/x/y.txt", "names no backend"),
    ("url", "sqlite://x", "three slashes"),
    ("url", "/x/$NO_SUCH_NAME/y.json", r"\$NO_SUCH_NAME, which is not set"),
    ("url", "/x/${NO_SUCH_NAME}/y.json", "which is not set"),
    ("url", "", "is empty"),
    ("backend", "postgres", "must be one of json, sqlite, lmdb, postgresql"),
    ("backend", "JSON", "must be one of"),
    ("json_path", "x.json", "is relative"),
    ("json_path", "./x.json", "is relative"),
    ("json_path", "~nobody-of-this-name/x.json", "of a user that is not known"),
    ("url", "json:///~nobody-of-this-name/x.json", "of a user that is not known"),
    ("sqlite_path", "sqlite:////x/y.db", "is a URL"),
    ("lmdb_path", "", "is empty"),
    ("postgresql_url", "host=x dbname=y", "is no URL of PostgreSQL"),
    ("url", "postgresql:/x", "is no URL of PostgreSQL"),
    ("sync", "sometimes", "must be one of always, interval, never"),
    ("sync_interval_ms", 0, "at least 1"),
    ("lock_timeout", -1, "at least 0"),
    ("checkpoint_bytes", 0, "at least 1"),
    ("checkpoint_records", -5, "at least 1"),
    ("checkpoint_age_s", -0.5, "at least 0"),
    ("cache_bytes", -1, "at least 0"),
    ("lock_timeout", 1e300, "at most"),
    ("checkpoint_age_s", 2e9, "at most"),
    ("sync_interval_ms", 10**30, "at most"),
    ("log_level", "loud", "must be one of debug, info, warning, error"),
]


@pytest.mark.parametrize("is_overridden", [False, True])
@pytest.mark.parametrize(("name", "value", "said"), BAD)
def test_a_bad_value_is_an_error_that_names_its_source(
    name: str, value: Any, said: str, is_overridden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where something else goes before it: else it would be found out at a worse moment."""
    given = {name: VALUES[name][2]} if is_overridden else {}
    path = write_file(f"{name} = {toml(value)}")
    with pytest.raises(sessiondb.ConfigError, match=f"(?s)^{name} in {path}: .*{said}"):
        sessiondb.load_config(**given)
    path.unlink()
    monkeypatch.setenv(variable(name), str(value))
    with pytest.raises(sessiondb.ConfigError, match=f"(?s)^{variable(name)}: .*{said}"):
        sessiondb.load_config(**given)


@pytest.mark.parametrize(
    ("name", "value", "said"), [each for each in BAD if "relative" not in each[2] and "not set" not in each[2]]
)
def test_a_bad_argument_is_the_callers_mistake(name: str, value: Any, said: str) -> None:
    with pytest.raises(sessiondb.UsageError, match=f"^argument {name}: .*{said}"):
        sessiondb.load_config(**{name: value})


@pytest.mark.parametrize("name", [name for name, kind in SETTINGS.items() if kind is not str])
@pytest.mark.parametrize("value", ["x", "", "1e", "0x10", "1,5", "always"])
def test_a_variable_that_is_no_number_is_an_error(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(sessiondb.ConfigError, match=f"^{variable(name)}: .* must be a (whole )?number"):
        sessiondb.load_config()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_value_of_another_type_in_the_file_is_an_error(name: str) -> None:
    wrong = {str: ("1", "true", "[]"), int: ('"1"', "1.0", "true", "nan"), float: ('"1.0"', "true", "1979-05-27")}
    for value in (*wrong[SETTINGS[name]], "{}", '["x"]'):
        path = write_file(f"{name} = {value}")
        with pytest.raises(sessiondb.ConfigError, match=f"^{name} in {path}: .*must be"):
            sessiondb.load_config()


@pytest.mark.parametrize("name", ["lock_timeout", "checkpoint_age_s"])
def test_what_is_no_number_of_seconds_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), "nan")
    with pytest.raises(sessiondb.ConfigError, match="must be a number of seconds"):
        sessiondb.load_config()


def test_a_whole_number_will_do_for_seconds() -> None:
    write_file("lock_timeout = 3")
    assert sessiondb.load_config().options().lock_timeout == 3.0


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("SESSIONDB_SYNCH", "did you mean SESSIONDB_SYNC?"),
        ("SESSIONDB_POSTGRES_URL", "did you mean SESSIONDB_POSTGRESQL_URL?"),
        ("SESSIONDB_PATH", "next: correct or unset"),
        ("SESSIONDB_", "next: correct or unset"),
        ("SESSIONDB_url", "next: correct or unset"),
    ],
)
def test_an_unknown_variable_is_an_error(name: str, near: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(sessiondb.ConfigError, match=f"there is no setting {name}") as caught:
        sessiondb.load_config()
    assert near in str(caught.value)


def test_variables_of_others_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the predecessor are honoured only by commands that are told to."""
    before = sessiondb.load_config()
    for name in (
        "MINSKY_SESSION_BACKEND", "MINSKY_SESSIONDB_BACKEND", "MINSKY_SQLITE_PATH", "MINSKY_POSTGRES_URL",
        "MINSKY_JSON_PATH", "MINSKY_BASE_DIR", "MINSKY_PERSISTENCE_BACKEND", "XDGSTATE_HOME", "SESSIONDB",
        "DATABASE_URL", "SESSIONDB_TEST_PG_DSN", "SESSIONDBX_SYNC",
    ):  # fmt: skip
        monkeypatch.setenv(name, "/elsewhere")
    assert sessiondb.load_config().settings == before.settings
    assert sessiondb.load_config().location == before.location


# ---- passwords

SECRET = "s3cr3t"
URLS = [
    f"postgresql://me:{SECRET}@db.example:5432/app",
    f"postgres://me:{SECRET}@db.example/app?sslmode=verify-full",
    f"postgresql://db.example/app?user=me&password={SECRET}",
    f"postgresql://db.example/app?pass%77ord={SECRET}&namespace=x",
    f"postgresql://db.example/app?sslpassword={SECRET}",
    f"postgresql://db.example/app?oauth_client_secret={SECRET}",
    f"postgresql://me:a@{SECRET}@db.example/app",
    f"postgresql://me:a/{SECRET}@db.example/app",
    f"postgresql://me:a#{SECRET}@db.example/app",
    f"postgresql://me:a?{SECRET}@db.example/app",
    f"postgresql://me:a:{SECRET}@db.example/app?options=x@y",
    f"stranger://:{SECRET}@x/y?api_key={SECRET}",
    f"stranger:me:{SECRET}@x",
]
BROKEN_URLS = [
    f"postgresql:/me:{SECRET}@db.example/app",
    f"postgresql:me:{SECRET}@db.example/app",
    f"postgresql//me:{SECRET}@db.example/app.x",
    f"host=db.example user=me@x password={SECRET}.x",
    f"sqlite://me:{SECRET}@db.example",
]


@pytest.mark.parametrize("url", URLS)
def test_a_password_is_in_nothing_that_is_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONDB_URL", url)
    write_file(f'url = "{url}"')
    config = sessiondb.load_config()
    assert config.settings["url"].value == url, "it is there for those who connect"
    choice = config.choose()
    shown = [config, config.settings["url"], *config.settings["url"].overridden, choice, config.location]
    for each in shown:
        assert SECRET not in f"{each!r} {each}"
    assert "***" in masked(url)


@pytest.mark.parametrize("name", ["url", "postgresql_url"])
@pytest.mark.parametrize("url", BROKEN_URLS)
def test_a_password_is_in_no_error(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), url)
    with pytest.raises(sessiondb.ConfigError) as caught:
        sessiondb.load_config()
    assert SECRET not in str(caught.value)
    with pytest.raises(sessiondb.UsageError) as caught_too:
        sessiondb.load_config(**{name: url})
    assert SECRET not in str(caught_too.value)


def test_what_tells_servers_apart_is_shown() -> None:
    url = "postgresql://me:x@db.example:5432,other:5433/app?namespace=team&sslmode=verify-full"
    assert masked(url) == "postgresql://me:***@db.example:5432,other:5433/app?namespace=team&sslmode=verify-full"
    assert masked("postgresql://db.example/app") == "postgresql://db.example/app"
    assert masked("postgresql://me@db.example/app") == "postgresql://me@db.example/app"
    assert masked("sqlite:////x/a:b@c.db?password=x") == "sqlite:////x/a:b@c.db?password=x", "a path has no password"
    assert masked("/x/me:you@there.json") == "/x/me:you@there.json"
    assert masked(5) == 5


def test_every_backend_has_a_setting_for_its_place() -> None:
    assert set(BACKENDS.values()) <= set(SETTINGS)
    for name in ("json_path", "sqlite_path", "lmdb_path"):
        assert checked(name, Given("~/x", "here", "file")).value == "~/x", "what is shown is what was written"
