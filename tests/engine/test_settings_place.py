"""Which store the settings mean: who chooses, what is left out, and what is refused rather than guessed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from sessiondb.configuration import default_path
from sessiondb.settings import variable

ConfigError = sessiondb.ConfigError
SUFFIXES = {"json": "json", "sqlite": "db", "lmdb": "lmdb"}


@pytest.fixture
def world(settings_world: Path) -> Path:
    return settings_world


@pytest.fixture
def say(world: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Read the settings that a file, the environment and the caller say."""

    def load(
        file: dict[str, str] | None = None, environment: dict[str, str] | None = None, **arguments: Any
    ) -> sessiondb.Config:
        path = world / "config/sessiondb/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f'{name} = "{value}"\n' for name, value in (file or {}).items()))
        for name, value in (environment or {}).items():
            monkeypatch.setenv(variable(name), value)
        return sessiondb.load_config(**arguments)

    return load


def chosen(config: sessiondb.Config) -> tuple[str, str, str]:
    choice = config.choose()
    return choice.place.scheme, str(choice.place), choice.source


# ---- one level


@pytest.mark.parametrize("scheme", SUFFIXES)
def test_a_backend_alone_means_its_default_place(say: Any, world: Path, scheme: str) -> None:
    where = str(world / f"state/sessiondb/sessions.{SUFFIXES[scheme]}")
    assert default_path(scheme) == where
    assert chosen(say(environment={"backend": scheme})) == (
        scheme, where, "default, with SESSIONDB_BACKEND",
    )  # fmt: skip


@pytest.mark.parametrize("scheme", SUFFIXES)
def test_a_backend_with_its_path_means_that_file_whatever_its_suffix(say: Any, scheme: str) -> None:
    config = say(environment={"backend": scheme, f"{scheme}_path": "/srv/x.data"})
    source = f"SESSIONDB_{scheme.upper()}_PATH, with SESSIONDB_BACKEND"
    assert chosen(config) == (scheme, "/srv/x.data", source)
    assert config.choose().overridden == ()


def test_a_backend_on_a_server_needs_to_be_told_where(say: Any) -> None:
    with pytest.raises(ConfigError, match=r"not configured: the backend is postgresql \(SESSIONDB_BACKEND\), but noth"):
        say(environment={"backend": "postgresql"}).choose()
    config = say(environment={"backend": "postgresql", "postgresql_url": "postgresql://me:x@db.example/app"})
    assert chosen(config) == (
        "postgresql", "postgresql://db.example/app", "SESSIONDB_POSTGRESQL_URL, with SESSIONDB_BACKEND",
    )  # fmt: skip


def test_places_for_several_backends_may_be_said_where_one_is_chosen(say: Any) -> None:
    places = {"json_path": "/srv/x.json", "sqlite_path": "/srv/x.db", "lmdb_path": "/srv/x.lmdb"}
    for scheme in SUFFIXES:
        config = say(file={**places, "backend": scheme})
        assert config.location == f"/srv/x.{SUFFIXES[scheme]}"
        assert config.choose().overridden == ()


def test_an_url_is_the_whole_answer(say: Any) -> None:
    config = say(environment={"url": "sqlite:////srv/x.data", "json_path": "/srv/x.json"})
    assert chosen(config) == ("sqlite", "/srv/x.data", "SESSIONDB_URL")
    config = say(environment={"url": "sqlite:////srv/x.data", "sqlite_path": "/srv/y.db"})
    assert config.location == "/srv/x.data"
    assert [lost.source for lost in config.choose().overridden] == ["SESSIONDB_SQLITE_PATH"]


def test_an_url_and_a_backend_that_contradict_each_other_are_an_error(say: Any) -> None:
    config = say(environment={"url": "/srv/x.db", "backend": "json"})
    with pytest.raises(ConfigError, match="SESSIONDB_URL names a sqlite store, and SESSIONDB_BACKEND says json"):
        config.choose()
    assert say(environment={"backend": "sqlite"}).location == "/srv/x.db", "saying it twice is fine"


