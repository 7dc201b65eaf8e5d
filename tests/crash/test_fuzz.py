"""Fuzzing: whatever bytes are on the disk, only documented errors come out, and memory stays bounded.

The marker ``fuzz`` runs atheris (of the dev extra) on each target for ``SESSIONDB_TEST_FUZZ_S`` seconds; the plain run
tries some random inputs.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crash.fuzzing import TARGETS, seeds, smoke
from crash.oracle import deterministic
from figures import Tell

SECONDS = int(os.environ.get("SESSIONDB_TEST_FUZZ_S", "20"))
MEMORY_MB_MAX = 1024


@pytest.fixture
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    with deterministic(1):
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("name", TARGETS)
def test_random_bytes_raise_nothing_but_documented_errors(name: str) -> None:
    smoke(TARGETS[name], count=300, seed=1)
    for seed in seeds(name):
        for place in range(0, min(len(seed), 2_000), 7):
            TARGETS[name](seed[:place] + b"\xa5" + seed[place + 1 :])


@pytest.mark.fuzz
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (dev extra)")
@pytest.mark.parametrize("name", TARGETS)
def test_a_fuzzer_finds_nothing_but_documented_errors(name: str, tmp_path: Path, tell: Tell) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed{number}").write_bytes(seed)
    command = [
        sys.executable, "-m", "crash.fuzz", name, str(corpus), f"-max_total_time={SECONDS}",
        f"-rss_limit_mb={MEMORY_MB_MAX}", "-max_len=20000", "-timeout=20", f"-artifact_prefix={tmp_path}/",
    ]  # fmt: skip
    tests = Path(__file__).parent.parent
    path = os.pathsep.join([str(tests), *sys.path])
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    report = done.stderr[-4000:]
    found = re.search(r"Done (\d+) runs in (\d+) second", report)
    tell(f"fuzz {name}: {found[0] if found else 'failed'}")
    inputs = [item.read_bytes()[:200] for item in tmp_path.glob("crash-*")]
    assert done.returncode == 0, f"{report}\ninput: {inputs}"
