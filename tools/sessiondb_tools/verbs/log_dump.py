"""Print the log's segments and frames: offsets, header fields, decoded records.

Every segment file is printed, also one that is not needed any more, and all frames that can be read, also behind
damage; where reading stops, the line says why. Only the log is needed: the store's file may be damaged or missing.
Whether what is seen is a torn tail or damage is judged by `sessiondb log verify`. Long records are cut, but not with
--json.

  sessiondb log dump --db sessions.json --last 5
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress

from sessiondb.errors import SessionDBError, UnsupportedFormatError
from sessiondb.files import File, Files
from sessiondb.recovery import survey
from sessiondb.wal.format import SEGMENT_HEADER_BYTES, SegmentHeader, SegmentName, decode_segment_header
from sessiondb.wal.reader import Frame
from sessiondb.wal.verdict import segment_names

from ..exit_codes import FINE, USAGE, CommandError
from ..frame_text import (
    Stop,
    frame_json,
    frame_lines,
    header_lines,
    read_segment,
    segment_json,
    segment_line,
    stop_json,
    stop_line,
)
from ..locations import Place, add_store_options, find_store
from ..output import print_json
from ..standing import standing_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("--last", type=int, metavar="N", help="only the last N frames of each segment")
    add_store_options(parser, wait_s=None)


def run(arguments: argparse.Namespace) -> int:
    """Print the log."""
    last = arguments.last
    if last is not None and last < 0:
        raise CommandError(f"--last is {last}; it must be at least 0", USAGE)
    place = find_store(arguments, file_needed=False)
    if Files().stat(place.folder) is None:
        if not arguments.json:
            print(f"there is no log ({place.folder})")
        return FINE
    for line in dump(Files(), place, as_json=arguments.json, last=last):
        if isinstance(line, str):
            print(line)
        else:
            print_json(line)
    return FINE


def dump(files: Files, place: Place, *, as_json: bool, last: int | None = None) -> Iterator[str | dict[str, object]]:
    """The log as lines of text or as objects."""
    names = segment_names(files, place.folder)
    roles = _roles(files, place)
    opened: dict[SegmentName, File] = {}
    try:
        for name in names:
            with suppress(FileNotFoundError):  # a checkpoint of the process that has the store was faster
                opened[name] = files.open(f"{place.folder}/{name}", read_only=True)
        headers = {name: _header(file) for name, file in opened.items()}
        ends = _ends(headers)
        for name, file in opened.items():
            header = headers[name]
            role = roles.get(name, "")
            yield segment_json(name, file.size(), role, header) if as_json else segment_line(name, file.size(), role)
            if header is None:
                stop = Stop(0, "the segment's header is damaged or unfinished", file.size(), None)
                yield stop_json(name, stop) if as_json else stop_line(stop)
                continue
            if not as_json:
                yield from header_lines(header)
            yield from _frames(name, file, header, ends.get(name), as_json, last)
    finally:
        for file in opened.values():
            file.close()


def _frames(
    name: SegmentName, file: File, header: SegmentHeader, end: int | None, as_json: bool, last: int | None
) -> Iterator[str | dict[str, object]]:
    items: Iterable[Frame | Stop] = read_segment(file, header, end)
    if last is not None:
        kept: deque[Frame | Stop] = deque(maxlen=last + 1)  # and the stop behind them
        kept.extend(items)
        items = kept
    for item in items:
        if isinstance(item, Stop):
            yield stop_json(name, item) if as_json else stop_line(item)
        elif as_json:
            yield frame_json(name, item)
        else:
            yield from frame_lines(item)


def _header(file: File) -> SegmentHeader | None:
    try:
        return decode_segment_header(file.pread(SEGMENT_HEADER_BYTES, 0))
    except UnsupportedFormatError:
        return None


def _ends(headers: dict[SegmentName, SegmentHeader | None]) -> dict[SegmentName, int]:
    """Where a segment ends: where its newest successor says."""
    return {
        header.predecessor: header.prev_end
        for _, header in sorted(headers.items())
        if header is not None and header.predecessor is not None
    }


def _roles(files: Files, place: Place) -> dict[SegmentName, str]:
    """What recovery would make of each segment; empty when that cannot be told."""
    needed = "needed"
    try:
        backend = place.backend.open(files, place.location.path, create=False, read_only=True)
        try:
            start: int | None = backend.position().lsn
            if place.backend.remote:
                standing = standing_of(files, place.folder, backend)
                start = start if standing.owner.is_current else standing.owner.lost_after
                if not standing.owner.is_current:
                    needed = "not needed any more" if standing.stranded is None else "stranded: another host took over"
            if start is None:
                return {}
            found = survey(files, place.folder, backend.identity().uuid, start)
        finally:
            backend.close()
    except SessionDBError:
        return {}
    contents = found.contents
    roles = dict.fromkeys(contents.needed, needed)
    roles |= dict.fromkeys(contents.leftovers, "leftover: not needed any more")
    return roles | dict.fromkeys(contents.unfinished, "never finished")