@pytest.mark.parametrize("scheme", ["sqlite", "lmdb", "postgresql"])
def test_a_place_for_a_backend_that_nobody_chose_is_an_error(say: Any, scheme: str) -> None:
    """Else records would go into the default JSON file, and be looked for elsewhere."""
    name = "postgresql_url" if scheme == "postgresql" else f"{scheme}_path"
    config = say(environment={name: "postgresql://h/d" if scheme == "postgresql" else "/srv/x"})
    with pytest.raises(ConfigError, match=f"{variable(name)} says where a {scheme} store is, but no setting chooses a"):
        config.choose()


def test_a_path_of_the_default_backend_is_enough(say: Any) -> None:
    assert chosen(say(environment={"json_path": "/srv/x"})) == ("json", "/srv/x", "SESSIONDB_JSON_PATH")


# ---- several levels


def test_a_backend_goes_before_an_url_of_a_lower_level(say: Any, world: Path) -> None:
    config = say(file={"url": "postgresql://me:x@h/d"}, environment={"backend": "sqlite"})
    assert config.location == str(world / "state/sessiondb/sessions.db")
    assert [lost.value for lost in config.choose().overridden] == ["postgresql://me:x@h/d"]


def test_an_url_goes_before_a_backend_of_a_lower_level(say: Any) -> None:
    config = say(file={"backend": "sqlite", "sqlite_path": "/srv/x.db"}, environment={"url": "/srv/y.json"})
    assert chosen(config) == ("json", "/srv/y.json", "SESSIONDB_URL")
    assert [lost.value for lost in config.choose().overridden] == ["sqlite"]


def test_a_backend_finds_its_path_on_a_lower_level(say: Any) -> None:
    config = say(file={"backend": "json", "sqlite_path": "/srv/x.db"}, environment={"backend": "sqlite"})
    path = str(Path(os.environ["XDG_CONFIG_HOME"], "sessiondb/config.toml"))
    assert chosen(config) == ("sqlite", "/srv/x.db", f"sqlite_path in {path}, with SESSIONDB_BACKEND")


def test_a_path_goes_before_that_of_a_lower_level(say: Any) -> None:
    config = say(file={"backend": "sqlite", "sqlite_path": "/srv/x.db"}, environment={"sqlite_path": "/srv/y.db"})
    assert config.location == "/srv/y.db"
    assert [lost.value for lost in config.choose().overridden] == ["/srv/x.db"]
    assert say(json_path="/srv/z", backend="json").location == "/srv/z"


def test_a_path_goes_before_an_url_of_a_lower_level_and_the_same_backend(say: Any) -> None:
    config = say(file={"url": "/srv/x.db"}, environment={"sqlite_path": "/srv/y.db"})
    assert chosen(config) == ("sqlite", "/srv/y.db", "SESSIONDB_SQLITE_PATH")


def test_a_path_for_another_backend_than_a_lower_level_chose_is_an_error(say: Any) -> None:
    for file in ({"backend": "json"}, {"url": "/srv/x.json"}):
        config = say(file=file, environment={"sqlite_path": "/srv/y.db"})
        with pytest.raises(ConfigError, match=r"SESSIONDB_SQLITE_PATH says where a sqlite store is, but .* in .* choo"):
            config.choose()
    both = {"sqlite_path": "/srv/y.db", "json_path": "/srv/z.json"}
    assert say(file={"backend": "json"}, environment=both).location == "/srv/z.json", "all places may be said at once"


def test_an_argument_goes_before_everything(say: Any, world: Path) -> None:
    file = {"backend": "sqlite", "sqlite_path": "/srv/x.db"}
    config = say(file=file, environment={"url": "/srv/y.lmdb"}, url="relative.json")
    assert chosen(config) == ("json", str(world / "work/relative.json"), "argument url")
    assert [lost.value for lost in config.choose().overridden] == ["/srv/y.lmdb", "sqlite"]


# ---- paths


@pytest.mark.parametrize("path", ["~/x.db", "$HOME/x.db", "${HOME}/x.db"])
@pytest.mark.parametrize("name", ["url", "sqlite_path"])
@pytest.mark.parametrize("level", ["file", "environment", "arguments"])
def test_a_home_is_expanded_on_every_level(say: Any, world: Path, path: str, name: str, level: str) -> None:
    """The predecessor once made a folder that was called ``~``."""
    settings = {name: path} | ({"backend": "sqlite"} if name == "sqlite_path" else {})
    config = say(**(settings if level == "arguments" else {level: settings}))
    assert config.location == str(world / "home/x.db")
    (world / "home").mkdir()
    with sessiondb.create_storage(config):
        pass
    assert (world / "home/x.db").exists()
    assert os.listdir(world / "work") == []


