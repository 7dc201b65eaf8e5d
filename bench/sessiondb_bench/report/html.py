"""The report as one HTML file that asks nothing of the network and runs no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from .charts import Chart, Table
from .document import Document, Section
from .palette import GRID, INK, MUTED, PAPER, SERIES, VARIABLES

__all__ = ["html"]

_INK, _MUTED, _GRID, _PAPER, _LINK = (f"var({VARIABLES[colour][0]})" for colour in (INK, MUTED, GRID, PAPER, SERIES[0]))
_LIGHT = ";".join(f"{name}:{light}" for name, light, _ in VARIABLES.values())
_DARK = ";".join(f"{name}:{dark}" for name, _, dark in VARIABLES.values())
SHORT, SHORT_IN_PRINT = 18, 12
"""Letters of a cell that are not broken into lines."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media screen and (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;max-width:70rem;padding:1.5rem;background:{_PAPER};color:{_INK};
font:16px/1.5 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}}
h1{{font-size:1.8rem;line-height:1.2;margin:0 0 .3rem}}
h2{{font-size:1.35rem;margin:2.6rem 0 .6rem;padding-top:.6rem;border-top:2px solid {_GRID}}}
h3{{font-size:1.1rem;margin:1.8rem 0 .4rem}}
p{{max-width:48rem;overflow-wrap:anywhere}}
a{{color:{_LINK}}}
nav ul{{padding-left:1.2rem;columns:18rem}}nav .deeper{{margin-left:1.2rem}}
figure{{margin:1.2rem 0 2rem}}
.wide{{overflow-x:auto}}
.wide:focus-visible{{outline:2px solid {_LINK};outline-offset:2px}}
figure svg{{display:block;width:100%;min-width:44rem;height:auto}}
figcaption,.note{{color:{_MUTED};font-size:.88rem;max-width:54rem}}
table{{border-collapse:collapse;font-size:.84rem;line-height:1.35;margin:.6rem 0}}
caption{{text-align:left;font-weight:600;padding:.4rem 0}}
th,td{{text-align:left;vertical-align:top;padding:.25rem .7rem .25rem 0;border-bottom:1px solid {_GRID}}}
thead th{{border-bottom:2px solid {_MUTED};vertical-align:bottom}}
td{{overflow-wrap:break-word;max-width:24rem}}
.n{{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}}
.k{{white-space:nowrap}}
@media print{{body{{max-width:none;padding:0;font-size:10pt}}nav{{display:none}}.wide{{overflow:visible}}
figure{{break-inside:avoid;margin:.5rem 0}}p,figcaption,.note{{font-size:8.5pt}}
figure svg{{min-width:0;max-height:21cm}}tr{{break-inside:avoid}}
h2,h3,caption{{break-after:avoid}}table{{font-size:6.5pt;width:100%}}.n,.k{{white-space:normal}}th,td{{padding-right:.3rem}}}}
"""


def html(document: Document, pictures: Mapping[str, str]) -> str:
    """The page.

    Args:
        document: what is said.
        pictures: an SVG element for each chart, by its name.
    """
    return "\n".join(_lines(document, pictures)) + "\n"


def _lines(document: Document, pictures: Mapping[str, str]) -> Iterator[str]:
    title = escape(document.title)
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield f'<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>{_STYLE}</style></head>'
    yield f"<body><header><h1>{title}</h1><p>{escape(document.summary)}</p></header>"
    yield from _contents(document)
    yield "<main>"
    for section in document.sections:
        yield from _section(section, pictures)
    yield "</main></body></html>"


def _contents(document: Document) -> Iterator[str]:
    yield '<nav aria-label="Contents"><ul>'
    for section in document.sections:
        deeper = ' class="deeper"' if section.level > 2 else ""
        yield f'<li{deeper}><a href="#s-{section.anchor}">{escape(section.title)}</a></li>'
    yield "</ul></nav>"


def _section(section: Section, pictures: Mapping[str, str]) -> Iterator[str]:
    yield f'<section aria-labelledby="s-{section.anchor}">'
    yield f'<h{section.level} id="s-{section.anchor}">{escape(section.title)}</h{section.level}>'
    for paragraph in section.paragraphs:
        yield f"<p>{escape(paragraph)}</p>"
    for chart in section.charts:
        yield from _figure(chart, pictures[chart.name])
    for table in section.tables:
        yield from _table(table)
    yield "</section>"


def _figure(chart: Chart, picture: str) -> Iterator[str]:
    yield f'<figure><div class="wide" tabindex="0" role="group" aria-label="{escape(chart.title)}">{picture}</div>'
    yield f"<figcaption>{escape(chart.told)}</figcaption></figure>"


def _table(table: Table) -> Iterator[str]:
    def kind(number: int, cell: str) -> str:
        return ' class="n"' if number >= table.numbers else ' class="k"' if len(cell) < SHORT else ""

    def unbroken(cell: str) -> str:
        return escape(cell.replace(" ", "\N{NO-BREAK SPACE}") if len(cell) < SHORT_IN_PRINT else cell)

    yield f'<div class="wide" tabindex="0" role="group" aria-label="{escape(table.caption)}"><table>'
    yield f"<caption>{escape(table.caption)}</caption>"
    heads = "".join(
        f'<th scope="col"{kind(number, head)}>{escape(head)}</th>' for number, head in enumerate(table.head)
    )
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    for row in table.rows:
        first, *others = row
        cells = "".join(f"<td{kind(number, cell)}>{unbroken(cell)}</td>" for number, cell in enumerate(others, 1))
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</tbody></table></div>"
    for number, note in enumerate(table.notes, 1):
        yield f'<p class="note">[{number}] {escape(note)}</p>'
