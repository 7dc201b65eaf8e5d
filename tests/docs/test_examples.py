"""Every ```python block and every ```console block of the documentation runs, in order, page by page."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT, Block, blocks_of, name_of
from docs.running import Page, assert_alike, host_of

RUNNABLE = ("python", "console")
NOT_RUN_MAX = 4


def runnable(page: Path) -> list[Block]:
    """Those that run anywhere; what several hosts do is run by `test_hosts`."""
    return [block for block in blocks_of(page) if block.language in RUNNABLE and not host_of(block)]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name_of)
def test_what_a_page_shows_runs_and_prints_what_it_says(page: Path, empty_folder: Path) -> None:
    ran = Page(page, empty_folder).run()
    assert ran == sum("no-run" not in block.words for block in runnable(page))


def test_hardly_any_example_is_exempt_from_running() -> None:
    exempt = [block.place for page in PAGES for block in runnable(page) if "no-run" in block.words]
    assert len(exempt) <= NOT_RUN_MAX, exempt


def test_a_block_is_marked_with_known_words_only() -> None:
    known = {"python": {"no-run", "script"}, "console": {"no-run"}, "text": {"output"}}
    for page in PAGES:
        for block in blocks_of(page):
            if block.language in known:
                words = {word for word in block.words if "=" not in word}  # those are other tests'
                assert words <= known[block.language], f"{block.place}: {block.words}"
            assert block.language not in ("py", "python3", "pycon", "shell"), f"{block.place}: python, console or sh"


def test_an_output_stands_behind_a_block_that_prints_it() -> None:
    for page in PAGES:
        blocks = blocks_of(page)
        for before, block in pairwise([None, *blocks]):
            if block is not None and block.words == ("output",):
                assert before is not None, block.place
                assert before.language == "python", block.place


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("12 records, 1.5 ms\n", "9,000 records,  0.2 ms"),
        ("a ... z", "a b\nc z"),
        ("at 2:17", "at 11:40"),
    ],
)
def test_outputs_are_compared_loosely(shown: str, printed: str) -> None:
    assert_alike(shown, printed, "here")


@pytest.mark.parametrize(("shown", "printed"), [("a b", "a c"), ("a", "a b"), ("1 record", "one record")])
def test_another_output_is_noticed(shown: str, printed: str) -> None:
    with pytest.raises(AssertionError, match="the page shows"):
        assert_alike(shown, printed, "here")


def test_a_command_that_fails_without_being_shown_to_is_noticed(tmp_path: Path, empty_folder: Path) -> None:
    page = ROOT / "docs" / "never-written.md"
    commands = Page.__new__(Page)
    commands._folder = empty_folder
    with pytest.raises(AssertionError, match="exit code"):
        commands._run_console(Block(page, 1, "console", (), "$ ls does-not-exist\n"))


def test_a_command_that_could_reach_beyond_the_folder_is_refused(empty_folder: Path) -> None:
    commands = Page.__new__(Page)
    commands._folder = empty_folder
    with pytest.raises(AssertionError, match="cannot be run here"):
        commands._run_console(Block(ROOT / "README.md", 1, "console", (), "$ echo a | pip install x\n"))
