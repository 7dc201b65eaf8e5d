"""What a run says of its machine, and what it does not."""

from __future__ import annotations

import os
import platform

import msgspec
import pytest

from sessiondb_bench import environment as module
from sessiondb_bench.environment import commit, environment, file_system
from sessiondb_bench.records import EXACT_BYTES_MIN, key_of, session_record


def test_it_names_machine_versions_and_file_system_but_no_host_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-77-built-by-somebody")
    monkeypatch.setattr(platform, "node", lambda: "the-name-of-the-host")
    told = environment(tmp_path)
    text = msgspec.json.encode(told).decode()
    assert told.cores > 0
    assert told.memory_bytes > 1 << 20
    assert {"sessiondb", "msgspec", "sqlite"} <= told.versions.keys()
    assert told.system.endswith(" 6.1.0")
    assert told.load_after is None
    for secret in ("somebody", "the-name-of-the-host", str(tmp_path), tmp_path.name):
        assert secret not in text


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="only Linux tells its mounts there")
def test_the_file_system_is_that_of_the_innermost_mount():
    assert file_system("/proc/self") == "proc"
    assert file_system("/") != "unknown"


def test_of_mounts_on_one_another_the_last_counts_and_options_that_matter_are_told(tmp_path, monkeypatch):
    above, place = str(tmp_path), os.path.realpath(tmp_path)
    mounts = [
        ("/", "xfs", "rw"), (place, "ext3", "rw"), (place, "ext4", "rw,nobarrier,data=writeback,relatime"),
        (f"{place}-other", "tmpfs", "rw"),
    ]  # fmt: skip
    monkeypatch.setattr(module, "_mounts", lambda: mounts)
    assert file_system(above) == "ext4 (data=writeback, nobarrier)"


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path):
    assert commit(tmp_path) == ""
    (tmp_path / ".git").mkdir()
    assert commit(tmp_path) == "", "the checkout of another project"


@pytest.mark.parametrize(("changed", "same", "told"), [("", True, "abc"), (" M x", True, "abc+"), ("", False, "abc+")])
def test_a_changed_checkout_is_marked(changed, same, told, tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    (tmp_path / "engine" / "sessiondb").mkdir(parents=True)
    monkeypatch.setattr(module, "_git", lambda place, *words: "abc" if words[0] == "rev-parse" else changed)
    monkeypatch.setattr(module, "_is_installed_from", lambda source: same)
    assert commit(tmp_path) == told


def test_an_installed_copy_that_differs_from_the_checkout_is_noticed(tmp_path):
    assert not module._is_installed_from(_copy(tmp_path, changed=True))
    assert module._is_installed_from(_copy(tmp_path / "same", changed=False))


def _copy(folder, *, changed):
    import shutil

    import sessiondb

    source = folder / "engine" / "sessiondb"
    shutil.copytree(os.path.dirname(sessiondb.__file__), source, ignore=shutil.ignore_patterns("__pycache__"))
    if changed:
        (source / "keys.py").write_text("")
    return source


@pytest.mark.parametrize("size", [EXACT_BYTES_MIN, 201, 300, 1_000])
@pytest.mark.parametrize("number", [0, 7, 4_711, 9_999_999])
def test_a_record_has_exactly_the_size_asked_for_and_is_the_same_every_time(number, size):
    record = session_record(number, size)
    assert len(msgspec.json.encode(record)) == size
    assert record == session_record(number, size)
    assert record["session"] == key_of(number)


def test_small_records_are_small_and_keys_are_in_the_order_of_numbers():
    assert len(msgspec.json.encode(session_record(3, 60))) < 60
    keys = [key_of(number) for number in (0, 9, 10, 99_999, 100_000)]
    assert keys == sorted(keys)
