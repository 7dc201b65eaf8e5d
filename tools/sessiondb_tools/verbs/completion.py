"""Print a script that completes the command in bash or zsh.

eval "$(sessiondb completion bash)"
sessiondb completion bash > ~/.local/share/bash-completion/completions/sessiondb
"""

from __future__ import annotations

import argparse

from ..exit_codes import FINE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("shell", choices=("bash", "zsh"))


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    from ..completion import bash_script, zsh_script

    print((bash_script if arguments.shell == "bash" else zsh_script)(), end="")
    return FINE
