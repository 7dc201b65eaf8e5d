"""The pictures themselves. They need matplotlib, which the test extra installs."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest

from report_pages import EVIL, chart_of
from report_samples import large_run, measurement, run_of, small_run
from sessiondb_bench.report.document import document
from sessiondb_bench.report.inline import inlined, standing_alone

matplotlib = pytest.importorskip("matplotlib")

from sessiondb_bench.report.drawing import _settings, drawn  # noqa: E402 - after the question for matplotlib

LARGE = [large_run(number, count=20, started=f"2026-11-{number:02d}") for number in (1, 2)]


def boxes_of(figure: Any) -> list[tuple[str, Any]]:
    """The letters of a figure, and where they are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    renderer = canvas.get_renderer()
    return [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text().strip()]


@pytest.mark.parametrize(
    "name",
    ["latency-put", "ratios-power", "pauses", "throughput-of-ycsb-a-over-threads", "run-by-run-put-ratio-to-the-floor"],
)
def test_no_letters_lie_over_others_or_outside(name: str) -> None:
    """Fifteen stores with long names."""
    with _settings(chart_of(document(LARGE), name)) as figure:
        boxes = boxes_of(figure)
        wide, high = figure.bbox.size
    assert len(boxes) > 10
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= wide, text
        assert box.y1 <= high, text
    for (first, one), (second, other) in combinations(boxes, 2):
        apart = one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 - 1 <= other.y0 or other.y1 - 1 <= one.y0
        assert apart, (first, second)


def test_the_same_run_gives_the_same_bytes_and_tells_no_date_of_today() -> None:
    chart = chart_of(document([small_run()]), "latency-put")
    first, second = (drawn(chart, ["svg", "png"]) for _ in range(2))
    assert first == second
    assert b"dc:date" not in first["svg"]
    assert b"Software" not in first["png"]


def test_linear_axes_begin_at_zero() -> None:
    run = run_of([measurement("put", threads=threads, count=10) for threads in (1, 2, 4)])
    with _settings(chart_of(document([run]), "throughput-of-put-over-threads")) as figure:
        (axes,) = figure.axes
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylabel() == "operations per second"


def test_names_are_text_and_never_a_formula_or_a_warning() -> None:
    """Warnings are errors here: a letter that the font does not have would be one."""
    evil = run_of([measurement(EVIL, EVIL, "peer", sync=EVIL, count=5)], commit=EVIL)
    (chart,) = document([evil]).charts
    made = drawn(chart, ["svg"])["svg"].decode()
    alone = ElementTree.fromstring(standing_alone(made, chart))
    words = " ".join(text for text in alone.itertext())
    assert "<script>alert(1)</script>" in words
    assert "$\\frac{a}{b}$" in words
    assert "<script" not in inlined(made, chart)


def test_a_picture_in_a_page_has_ids_and_colours_of_the_page() -> None:
    made = document([small_run()])
    texts = [inlined(drawn(chart, ["svg"])["svg"].decode(), chart) for chart in made.charts[:2]]
    ids = [found for text in texts for found in re.findall(r' id="([^"]*)"', text)]
    assert len(ids) == len(set(ids))
    used = [found for text in texts for found in re.findall(r'(?:url\(#|href="#)([^)"]*)', text)]
    assert set(used) <= set(ids)
    for text in texts:
        ElementTree.fromstring(text)
        assert not re.search(r'style="[^"]*#[0-9a-f]{6}', text), "a colour that dark pages would not change"
        assert "http" not in text.replace("http://www.w3.org/1999/xlink", "")


def test_drawing_changes_no_setting_of_the_program() -> None:
    """Asking for the setting ``backend`` would itself choose one."""
    names = [name for name in matplotlib.rcParams if name != "backend"]
    before = {name: matplotlib.rcParams[name] for name in names}
    drawn(chart_of(document([small_run()]), "latency-put"), ["png"])
    assert {name: matplotlib.rcParams[name] for name in names} == before


def test_the_settings_of_the_reader_change_no_picture() -> None:
    chart = chart_of(document([small_run()]), "latency-put")
    usual = drawn(chart, ["svg"])
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 40, "text.usetex": True, "lines.marker": "x"}):
        assert drawn(chart, ["svg"]) == usual
