"""What the page on benchmarks says can be run, can be run. Its figures are nobody's test."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec

from docs.pages import ROOT
from sessiondb_bench.system.__main__ import PARTS
from sessiondb_tools.main import VERBS

PAGE = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")


def test_every_command_on_the_page_is_there() -> None:
    modules = set(re.findall(r"python -m (sessiondb_bench[.\w]*)", PAGE))
    assert {"sessiondb_bench.targets", "sessiondb_bench.system"} <= modules
    assert set(re.findall(r"`sessiondb (bench \w+)`", PAGE)) <= set(VERBS)
    assert "bench run" in VERBS
    for name in modules:
        spec = find_spec(name)
        assert spec is not None, name
        runs = f"{name}.__main__" if spec.submodule_search_locations else name
        assert callable(import_module(runs).main)


def test_the_parts_that_can_be_measured_alone_are_those_that_the_page_lists() -> None:
    (listed,) = re.findall(r"sessiondb_bench\.system` \| ([^;|]*); `--part NAME`", PAGE)
    assert listed.split(", ") == list(PARTS)


def test_the_page_says_what_was_asked_of_every_target() -> None:
    rows = r"^\| (?:…|durable|hot|batch|replay|checkpoint|JSON|syncs).*?\| (at (?:most|least) [\d.,]+) \|"
    asked = re.findall(rows, PAGE, re.MULTILINE)
    assert asked[:15] == [
        "at most 1.25", "at most 1", "at most 1", "at most 2", "at most 2", "at most 2", "at most 1.5",
        "at least 300,000", "at least 300,000", "at least 100,000", "at most 3", "at least 100,000", "at most 3",
        "at most 1.2", "at most 0.35",
    ]  # fmt: skip
