"""Pictures by matplotlib: figures without its state machine, the same bytes for the same runs.

matplotlib's settings are global, and a reader's own settings must not change a report, so drawing runs with its
defaults, one picture at a time. Texts are never formulas, and hold no character that the font does not have.
"""

from __future__ import annotations

import importlib
import io
import threading
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from sessiondb.errors import UsageError

from .charts import Chart, LinesPanel

__all__ = ["drawn"]

DOTS_PER_INCH = 150
_ONE_AT_A_TIME = threading.Lock()
_FONT = "DejaVu Sans"


def drawn(chart: Chart, formats: Collection[str]) -> dict[str, bytes]:
    """A picture, as PNG on white and as SVG whose texts are texts, whichever is asked for.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with _settings(chart) as figure:
        made = {}
        if "svg" in formats:
            made["svg"] = _saved(figure, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        if "png" in formats:
            how = {"dpi": DOTS_PER_INCH, "facecolor": "white", "metadata": {"Software": None}}
            made["png"] = _saved(figure, format="png", **how)
        return made


def _saved(figure: Any, **how: Any) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, **how)
    return written.getvalue()


@contextmanager
def _settings(chart: Chart) -> Iterator[Any]:
    try:
        matplotlib = importlib.import_module("matplotlib")
        importlib.import_module("matplotlib.backends.backend_agg")
        importlib.import_module("matplotlib.backends.backend_svg")
    except ImportError as error:
        raise UsageError(
            f'pictures need matplotlib ({error}); next: pip install "sessiondb[bench]", or ask for markdown alone'
        ) from error
    from .drawing_lines import draw_lines
    from .drawing_rows import draw_rows

    ours = {"svg.fonttype": "none", "svg.hashsalt": chart.name, "font.family": [_FONT], "path.simplify": True}
    defaults = {name: value for name, value in dict(matplotlib.rcParamsDefault).items() if "backend" not in name}
    with _ONE_AT_A_TIME, matplotlib.rc_context():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the defaults hold settings that are about to go
            matplotlib.rcParams.update({**defaults, **ours})
        lines = [panel for panel in chart.panels if isinstance(panel, LinesPanel)]
        yield draw_lines(chart, lines) if lines else draw_rows(chart)
