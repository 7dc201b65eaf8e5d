"""Fuzzing of what reads foreign bytes: only documented errors come out, memory stays bounded, and nothing happens."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from figures import Tell

SECONDS = int(os.environ.get("SESSIONDB_TEST_FUZZ_S", "20"))
MEMORY_MB_MAX = 1024
VALUE = {"a": [1, -2.5, None, True, "ü", b"\xff", (1, 2)], "t": datetime(2026, 1, 2, tzinfo=UTC), "n": 2**80}
SEEDS = {
    "pickle": [pickle.dumps([VALUE, VALUE, {1, 2}, bytearray(b"x")], protocol) for protocol in range(6)],
    "messagepack": [msgspec.msgpack.encode({**VALUE, "n": 1})],
    "dumb_line": [b"'a', (0, 1)\n", b'"it\'s", (512, 3)\n', b"'\\xff\\n\\\\', (0, 1)\n"],
}


@pytest.mark.fuzz
@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (dev extra)")
@pytest.mark.parametrize("target", SEEDS)
def test_a_fuzzer_finds_nothing_but_documented_errors(target: str, tmp_path: Path, tell: Tell) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS[target]):
        (corpus / f"seed{number}").write_bytes(seed)
    command = [
        sys.executable, str(Path(__file__).with_name("fuzz_import.py")), target, str(corpus),
        f"-max_total_time={SECONDS}", f"-rss_limit_mb={MEMORY_MB_MAX}", "-max_len=20000", "-timeout=20",
        f"-artifact_prefix={tmp_path}/",
    ]  # fmt: skip
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS + 100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    runs = re.search(r"Done (\d+) runs", done.stdout)
    assert runs is not None, done.stdout[-5000:]
    tell(f"{target}: {runs[1]} runs")
