"""The documentation's pages, and the fenced blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)(?P<info>[^`\n]*)$")


class Block(NamedTuple):
    """A fenced block."""

    page: Path
    line: int
    """Of its first line of text, counted from 1."""
    language: str
    words: tuple[str, ...]
    """What stands behind the language: ``no-run``, ``script``, ``output``."""
    text: str

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    blocks = []
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is None:
            if fence is not None:
                opened, lines = (fence["ticks"], fence["info"].strip(), number + 1), []
        elif fence is not None and fence["ticks"] == opened[0] and not fence["info"].strip():
            language, *words = opened[1].split() or [""]
            blocks.append(Block(page, opened[2], language, tuple(words), "".join(f"{text}\n" for text in lines)))
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"{name_of(page)}: the block that opens above line {opened and opened[2]} is never closed"
    return blocks


def prose_of(page: Path) -> str:
    """The page without its fenced blocks."""
    kept, inside = [], ""
    for line in page.read_text("utf-8").splitlines():
        fence = _FENCE.match(line)
        if fence is not None and not inside:
            inside = fence["ticks"]
        elif fence is not None and fence["ticks"] == inside:
            inside = ""
        elif not inside:
            kept.append(line)
    return "\n".join(kept)
