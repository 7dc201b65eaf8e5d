"""Where an export goes: standard output, or a new file that is there as a whole, durably, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sessiondb.files import Files

from ..exit_codes import USAGE, CommandError

__all__ = ["Write", "opened"]

Write = Callable[[bytes], None]
"""Takes the next bytes; they are passed on in large pieces."""

BUFFER_BYTES = 1 << 20


@contextmanager
def opened(path: str | None) -> Iterator[Write]:
    """Where bytes go: standard output, or a new file, which has its name and is durable when the block has ended.

    Raises:
        CommandError: something is at the path already.
        OSError: it cannot be written; nothing is left of it.
    """
    if path is None or path == "-":
        with _buffered(_write_stdout) as write:
            yield write
        sys.stdout.buffer.flush()
        return
    files, temporary = Files(), f"{path}.{os.getpid()}.tmp"
    _must_be_free(files, path)
    file = files.open(temporary, create=True, exclusive=True)
    try:
        end = [0]

        def append(data: bytes) -> None:
            file.pwrite(data, end[0])
            end[0] += len(data)

        with _buffered(append) as write:
            yield write
        file.fsync()
        _must_be_free(files, path)
        files.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            files.unlink(temporary)
        raise
    finally:
        file.close()
    # What was exported may be removed where it came from: the name has to outlive a power cut, too.
    files.sync_folder(os.path.dirname(os.path.abspath(path)))


def _must_be_free(files: Files, path: str) -> None:
    if files.stat(path) is not None:
        raise CommandError(
            f"there is something at {path} already, and it is kept; next: choose another --output", USAGE
        )


@contextmanager
def _buffered(out: Callable[[bytes], None]) -> Iterator[Write]:
    buffer = bytearray()

    def write(data: bytes) -> None:
        buffer.extend(data)
        if len(buffer) >= BUFFER_BYTES:
            out(bytes(buffer))
            buffer.clear()

    yield write
    out(bytes(buffer))


def _write_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
