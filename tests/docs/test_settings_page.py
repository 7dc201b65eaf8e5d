"""``docs/reference/configuration.md`` has every setting, and what it says of them is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import sessiondb
from docs.pages import ROOT, blocks_of
from sessiondb.config import Options
from sessiondb.settings import BACKENDS, LOG_LEVELS, SETTINGS, variable

PAGE = ROOT / "docs" / "reference" / "configuration.md"
ROWS = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\S+) \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)


def test_every_setting_is_documented_with_its_variable() -> None:
    assert [(name, shown) for name, shown, _, _ in ROWS] == [(name, variable(name)) for name in SETTINGS]


def test_every_default_is_the_real_one() -> None:
    for name, _, shown, _ in ROWS:
        default = getattr(Options(), name, "warning" if name == "log_level" else None)
        assert shown.strip("`") == ("none" if default is None else str(default)), name


def test_choices_are_named() -> None:
    meanings = {name: meaning for name, _, _, meaning in ROWS}
    assert re.findall(r"`(\w+)`", meanings["backend"]) == list(BACKENDS)
    assert re.findall(r"`(\w+)`", meanings["log_level"])[: len(LOG_LEVELS)] == list(LOG_LEVELS)


def test_every_setting_is_an_argument() -> None:
    parameters = inspect.signature(sessiondb.load_config).parameters
    assert list(parameters) == ["config", *SETTINGS]


def test_the_file_that_is_shown_is_a_good_one(tmp_path: Path) -> None:
    (block,) = [block for block in blocks_of(PAGE) if block.language == "toml"]
    (tmp_path / "x.toml").write_text(block.text)
    config = sessiondb.load_config(tmp_path / "x.toml")
    assert config.file == str(tmp_path / "x.toml")
