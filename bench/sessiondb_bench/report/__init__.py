"""The report: benchmark runs as one page for people, with pictures, or as Markdown and pictures beside it.

What is shown is decided in `document` (no drawing, no format), from the charts of `distributions` and `courses`, and
written by `html` and `markdown`; `drawing` makes pictures of charts and alone needs matplotlib. Values that come from
files are checked in `checking` first and escaped where they are written.
"""

from __future__ import annotations

from .writing import FORMATS, write_report

__all__ = ["FORMATS", "write_report"]
