"""An SVG as a part of a page: no prolog, ids of its own, the page's colours, a title and a description."""

from __future__ import annotations

import re
from html import escape

from .charts import Chart
from .palette import VARIABLES

__all__ = ["inlined", "standing_alone"]

_ROOT = re.compile(r"<svg\b[^>]*>", re.DOTALL)
_VIEW = re.compile(r'viewBox="([\d. ]+)"')
_COLOUR = re.compile("|".join(VARIABLES))


def inlined(svg: str, chart: Chart) -> str:
    """What matplotlib wrote, to stand inside HTML."""
    root, body = _parts(svg)
    view = _VIEW.search(root)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', body))
    body = re.sub(r' id="([^"]*)"', lambda each: f' id="{chart.name}-{each[1]}"' if each[1] in used else "", body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{chart.name}-", body)
    body = body.replace("xlink:href=", "href=")
    body = re.sub(r'style="[^"]*"', lambda each: _COLOUR.sub(_variable, each[0]), body)  # and no text
    box = f' viewBox="{view[1]}"' if view else ""
    return f'<svg{box} role="img" aria-labelledby="{chart.name}-t {chart.name}-d">{_told(chart)}{body.strip()}'


def standing_alone(svg: str, chart: Chart) -> str:
    """The same file with title and description, for those who read it aloud."""
    root, body = _parts(svg)
    start = svg[: svg.index(root)]
    labelled = f'{root[:-1]} role="img" aria-labelledby="{chart.name}-t {chart.name}-d">'
    return f"{start}{labelled}{_told(chart)}{body}"


def _parts(svg: str) -> tuple[str, str]:
    root = _ROOT.search(svg)
    if root is None:
        raise AssertionError("matplotlib wrote no SVG")
    return root[0], svg[root.end() :]


def _told(chart: Chart) -> str:
    title, description = escape(chart.title), escape(chart.alt)
    return f'<title id="{chart.name}-t">{title}</title><desc id="{chart.name}-d">{description}</desc>'


def _variable(colour: re.Match[str]) -> str:
    return f"var({VARIABLES[colour[0]][0]})"
