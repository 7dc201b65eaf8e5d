"""What a short command does not import: its start is most of what it costs.

Times are measured, not asserted; docs/reference/command.md says how. This list is what keeps them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NEVER = [
    "_socket", "asyncio", "bz2", "csv", "dataclasses", "difflib", "email", "fnmatch", "importlib.metadata",
    "importlib.resources", "inspect", "json", "logging", "lzma", "multiprocessing", "pathlib", "portalocker",
    "random", "selectors", "shutil", "signal", "socket", "sqlite3", "string", "subprocess", "tempfile", "tomllib",
    "traceback", "unittest", "urllib", "zipfile", "psycopg", "lmdb", "numpy", "sessiondb.aio", "sessiondb.testing",
    "sessiondb_bench", "sessiondb_tools.completion", "sessiondb_tools.demo", "sessiondb_tools.inspection",
    "sessiondb_tools.json_text", "sessiondb_backends.lmdb", "sessiondb_backends.postgres",
    "sessiondb_backends.sqlite",
]  # fmt: skip
"""Neither these nor what is in them. What msgspec itself imports is no concern of ours."""


@pytest.fixture(scope="session")
def of_msgspec() -> set[str]:
    return set(imported("import msgspec, sys"))


def imported(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print('\\n', *sys.modules, file=sys.stderr)"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stderr.split()


def imported_by(*arguments: str) -> list[str]:
    """As the entry script does it."""
    argv = ["sessiondb", *arguments]
    return imported(f"import sys; sys.argv = {argv!r}; from sessiondb_tools.main import main; assert main() == 0")


def heavy(modules: list[str], of_msgspec: set[str]) -> list[str]:
    own = set(modules) - of_msgspec
    return sorted(name for name in own if any(name == each or name.startswith(f"{each}.") for each in NEVER))


@pytest.mark.parametrize("verb", [["get", "a"], ["list"], ["tables"], ["get", "a", "--json"]])
def test_a_verb_that_reads_a_json_store_imports_little(store: str, of_msgspec: set[str], verb: list[str]) -> None:
    modules = imported_by(*verb, "--db", store)
    assert heavy(modules, of_msgspec) == []
    others = {f"sessiondb_tools.verbs.{path.stem}" for path in verbs_folder().glob("*.py")}
    assert [name for name in modules if name in others] == [f"sessiondb_tools.verbs.{verb[0]}"]


def test_what_reads_json_from_the_command_line_imports_little_more(store: str, of_msgspec: set[str]) -> None:
    found = heavy(imported_by("find", "n:=1", "--db", store), of_msgspec)
    assert {name.partition(".")[0] for name in found} <= {"json", "sessiondb_tools"}
    assert "sessiondb_tools.demo" not in found


def verbs_folder() -> Path:
    import sessiondb_tools.verbs

    return Path(sessiondb_tools.verbs.__path__[0])


def test_a_recovered_store_is_read_without_more(killed_store: str, of_msgspec: set[str]) -> None:
    assert heavy(imported_by("get", "key-0", "--db", killed_store), of_msgspec) == []


def test_the_environment_costs_no_more(store: str, of_msgspec: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONDB_URL", store)
    monkeypatch.setenv("SESSIONDB_LOCK_TIMEOUT", "1")
    assert heavy(imported_by("get", "a"), of_msgspec) == []


def test_the_list_would_notice(of_msgspec: set[str]) -> None:
    names = ["logging", "portalocker", "importlib.metadata", "json", "tomllib", "socket", "shutil", "sqlite3"]
    assert set(names) <= set(heavy(imported(f"import sys, msgspec, {', '.join(names)}"), of_msgspec))


def test_the_entry_point_imports_nothing_of_the_library() -> None:
    """So that ``--version``, ``--help`` and a mistyped verb answer at once."""
    modules = imported("import sys, sessiondb_tools.main")
    assert [
        name for name in modules if name == "msgspec" or name.startswith(("sessiondb.", "sessiondb_backends"))
    ] == []


def test_importing_the_library_reads_no_settings(tmp_path: Path) -> None:
    environment = os.environ | {"SESSIONDB_NONSENSE": "1", "SESSIONDB_CONFIG": "/no/such/file"}
    program = "import sessiondb, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    loaded: list[Any] = json.loads(done.stdout)
    assert "tomllib" not in loaded
    assert "importlib.metadata" not in loaded
