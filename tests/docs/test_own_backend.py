"""The how-to on backends keeps its word: its class, installed as it says, passes the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs.pages import ROOT, blocks_of

HOW_TO = ROOT / "docs" / "how-to" / "own-backend.md"


@pytest.mark.timeout(300)
def test_the_backend_of_the_how_to_passes_the_contract_and_is_found_by_its_entry_point(tmp_path: Path) -> None:
    backend, entry_point, contract = [block for block in blocks_of(HOW_TO) if block.language in ("python", "toml")]
    site = tmp_path / "site"
    info = site / "mine_backend-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine-backend\nVersion: 1.0\n")
    group, named = entry_point.text.splitlines()
    assert group == '[project.entry-points."sessiondb.backends"]'
    (info / "entry_points.txt").write_text(f"[sessiondb.backends]\n{named.replace(chr(34), '')}\n")
    (site / "mine_backend.py").write_text(backend.text)
    (tmp_path / "test_mine_backend.py").write_text(f"from mine_backend import MineBackend\n{contract.text}")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-q", "--tb=short", "--maxfail=3", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_mine_backend.py"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": f"{site}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    assert "failed" not in ended.stdout
    assert " passed" in ended.stdout
