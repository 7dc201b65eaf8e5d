"""Settings and the command: one precedence for every verb, ``config show``, three states that are told apart."""

from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from sessiondb.settings import SETTINGS, variable
from sessiondb_tools.main import VERBS

URL = "postgresql://me:s3cr3t@127.0.0.1:1/app?password=s3cr3t"


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "sessiondb" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, str]:
    """Stores that hold their names."""
    found = {}
    for name in ("argument", "environment", "file", "default"):
        path = tmp_path / f"{name}.json"
        if name == "default":
            path = tmp_path / "state" / "sessiondb" / "sessions.json"
            path.parent.mkdir(parents=True)
        with sessiondb.open(path) as db:
            db.table("records")["name"] = name
        found[name] = str(path)
    return found


def test_the_command_line_goes_before_the_environment_before_the_file_before_the_default(
    run: Any, stores: dict[str, str], config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for has_file, has_environment, has_argument in itertools.product((False, True), repeat=3):
        config_file.write_text(f'url = "{stores["file"]}"' if has_file else "")
        monkeypatch.delenv("SESSIONDB_URL", raising=False)
        if has_environment:
            monkeypatch.setenv("SESSIONDB_URL", stores["environment"])
        names = ["default"] + ["file"] * has_file + ["environment"] * has_environment + ["argument"] * has_argument
        arguments = ["--db", os.path.relpath(stores["argument"])] if has_argument else []
        done = run("get", "name", *arguments)
        assert (done.code, done.out) == (0, f'"{names[-1]}"\n')


@pytest.mark.parametrize("level", ["option", "environment", "file"])
def test_the_wait_for_a_busy_store_may_be_said_on_every_level(
    run: Any, busy_store: str, config_file: Path, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sessiondb.lock.time.sleep", lambda seconds: None)
    monkeypatch.setattr("sessiondb.lock.time.monotonic", fake_clock(waits))
    config_file.write_text("lock_timeout = 3" if level == "file" else "lock_timeout = 100")
    if level != "file":
        monkeypatch.setenv("SESSIONDB_LOCK_TIMEOUT", "3" if level == "environment" else "100")
    assert run("get", "a", "--db", busy_store, *(["--wait", "3"] if level == "option" else [])).code == 3
    assert 3 <= waits[-1] - waits[0] < 5


def fake_clock(seen: list[float]) -> Any:
    """Each look is half a second later."""

    def monotonic() -> float:
        seen.append(len(seen) * 0.5)
        return seen[-1]

    return monotonic


@pytest.mark.parametrize(("verb", "wait"), [(("get", "a"), 2), (("put", "a", "1"), 10), (("status",), 0.2)])
def test_where_nobody_says_how_long_to_wait_the_verb_does(
    run: Any, busy_store: str, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...], wait: float
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sessiondb.lock.time.sleep", lambda seconds: None)
    monkeypatch.setattr("sessiondb.lock.time.monotonic", fake_clock(waits))
    assert run(*verb, "--db", busy_store).code == 3
    assert wait <= waits[-1] - waits[0] < wait + 2


def test_the_options_of_the_store_are_those_of_the_settings(
    run: Any, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = sessiondb.entry.open_store

    def spy(files: Any, place: Any, options: Any) -> Any:
        seen.append(options)
        return real(files, place, options)

    monkeypatch.setattr("sessiondb.entry.open_store", spy)
    monkeypatch.setenv("SESSIONDB_SYNC", "interval")
    monkeypatch.setenv("SESSIONDB_CHECKPOINT_RECORDS", "7")
    assert run("put", "x", "1", "--db", store).code == 0
    assert (seen[-1].sync, seen[-1].checkpoint_records, seen[-1].lock_timeout) == ("interval", 7, 10.0)
    assert run("get", "x", "--db", store).code == 0
    assert (seen[-1].sync, seen[-1].read_only, seen[-1].create) == ("interval", True, False)


# ---- what is wrong is said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SESSIONDB_URL", "", "SESSIONDB_URL: url is empty"),
        ("SESSIONDB_URL", "s.json", "SESSIONDB_URL: the path 's.json' is relative"),
        ("SESSIONDB_SYNC", "x", "SESSIONDB_SYNC: sync is 'x'"),
        ("SESSIONDB_SNYC", "always", "there is no setting SESSIONDB_SNYC; did you mean SESSIONDB_SYNC?"),
        (
            "SESSIONDB_CONFIG",
            "/no/such.toml",
            "there is no configuration file at /no/such.toml, which SESSIONDB_CONFIG",
        ),
    ],
)
def test_a_wrong_setting_is_wrong_usage_for_every_verb(
    run: Any, store: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    for verb in (["get", "a"], ["put", "x", "1"], ["status"], ["check"], ["log", "dump"], ["init"], ["config", "show"]):
        done = run(*verb, "--db", store)
        assert done.code == 2, verb
        assert f"{said}" in done.err
        assert done.out == ""


def test_a_file_may_be_named(run: Any, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(f'url = "{store}"')
    assert run("get", "a", "--json", "--config", "mine.toml").out == '{"n":1}\n'
    monkeypatch.setenv("SESSIONDB_CONFIG", str(tmp_path / "mine.toml"))
    assert run("get", "a", "--json").out == '{"n":1}\n'
    assert run("get", "a", "--config", os.devnull).code == 3
    assert run("get", "a", "--config", "").code == 2
    assert run("get", "a", "--config", "other.toml").code == 2


def test_not_configured_configured_but_not_there_and_empty_are_three_messages(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for verb in (["list"], ["get", "a"], ["find"], ["tables"], ["status"]):
        monkeypatch.delenv("SESSIONDB_URL", raising=False)
        done = run(*verb)
        assert done.code == 3
        assert f"no store is configured, and there is none at the default place {tmp_path}/state/" in done.err
        monkeypatch.setenv("SESSIONDB_URL", URL)
        done = run(*verb)
        assert done.code == 3
        assert "cannot connect" in done.err
        assert "(chosen by SESSIONDB_URL)" in done.err
        assert "s3cr3t" not in done.err + done.out
        monkeypatch.setenv("SESSIONDB_URL", str(tmp_path / "x.json"))
        done = run(*verb)
        assert done.code == 3
        assert f"there is no store at {tmp_path}/x.json (chosen by SESSIONDB_URL)" in done.err
    run("init")
    done = run("list")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"sessiondb: the store {tmp_path}/x.json is there, and empty\n"
    done = run("get", "a")
    assert done.code == 1
    assert "is there, and empty" in done.err


def test_another_backends_store_in_the_default_folder_is_not_passed_by(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONDB_BACKEND", "sqlite")
    assert run("put", "a", "1").code == 0
    monkeypatch.delenv("SESSIONDB_BACKEND")
    for verb in (["get", "a"], ["put", "a", "2"], ["list"], ["init"]):
        done = run(*verb)
        assert done.code == 2
        assert "no setting says which store is meant" in done.err
        assert "SESSIONDB_BACKEND=sqlite" in done.err
    monkeypatch.setenv("SESSIONDB_BACKEND", "json")
    assert run("put", "a", "2").code == 0
    assert run("get", "a").out == "2\n"


def test_status_says_which_setting_names_the_store_and_which_do_so_in_vain(
    run: Any, store: str, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "chosen by" not in run("status", "--db", store).out
    config_file.write_text(f'url = "{URL}"')
    monkeypatch.setenv("SESSIONDB_URL", store)
    done = run("status")
    lines = [re.split(r"  +", line) for line in done.out.splitlines()]
    assert lines[0] == ["location", store]
    assert lines[1] == ["chosen by", "SESSIONDB_URL"]
    assert lines[2][1] == f"not postgresql://me:***@127.0.0.1:1/app?password=***, as url in {config_file} says"
    shown = run("status", "--json").json
    assert shown["chosen_by"] == "SESSIONDB_URL"
    assert [lost["source"] for lost in shown["overridden"]] == [f"url in {config_file}"]
    assert "s3cr3t" not in done.out + str(shown)


# ---- config show


def rows_of(text: str) -> dict[str, tuple[str, str]]:
    found = [re.split(r"  +", line) for line in text.splitlines()]
    return {row[0]: (row[1], " ".join(row[2:])) for row in found if row[0]}


def test_every_setting_is_shown_with_its_source(run: Any, tmp_path: Path) -> None:
    done = run("config", "show")
    assert (done.code, done.err) == (0, "")
    rows = rows_of(done.out)
    assert list(rows) == ["config", "location", *SETTINGS]
    assert rows["config"] == ("none", "the user's configuration folder")
    assert rows["location"] == (f"{tmp_path}/state/sessiondb/sessions.json", "default")
    assert rows["sync"] == ("always", "default")
    assert rows["url"] == ("-", "default")
    assert os.listdir(tmp_path) == [], "nothing is made"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_shown_with_what_it_overrides(
    run: Any, config_file: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first, second = {
        "url": ("/x/a.db", "/x/b.db"), "backend": ("json", "lmdb"), "sync": ("never", "interval"),
        "log_level": ("info", "error"), "postgresql_url": ("postgresql://h/a", "postgresql://h/b"),
    }.get(name, ("/x/a", "/x/b") if SETTINGS[name] is str else ("5", "6"))  # fmt: skip
    config_file.write_text(f"{name} = " + (f'"{first}"' if SETTINGS[name] is str else first))
    monkeypatch.setenv(variable(name), second)
    done = run("config", "show")
    lines = [re.split(r"  +", line) for line in done.out.splitlines()]
    index = next(number for number, line in enumerate(lines) if line[0] == name)
    shown = [float(line[1]) if SETTINGS[name] is not str else line[1] for line in lines[index : index + 2]]
    assert shown == [second, first] if SETTINGS[name] is str else [6.0, 5.0]
    assert lines[index][2] == variable(name)
    assert lines[index + 1][2] == f"overridden: {name} in {config_file}"


def test_settings_are_shown_as_json(run: Any, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_file.write_text('backend = "sqlite"\nsqlite_path = "~/x.db"\nlock_timeout = 4')
    monkeypatch.setenv("SESSIONDB_SQLITE_PATH", "/srv/y.db")
    shown = run("config", "show", "--json").json
    assert shown["config"] == str(config_file)
    assert (shown["location"], shown["backend"], shown["problem"]) == ("/srv/y.db", "sqlite", None)
    assert shown["location_source"] == f"SESSIONDB_SQLITE_PATH, with backend in {config_file}"
    settings = {each["name"]: each for each in shown["settings"]}
    assert list(settings) == list(SETTINGS)
    assert settings["lock_timeout"]["value"] == 4.0
    assert settings["sqlite_path"] == {
        "name": "sqlite_path", "value": "/srv/y.db", "source": "SESSIONDB_SQLITE_PATH",
        "overridden": [{"value": "~/x.db", "source": f"sqlite_path in {config_file}"}],
    }  # fmt: skip


def test_the_command_line_is_shown_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONDB_URL", "/srv/x.json")
    shown = run("config", "show", "--json", "--db", "y.lmdb").json
    assert (shown["location"], shown["location_source"]) == (f"{os.getcwd()}/y.lmdb", "--db")
    assert shown["settings"][0]["overridden"] == [{"value": "/srv/x.json", "source": "SESSIONDB_URL"}]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are UTF-8")
def test_a_path_that_is_no_utf_8_is_shown(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.json")
    monkeypatch.setenv("SESSIONDB_JSON_PATH", path)
    assert run("init").code == 0
    assert os.path.exists(path)
    for verb in (["config", "show"], ["status"], ["list"]):
        for arguments in ([], ["--json"]):
            assert run(*verb, *arguments).code == 0
    assert run("config", "show", "--json").json["location"] == path


def test_passwords_are_shown_nowhere(run: Any, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_file.write_text(f'url = "{URL}"\npostgresql_url = "{URL}"')
    config_file.chmod(0o600)
    monkeypatch.setenv("SESSIONDB_URL", URL)
    for arguments in ([], ["--json"], ["--db", URL]):
        done = run("config", "show", *arguments)
        assert (done.code, done.err) == (0, "")
        assert "s3cr3t" not in done.out
        assert "me:***@127.0.0.1:1/app?password=***" in done.out


def test_a_password_in_a_file_that_others_can_read_is_warned_of(run: Any, config_file: Path) -> None:
    config_file.write_text(f'url = "{URL}"')
    config_file.chmod(0o644)
    done = run("config", "show")
    assert done.code == 0
    assert done.err.endswith(f"{config_file} holds a password, and others may read it; next: chmod 600\n")
    config_file.write_text('sync = "always"')
    assert run("config", "show").err == ""


def test_settings_that_mean_no_store_are_shown_before_the_error(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONDB_BACKEND", "postgresql")
    done = run("config", "show")
    assert done.code == 2
    assert rows_of(done.out)["backend"] == ("postgresql", "SESSIONDB_BACKEND")
    assert rows_of(done.out)["location"] == ("not known", "")
    assert "the store is not configured" in done.err
    shown = run("config", "show", "--json")
    assert shown.code == 2
    assert shown.json["location"] is None
    assert "not configured" in shown.json["problem"]


# ---- messages, colours


def test_what_the_library_says_comes_from_the_level_that_is_set(
    run: Any, any_killed_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESSIONDB_LOG_LEVEL", "info")
    done = run("put", "x", "1", "--db", any_killed_store)
    assert done.code == 0
    assert re.search(r"^sessiondb: .*: replayed 5 transactions", done.err, re.MULTILINE)


def test_without_a_level_warnings_are_said_and_no_more(run: Any, any_killed_store: str) -> None:
    assert run("put", "x", "1", "--db", any_killed_store).err == ""


def test_what_is_piped_is_not_coloured(run: Any, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for no_color in ("1", ""):
        monkeypatch.setenv("NO_COLOR", no_color)
        for verb in (
            ["status"],
            ["get", "nosuch"],
            ["list"],
            ["tables"],
            ["check"],
            ["log", "dump"],
            ["put", "x", "1"],
        ):
            done = run(*verb, "--db", store)
            assert "\x1b" not in done.out + done.err
        for arguments in (["config", "show"], ["--help"], ["get", "--help"], ["nosuch"], []):
            done = run(*arguments)
            assert "\x1b" not in done.out + done.err


def test_no_color_is_respected_in_a_terminal(store: str) -> None:
    """Also by the help, which later versions of Python colour."""
    environment = os.environ | {"NO_COLOR": "1", "TERM": "xterm-256color"}
    for arguments in (["list", "--db", store], ["list", "--help"]):
        shown = in_terminal([sys.executable, "-m", "sessiondb_tools", *arguments], environment)
        assert shown
        assert b"\x1b" not in shown


def in_terminal(command: list[str], environment: dict[str, str]) -> bytes:
    """Run it with a terminal of its own, and return what it shows."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as running:
            os.close(theirs)
            shown = b""
            while True:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # the other end has been closed
                    break
                if not data:
                    break
                shown += data
            running.wait(60)
    finally:
        os.close(ours)
    return shown


def test_every_verb_on_a_store_takes_the_configuration_file(run: Any) -> None:
    for name in VERBS:
        text = run(*name.split(), "--help").out
        assert ("--config FILE" in text) == ("--db LOCATION" in text), name
