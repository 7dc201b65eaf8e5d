"""Which files a report is, and what is there when it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from report_samples import small_run
from sessiondb.errors import UsageError
from sessiondb_bench.report import FORMATS, drawing, write_report
from sessiondb_bench.report.charts import Chart

DRAWN = b'<?xml version="1.0"?><svg viewBox="0 0 8 4"><g id="a"><path style="fill: #0072b2"/></g></svg>'


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand-ins for pictures; names of those that were asked for."""
    asked: list[str] = []

    def draw(chart: Chart, formats: Collection[str]) -> dict[str, bytes]:
        asked.append(chart.name)
        return {name: {"svg": DRAWN, "png": b"png"}[name] for name in formats}

    monkeypatch.setattr(drawing, "drawn", draw)
    return asked


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("no_matplotlib")
def test_tables_need_no_matplotlib(tmp_path: Path) -> None:
    assert write_report([small_run()], tmp_path / "r.md", ["markdown"]) == [tmp_path / "r.md"]
    text = (tmp_path / "r.md").read_text("utf-8")
    assert "| put | json, always |" in text


@pytest.mark.usefixtures("no_matplotlib")
@pytest.mark.parametrize("kind", ["html", "svg", "png"])
def test_a_picture_without_matplotlib_is_refused_with_what_to_install(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'pip install "sessiondb\[bench\]"'):
        write_report([small_run()], tmp_path, ["markdown", kind])
    assert names_in(tmp_path) == []


def test_all_formats_stand_beside_the_file_that_is_named(tmp_path: Path, drawn: list[str]) -> None:
    files = write_report([small_run()], tmp_path / "a.b.html", FORMATS)
    assert sorted(path.name for path in files) == names_in(tmp_path)
    assert names_in(tmp_path)[:2] == ["a.b-latency-get-cold.png", "a.b-latency-get-cold.svg"]
    assert names_in(tmp_path)[-2:] == ["a.b.html", "a.b.md"]
    assert len(drawn) == len(set(drawn)), "a picture was drawn twice"
    assert "(<a.b-latency-put.png>)" in (tmp_path / "a.b.md").read_text("utf-8")


@pytest.mark.usefixtures("drawn")
def test_a_folder_gets_files_named_report(tmp_path: Path) -> None:
    assert [path.name for path in write_report([small_run()], tmp_path, ["html", "markdown"])] == [
        "report.html",
        "report.md",
    ]


@pytest.mark.usefixtures("drawn")
def test_the_page_has_its_pictures_in_it(tmp_path: Path) -> None:
    (path,) = write_report([small_run()], str(tmp_path / "r.HTM"), ["html"])
    text = path.read_text("utf-8")
    assert path.name == "r.HTM"
    assert 'role="img" aria-labelledby="latency-put-t latency-put-d"><title id="latency-put-t">Latency of put' in text
    assert "<?xml" not in text
    assert "fill: var(--c" in text


@pytest.mark.parametrize(
    ("target", "formats", "words"),
    [
        ("r.json", ["html"], "no folder and does not end in .html or .md"),
        ("r", ["html"], "no folder and does not end"),
        ("none/r.html", ["html"], "is no folder; next: make it"),
        ("r.html", ["pdf"], "unknown format 'pdf'; next: give one or more of html, markdown, svg, png"),
        ("r.html", [], "no format"),
    ],
)
def test_a_target_or_format_that_is_wrong_is_refused(
    target: str, formats: list[str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        write_report([small_run()], tmp_path / target, formats)
    assert names_in(tmp_path) == []


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "r.md"
    target.write_text("before")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UsageError, match=r"cannot write .*r\.md: No space left on device; next: "):
        write_report([small_run()], target, ["markdown"])
    assert names_in(tmp_path) == ["r.md"]
    assert target.read_text() == "before"


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.md").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        write_report([small_run()], tmp_path, ["markdown"])
    assert names_in(tmp_path) == ["report.md"]


def test_importing_the_report_imports_no_matplotlib() -> None:
    import subprocess

    code = "import sys, sessiondb_bench.report; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
