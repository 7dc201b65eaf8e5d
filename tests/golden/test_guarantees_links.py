"""Every promise of ``docs/guarantees.md`` names tests, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NODE = re.compile(r"`((?:tests|engine)/[\w/]+\.py)::([\w:]+)`")
NODES = sorted(set(NODE.findall(TEXT)))


def names_in(path: Path) -> set[str]:
    """``function`` and ``Class::method`` for all that the file defines."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


@pytest.mark.parametrize(("path", "name"), NODES, ids=lambda part: part.rpartition("/")[2])
def test_a_test_that_is_named_as_a_proof_exists(path: str, name: str) -> None:
    assert name in names_in(ROOT / path)


def test_every_promise_names_its_tests() -> None:
    promises = re.split(r"^### ", TEXT.partition("\n## The promises\n")[2].partition("\n## ")[0], flags=re.MULTILINE)[
        1:
    ]
    assert [promise.split(".")[0] for promise in promises] == [str(number) for number in range(1, len(promises) + 1)]
    assert [promise.splitlines()[0] for promise in promises if not NODE.search(promise)] == []


def test_nothing_that_looks_like_a_test_is_left_unchecked() -> None:
    assert len(re.findall(r"::test_", TEXT)) == len(NODE.findall(TEXT))
