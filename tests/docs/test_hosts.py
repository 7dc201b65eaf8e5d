"""Pages that tell of several hosts and a server: their blocks run, each with the name and the folders of its host."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.pages import PAGES, blocks_of, name_of
from docs.running import Page, host_of

NAMED = """
import os
real = os.uname()
os.uname = lambda: os.uname_result((real[0], os.environ["HOST_NAME"], *real[2:]))
"""
"""What gives a process its host's name: Python runs it first."""


def hosts_of(page: Path) -> list[str]:
    return sorted({host for block in blocks_of(page) if (host := host_of(block))})


@pytest.mark.parametrize("page", [page for page in PAGES if hosts_of(page)], ids=name_of)
def test_what_several_hosts_do_runs_and_prints_what_the_page_says(
    page: Path, empty_folder: Path, tmp_path: Path, pg_path: str
) -> None:
    (tmp_path / "named").mkdir()
    (tmp_path / "named" / "sitecustomize.py").write_text(NAMED)
    hosts = {
        host: {
            "HOST_NAME": host, "PYTHONPATH": str(tmp_path / "named"), "SESSIONDB_URL": f"postgresql:{pg_path}",
            "XDG_STATE_HOME": str(empty_folder / host),
        }
        for host in hosts_of(page)
    }  # fmt: skip
    ran = Page(page, empty_folder, hosts).run()
    assert ran == sum(
        block.language in ("python", "console") for block in blocks_of(page) if "no-run" not in block.words
    )
