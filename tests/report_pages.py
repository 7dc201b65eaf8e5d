"""Reading reports: HTML as a browser's parser sees it, and pictures that are not drawn."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

from sessiondb_bench.report.charts import Chart, LinesPanel, RowsPanel
from sessiondb_bench.report.document import Document, document
from sessiondb_bench.report.html import html
from sessiondb_bench.results import Run

EVIL = "<script>alert(1)</script>\"'&amp; $\\frac{a}{b}$ ]]> --> |`*_x_[a](b) # \u202egnp.\x00\x1b[31m \n 株 "


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


def page_of(*runs: Run) -> str:
    """The page, with a stand-in for each picture."""
    made = document(runs)
    return html(made, {chart.name: f"<svg><title>{chart.name}</title></svg>" for chart in made.charts})


def chart_of(made: Document, name: str) -> Chart:
    return next(chart for chart in made.charts if chart.name == name)


def panels_of(chart: Chart) -> Iterator[tuple[str, list[str]]]:
    """Title, and names of rows or lines."""
    for panel in chart.panels:
        shown = panel.rows if isinstance(panel, RowsPanel) else panel.lines
        assert isinstance(panel, (RowsPanel, LinesPanel))
        yield panel.title, [each.label for each in shown]
