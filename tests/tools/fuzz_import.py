"""Lets atheris drive what reads foreign bytes: ``python fuzz_import.py TARGET [CORPUS] [OPTIONS]``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["sessiondb_tools.importing", "pickletools"]):
    from sessiondb_tools.importing.dumb_file import _LINE, _unescaped
    from sessiondb_tools.importing.pickled import PickleProblem, read_pickle
    from sessiondb_tools.importing.plain import CONVERSIONS, NotPlain, Plainer
    from sessiondb_tools.importing.values import ValueProblem, decode

FORBIDDEN = ("import", "exec", "compile", "open", "os.", "subprocess.", "socket.", "pickle.", "ctypes.", "object.__")
"""Events that Python reports before it does such a thing."""
_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event.startswith(FORBIDDEN):
        raise AssertionError(f"reading a pickle did {event} {arguments!r:.200}")


def pickle(data: bytes) -> None:
    """A pickle, all the way to a record."""
    global _watching
    _watching = True
    try:
        Plainer(CONVERSIONS).plain(read_pickle(data))
    except (PickleProblem, NotPlain):
        pass
    finally:
        _watching = False


def messagepack(data: bytes) -> None:
    """MessagePack, all the way to a record."""
    with suppress(ValueProblem, NotPlain):
        Plainer(CONVERSIONS).plain(decode(data, "msgpack"))


def dumb_line(data: bytes) -> None:
    """A line of a `.dir` file."""
    found = _LINE.fullmatch(data)
    if found is not None:
        _unescaped(found[1][1:-1])


TARGETS: dict[str, Callable[[bytes], None]] = {"pickle": pickle, "messagepack": messagepack, "dumb_line": dumb_line}


if __name__ == "__main__":
    sys.addaudithook(_watch)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
