"""Which files a report is, and writing them: everything is made before the first file is touched."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sessiondb.errors import UsageError

from ..results import Run
from .charts import Chart
from .checking import check_runs
from .document import document
from .html import html
from .inline import inlined, standing_alone
from .markdown import markdown

__all__ = ["FORMATS", "write_report"]

FORMATS = ("html", "markdown", "svg", "png")
_TEXTS = {".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown"}
NAME = "report"
"""Of the files, where only a folder is given."""


def write_report(runs: Sequence[Run], target: str | os.PathLike[str], formats: Sequence[str] = ("html",)) -> list[Path]:
    """Write a report.

    Args:
        runs: in any order; of those with the same command the newest is shown in full.
        target: a folder that is there, or a file ``NAME.html`` or ``NAME.md``: the others stand beside it as
            ``NAME.md`` and ``NAME-CHART.png``. Files of these names are replaced.
        formats: ``html`` (one file with everything in it), ``markdown`` (tables, and links to the pictures that are
            asked for), ``svg`` and ``png`` (a file for each picture).

    Returns:
        The files: texts first, then pictures.

    Raises:
        UsageError: a run holds what cannot be shown, a format or target is wrong, a file cannot be written, or
            matplotlib is missing; nothing has been written, unless it was the writing that failed.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        named = f"unknown format {unknown[0]!r}" if unknown else "no format"
        raise UsageError(f"{named}; next: give one or more of {', '.join(FORMATS)}")
    base, texts = _places(Path(target), formats)
    check_runs(runs)
    made = document(runs)
    pictures = {chart.name: drawn for chart, drawn in _pictures(made.charts, formats)}
    told: dict[Path, bytes] = {}
    if "html" in formats:
        inside = {chart.name: inlined(pictures[chart.name]["svg"].decode(), chart) for chart in made.charts}
        told[texts["html"]] = html(made, inside).encode()
    if "markdown" in formats:
        kind = next((name for name in ("png", "svg") if name in formats), "")
        names = {chart.name: f"{base.name}-{chart.name}.{kind}" for chart in made.charts} if kind else {}
        told[texts["markdown"]] = markdown(made, names).encode()
    for chart in made.charts:
        place = f"{base.name}-{chart.name}"
        if "svg" in formats:
            drawn = standing_alone(pictures[chart.name]["svg"].decode(), chart)
            told[base.with_name(f"{place}.svg")] = drawn.encode()
        if "png" in formats:
            told[base.with_name(f"{place}.png")] = pictures[chart.name]["png"]
    return _write(told)


def _pictures(charts: Iterable[Chart], formats: Sequence[str]) -> Iterator[tuple[Chart, dict[str, bytes]]]:
    """Each chart drawn once; matplotlib is asked for only where there are pictures to draw."""
    kinds = {"svg" if name == "html" else name for name in formats} & {"svg", "png"}
    if kinds:
        from .drawing import drawn

        for chart in charts:
            yield chart, drawn(chart, kinds)


def _places(target: Path, formats: Sequence[str]) -> tuple[Path, dict[str, Path]]:
    """The beginning of all names, and the files of text."""
    if target.is_dir():
        base = target / NAME
        return base, {"html": target / f"{NAME}.html", "markdown": target / f"{NAME}.md"}
    kind = _TEXTS.get(target.suffix.lower())
    if kind is None:
        raise UsageError(
            f"{target} is no folder and does not end in .html or .md; next: make the folder, or name a file"
        )
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent} is no folder; next: make it, or name another place")
    base = target.with_suffix("")
    return base, {
        "html": target.with_name(f"{base.name}.html"),
        "markdown": target.with_name(f"{base.name}.md"),
        kind: target,
    }


def _write(files: dict[Path, bytes]) -> list[Path]:
    """Each file as a whole, or as it was."""
    for path, data in files.items():
        beside = path.with_name(f".{path.name}.tmp")
        try:
            beside.write_bytes(data)
            os.replace(beside, path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise UsageError(f"cannot write {path}: {error.strerror or error}; next: name another place") from error
    return list(files)
