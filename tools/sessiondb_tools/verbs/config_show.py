"""Print each setting with its value and where it comes from.

The command line goes before the environment, that before the configuration file, that before the defaults. What was
said in vain is shown below what holds. Passwords are not shown. Nothing is opened: whether the store is there, and how
it is, says `sessiondb status`.

  sessiondb config show
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sessiondb.configuration import Choice, Config
from sessiondb.errors import ConfigError
from sessiondb.files import Files
from sessiondb.settings import masked

from ..exit_codes import FINE
from ..locations import add_store_options, configuration
from ..output import print_json, print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    add_store_options(parser, wait_s=None)


def run(arguments: argparse.Namespace) -> int:
    """Print them; settings that mean no store are an error, after that."""
    config = configuration(arguments)
    problem: ConfigError | None = None
    choice: Choice | None = None
    try:
        choice = config.choose()
    except ConfigError as error:
        problem = error
    if arguments.json:
        print_json(_report(config, choice, problem))
    else:
        print_table(_rows(config, choice))
    _warn_of_readers(config)
    if problem is not None:
        raise problem
    return FINE


def _rows(config: Config, choice: Choice | None) -> list[tuple[str, str, str]]:
    file = ("config", config.file or "none", config.file_source or "the user's configuration folder")
    where = "not known" if choice is None else str(choice.place)
    rows = [file, ("location", where, "" if choice is None else choice.source)]
    for each in config.settings.values():
        rows.append((each.name, _text(each.value), each.source))
        rows += [("", _text(given.value), f"overridden: {given.source}") for given in each.overridden]
    return rows


def _text(value: Any) -> str:
    return "-" if value is None else str(masked(value))


def _report(config: Config, choice: Choice | None, problem: ConfigError | None) -> dict[str, Any]:
    return {
        "config": config.file,
        "config_source": config.file_source or None,
        "location": None if choice is None else str(choice.place),
        "backend": None if choice is None else choice.place.scheme,
        "location_source": None if choice is None else choice.source,
        "problem": None if problem is None else str(problem),
        "settings": [
            {
                "name": each.name,
                "value": masked(each.value),
                "source": each.source,
                "overridden": [{"value": masked(given.value), "source": given.source} for given in each.overridden],
            }
            for each in config.settings.values()
        ],
    }


def _warn_of_readers(config: Config) -> None:
    """A password that others can read is worth a word."""
    if config.file is None:
        return
    info = Files().stat(config.file)
    secret = any(
        given.level == "file" and masked(given.value) != given.value for given in config.given("url", "postgresql_url")
    )
    if secret and info is not None and info.mode & 0o077:
        sys.stdout.flush()
        print(
            f"sessiondb config show: {config.file} holds a password, and others may read it; next: chmod 600",
            file=sys.stderr,
        )
