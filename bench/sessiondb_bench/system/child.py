"""Running a function of this package in a process of its own: for memory, for what the kernel counts, for kills.

``python -m sessiondb_bench.system.child MODULE FUNCTION ARGUMENTS`` calls ``FUNCTION(**ARGUMENTS)`` of
``sessiondb_bench.system.MODULE`` with ARGUMENTS from JSON, and prints what it returns as JSON.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import msgspec

__all__ = ["run_in_child", "run_until_killed"]


def run_in_child(function: Callable[..., dict[str, float]], **arguments: Any) -> dict[str, float]:
    """What the function returned there; it must be one of a module of this package.

    Raises:
        RuntimeError: the process failed; the message is what it wrote to its error output.
    """
    done = _run(function, arguments)
    if done.returncode:
        raise RuntimeError(f"{function.__name__} failed with exit code {done.returncode}: {done.stderr.decode()}")
    return msgspec.json.decode(done.stdout, type=dict[str, float])


def run_until_killed(function: Callable[..., None], **arguments: Any) -> None:
    """The same for a function that ends by killing its process.

    Raises:
        RuntimeError: it ended in another way.
    """
    done = _run(function, arguments)
    if done.returncode != -signal.SIGKILL:
        raise RuntimeError(f"{function.__name__} was not killed: {done.returncode}: {done.stderr.decode()}")


def _run(function: Callable[..., Any], arguments: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    module = function.__module__.rpartition(".")[2]
    words = [module, function.__name__, msgspec.json.encode(arguments).decode()]
    return subprocess.run([sys.executable, "-m", __name__, *words], capture_output=True, check=False)


def main(module: str, function: str, arguments: str) -> None:
    """Call it and print what it returns."""
    called = getattr(import_module(f"{__package__}.{module}"), function)
    answer = called(**msgspec.json.decode(arguments))
    sys.stdout.write(msgspec.json.encode(answer).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
