"""Running the blocks of one page: all of them in order, in one namespace and one folder."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path

from docs.pages import Block, blocks_of, name_of

TIMEOUT_S = 60
COMMANDS = {"sessiondb", "cat", "cp", "echo", "ls", "mkdir", "mv", "printf"}
"""What a console block may run: nothing that reaches beyond the test's folder."""

_MARK = "--end-of-command--"


def host_of(block: Block) -> str:
    """The machine on which a block runs, where a page tells of several: ``host=NAME`` behind the language."""
    return next((word.removeprefix("host=") for word in block.words if word.startswith("host=")), "")


class Page:
    """A page whose blocks run in `folder`, which is empty and the current one.

    Args:
        path: the page.
        folder: the folder.
        hosts: what each host has in its environment; blocks of other hosts are left out. Python runs there as scripts.
    """

    _hosts: Mapping[str, Mapping[str, str]] = {"": {}}

    def __init__(self, path: Path, folder: Path, hosts: Mapping[str, Mapping[str, str]] | None = None):
        self._hosts = {"": {}, **(hosts or {})}
        self.blocks = blocks_of(path)
        self.name = name_of(path)
        self._folder = folder
        self._module = types.ModuleType("page_" + re.sub(r"\W", "_", self.name))
        self._script = 0

    def run(self) -> int:
        """Run everything; how many blocks that was.

        Raises:
            AssertionError: an output is not the one that the page shows.
        """
        ran = 0
        sys.modules[self._module.__name__] = self._module  # where msgspec looks up a record's annotations
        try:
            for block, after in zip(self.blocks, [*self.blocks[1:], None], strict=True):
                if "no-run" in block.words or block.language not in ("python", "console"):
                    continue
                if host_of(block) not in self._hosts:
                    continue
                ran += 1
                if block.language == "console":
                    self._run_console(block)
                    continue
                apart = "script" in block.words or host_of(block)
                printed = self._run_script(block) if apart else self._run_python(block)
                if after is not None and after.words == ("output",):
                    assert_alike(after.text, printed, after.place)
        finally:
            del sys.modules[self._module.__name__]
        return ran

    def _run_python(self, block: Block) -> str:
        printed = io.StringIO()
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")  # tracebacks show the page
        with contextlib.redirect_stdout(printed):
            exec(code, self._module.__dict__)
        return printed.getvalue()

    def _run_script(self, block: Block) -> str:
        """As a program of its own: for what a test's process should not do, as forking."""
        self._script += 1
        path = self._folder / f"script{self._script}.py"
        path.write_text(block.text)
        ended = subprocess.run(
            [sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S,
            env={**os.environ, **self._hosts[host_of(block)]},
        )  # fmt: skip
        assert ended.returncode == 0, f"{block.place}: exit code {ended.returncode}\n{ended.stdout}"
        return ended.stdout

    def _run_console(self, block: Block) -> None:
        commands = _commands(block)
        bin_folder = self._folder / ".bin"
        bin_folder.mkdir(exist_ok=True)
        program = bin_folder / "sessiondb"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m sessiondb_tools "$@"\n')
        program.chmod(0o755)
        script = "".join(
            f"{command}\ncode=$?; printf '\\n%s %s\\n' {_MARK} $code; (exit $code)\n" for command, _ in commands
        )
        ended = subprocess.run(
            ["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=TIMEOUT_S,
            env={**os.environ, **self._hosts[host_of(block)], "PATH": f"{bin_folder}:{os.environ['PATH']}"},
        )  # fmt: skip
        pieces = re.split(rf"\n{_MARK} (\d+)\n", ended.stdout)
        assert len(pieces) == 2 * len(commands) + 1, f"{block.place}: a command did not end\n{ended.stdout}"
        for number, (command, shown) in enumerate(commands):
            printed, code = pieces[2 * number], pieces[2 * number + 1]
            if shown.strip():
                assert_alike(shown, printed, f"{block.place}: $ {command}")
            else:
                assert code == "0", f"{block.place}: $ {command}\nexit code {code}\n{printed}"


def _commands(block: Block) -> list[tuple[str, str]]:
    """Each command with the output that the page shows for it."""
    commands: list[tuple[str, str]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], ""))
        elif line.startswith("> ") and commands and not commands[-1][1]:
            commands[-1] = (f"{commands[-1][0]}\n{line[2:]}", "")
        else:
            assert commands, f"{block.place}: a console block begins with a command: $ ..."
            commands[-1] = (commands[-1][0], f"{commands[-1][1]}{line}\n")
    for command, _ in commands:
        for part in re.split(r"\||&&|;", command):
            first = part.split()[0]
            assert first in COMMANDS, f"{block.place}: {first!r} cannot be run here; use a ```sh block"
    return commands


def assert_alike(shown: str, printed: str, place: str) -> None:
    """Compare what a page shows with what was printed: any number for a number, anything for ``...``."""
    pattern = ".*?".join(re.escape(_normal(part)) for part in _normal(shown).split("..."))
    assert re.fullmatch(pattern, _normal(printed), re.DOTALL), (
        f"{place}\nthe page shows:\n{shown}\nprinted was:\n{printed}"
    )


def _normal(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"\d+([.,:]\d+)*", "0", text)).strip()