@pytest.mark.parametrize("url", ["sqlite:///~/x.db", "sqlite:///$HOME/x.db"])
def test_a_home_is_expanded_in_an_url(say: Any, world: Path, url: str) -> None:
    assert say(environment={"url": url}).location == str(world / "home/x.db")


@pytest.mark.parametrize(
    "settings",
    [{}, {"backend": "sqlite"}, {"url": "~/x.json"}, {"backend": "lmdb", "lmdb_path": "/srv/x"}, {"json_path": "~/y"}],
)
def test_the_same_settings_mean_the_same_store_from_any_folder(
    say: Any, world: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = say(file=settings).location
    for folder in ("/", str(world), str(world / "config")):
        monkeypatch.chdir(folder)
        assert say(file=settings).location == before


def test_a_symlink_is_resolved(say: Any, world: Path) -> None:
    (world / "real").mkdir()
    (world / "link").symlink_to(world / "real")
    assert say(environment={"json_path": f"{world}/link/x"}).location == str(world / "real/x")


@pytest.mark.parametrize("folder", ["state", "./state", ""])
def test_a_relative_state_folder_counts_as_unset(
    say: Any, world: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", folder)
    assert say().location == str(world / "home/.local/state/sessiondb/sessions.json")


def test_without_a_home_folder_there_is_no_default_place(
    say: Any, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user that only a container knows: ``~`` then stays, and would be a folder in the current one."""
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    (world / "work/~/.config/sessiondb").mkdir(parents=True)
    (world / "work/~/.config/sessiondb/config.toml").write_text("nonsense")
    for environment in ({}, {"SESSIONDB_BACKEND": "sqlite"}):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError, match="no default place without a home folder"):
            sessiondb.open()
        with pytest.raises(ConfigError, match="no default place without a home folder"):
            sessiondb.create_storage()
    assert sorted(os.listdir(world / "work/~")) == [".config"]
    assert sessiondb.load_config(url=str(world / "x.db")).backend == "sqlite", "a store may be named all the same"


# ---- no store is taken for another


@pytest.mark.parametrize("others", [["sqlite"], ["lmdb"], ["sqlite", "lmdb"]])
@pytest.mark.parametrize("has_json", [False, True])
def test_where_another_backends_store_lies_in_the_default_folder_the_default_is_refused(
    say: Any, world: Path, others: list[str], has_json: bool
) -> None:
    """Else a variable that got lost would mean another, perhaps empty store."""
    for scheme in [*others, *(["json"] if has_json else [])]:
        with sessiondb.create_storage(say(backend=scheme)):
            pass
    with pytest.raises(ConfigError, match="no setting says which store is meant") as caught:
        say().choose()
    for scheme in others:
        assert default_path(scheme) in str(caught.value)
        assert f"SESSIONDB_BACKEND={scheme}" in str(caught.value)
    with pytest.raises(ConfigError):
        sessiondb.open()
    with pytest.raises(ConfigError):
        sessiondb.create_storage()
    assert (world / "state/sessiondb/sessions.json").exists() == has_json
    for scheme in (*others, "json"):
        assert say(environment={"backend": scheme}).backend == scheme, "whoever says which is meant gets it"


def test_an_empty_file_of_another_backends_name_is_no_store(say: Any, world: Path) -> None:
    folder = world / "state/sessiondb"
    folder.mkdir(parents=True)
    (folder / "sessions.db").touch()
    (folder / "sessions.lmdb").mkdir()
    assert say().backend == "json"


def test_what_cannot_be_looked_at_is_not_taken_for_nothing(say: Any, world: Path) -> None:
    folder = world / "state/sessiondb"
    folder.mkdir(parents=True)
    (folder / "sessions.db").symlink_to("sessions.db")
    with pytest.raises(ConfigError, match=r"there is .*sessions.db"):
        say().choose()


def test_a_chosen_store_looks_at_no_other(say: Any, world: Path) -> None:
    with sessiondb.create_storage(say(backend="sqlite")):
        pass
    assert say(environment={"json_path": str(world / "x.json")}).backend == "json"
    assert say(environment={"url": str(world / "x.json")}).backend == "json"
