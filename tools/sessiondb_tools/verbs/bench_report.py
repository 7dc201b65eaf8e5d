"""Draw results of `sessiondb bench run`: a page with charts, or pictures, or Markdown.

A page (html) is one file with everything in it. Pictures (png, svg) stand beside the file that --output names, and
Markdown (markdown) has links to those that are made with it. All but Markdown without pictures takes matplotlib:
pip install "sessiondb[bench]".

  sessiondb bench report after.json --output after.html
  sessiondb bench report disk1.json disk2.json --output disks.md --format markdown,svg
"""

from __future__ import annotations

import argparse

from ..exit_codes import FINE, USAGE, CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a result")
    parser.add_argument("--output", required=True, metavar="FILE", help="where to: NAME.html, NAME.md or a folder")
    parser.add_argument(
        "--format", metavar="LIST", help="of html, markdown, svg, png (default: markdown for NAME.md, else html)"
    )
    parser.add_argument("--json", action="store_true", help="print the names of the files that were written as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Read the results and draw them."""
    from sessiondb_bench.report import write_report
    from sessiondb_bench.results import load_run

    from ..output import print_json

    output = arguments.output
    default = "markdown" if output.lower().endswith((".md", ".markdown")) else "html"
    formats = [word.strip() for word in (arguments.format or default).split(",")]
    runs = [load_run(name) for name in arguments.files]
    if not any(run.measurements for run in runs):
        raise CommandError("there is nothing to draw: no measurement in any of the files", USAGE)
    files = [str(path) for path in write_report(runs, output, formats)]
    if arguments.json:
        print_json({"files": files})
    else:
        for name in files:
            print(f"wrote {name}")
    return FINE
