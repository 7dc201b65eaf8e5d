"""The report as Markdown: what stands in result files is text in it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .charts import Chart, Table
from .document import Document

__all__ = ["escaped", "markdown", "paragraph"]

_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")
_LINKING = re.compile(r"://|www\.|@(?=\w)")
_BEGINNING = re.compile(r"^(\s*)([-+=:#>]|\d+[.)](?=\s))")


def escaped(text: str) -> str:
    """As it is, and neither markup nor HTML nor a link."""
    safe = _SPECIAL.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
    return _LINKING.sub(lambda found: found[0].replace(":", "&#58;").replace(".", "&#46;").replace("@", "&#64;"), safe)


def paragraph(text: str) -> str:
    """Escaped, and no heading, list or rule."""
    return _BEGINNING.sub(r"\1&#8203;\2", escaped(text))


def markdown(document: Document, pictures: Mapping[str, str]) -> str:
    """The text, with links to pictures.

    Args:
        document: what is said.
        pictures: name of a file beside this one by the name of the chart; those without one are only named.
    """
    return "\n".join(_lines(document, pictures)) + "\n"


def _lines(document: Document, pictures: Mapping[str, str]) -> Iterator[str]:
    yield f"# {escaped(document.title)}"
    yield f"\n{paragraph(document.summary)}"
    for section in document.sections:
        yield f"\n{'#' * section.level} {escaped(section.title)}"
        for words in section.paragraphs:
            yield f"\n{paragraph(words)}"
        for chart in section.charts:
            if chart.name in pictures:
                yield from _picture(chart, pictures[chart.name])
        for table in section.tables:
            yield from _table(table)


def _picture(chart: Chart, file: str) -> Iterator[str]:
    yield f"\n![{escaped(chart.alt)}](<{file}>)"
    yield f"\n{paragraph(chart.told)}"


def _table(table: Table) -> Iterator[str]:
    yield f"\n**{escaped(table.caption)}**\n"
    yield f"| {' | '.join(map(escaped, table.head))} |"
    marks = ("---" if number < table.numbers else "---:" for number in range(len(table.head)))
    yield f"| {' | '.join(marks)} |"
    for row in table.rows:
        yield f"| {' | '.join(map(escaped, row))} |"
    for number, note in enumerate(table.notes, 1):
        yield f"\n\\[{number}\\] {escaped(note)}"
