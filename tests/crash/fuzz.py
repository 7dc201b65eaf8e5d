"""Lets atheris drive a target: ``python -m crash.fuzz TARGET [CORPUS] [OPTIONS]``."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["sessiondb", "sessiondb_backends"]):
    from crash.fuzzing import TARGETS


def main() -> None:
    """Fuzz until the options say stop, or something is found."""
    logging.disable(logging.CRITICAL)
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
