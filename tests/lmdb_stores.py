"""What several test modules of the LMDB backend need: stores with something in them, and other processes."""

import os
import subprocess
import sys
import textwrap
import warnings
from contextlib import suppress

from sessiondb.backend import TableChanges
from sessiondb.testing.backend_under_test import advance, json_images, no_pause

__all__ = ["in_child", "put_bytes", "put_json", "run"]


def put_bytes(backend, images, pace=no_pause):
    """One apply to table ``t`` of bytes; returns a view of it."""
    return advance(backend, {"t": TableChanges("bytes", False, images)}, pace)


def put_json(backend, table="t", **images):
    """One apply to a table of JSON records; returns a view of it."""
    return advance(backend, json_images(table, **images))


def in_child(call):
    """Fork and call; returns what the call returned, as text, after the child has ended."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if not child:
        with suppress(BaseException):
            os.close(reading)
            try:
                answer = str(call())
            except BaseException as error:  # noqa: BLE001 - the parent looks at it
                answer = f"{type(error).__name__}: {error}"
            os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


def run(code, *arguments, **options):
    """Run a program; returns what it wrote."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)
    return done.stdout + done.stderr
