"""``docs/architecture.md`` names every module, and no module that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("\n## The modules\n")[2]
ROW = re.compile(r"^\| (`.*?) \| .* \|$", re.MULTILINE)


@pytest.mark.parametrize("package", ["engine/sessiondb", "backends/sessiondb_backends"])
def test_every_module_has_its_line_and_every_line_its_module(package: str) -> None:
    section = MODULES.partition(f"(`{package}/`):")[2].partition("\n\n\n")[0]
    rows = ROW.findall(section.partition(":\n\n|")[0] if package.startswith("engine") else section)
    named = {name for row in rows for name in re.findall(r"`([\w/.]+)`", row)}
    folder = ROOT / package
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if path.name != "__init__.py"}
    there = {"testing/" if name.startswith("testing/") else name for name in there}
    assert named == there
