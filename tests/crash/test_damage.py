"""Damage at rest is detected or harmless: refused with a documented error, or exactly the data; never wrong data.

Every bit and every cut of every file of small stores, zeros and garbage in blocks, segments swapped, duplicated,
deleted, renamed and reappearing, files of another store, older files of the same store. A refusal changes nothing.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator

import pytest

from crash.damage import (
    HEAD_PATH,
    KINDS,
    STORES,
    Damage,
    Job,
    Store,
    damage_at,
    foreign_files,
    judge,
    places,
    prepare,
    run_job,
    swapped,
)
from crash.oracle import FOLDER_PATH, STORE_PATH, deterministic
from crash.workers import spread
from figures import Tell

ALL_BITS = int(os.environ.get("SESSIONDB_TEST_STATES", "0")) > 50_000


@pytest.fixture(autouse=True)
def _repeatable() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    with deterministic(7):
        yield
    logging.disable(logging.NOTSET)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Store:
    return prepare(request.param)


@pytest.fixture
def rolled() -> Store:
    """A store whose log has two segments that are needed."""
    return prepare("rolled")


def test_what_is_not_damaged_is_right(store: Store) -> None:
    assert judge(store, Damage("nothing", store.files)) == "right"


@pytest.mark.parametrize("kind", KINDS)
def test_some_damage_of_each_kind_is_detected_or_harmless(store: Store, kind: str) -> None:
    """A sample for the plain run; the slow run takes all of it."""
    for path in store.files:
        found = list(places(store, kind, path))
        step = max(len(found) // 6, 1)
        for place in found[len(path) % step :: step]:
            judge(store, damage_at(store, kind, path, place))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_bit_and_every_cut_of_every_file_is_detected_or_harmless(tell: Tell) -> None:
    jobs = [
        Job(kind_of_store, path, kind, part, parts, ALL_BITS)
        for kind_of_store in ("killed", "rolled")
        for path in prepare(kind_of_store).files
        for kind in KINDS
        for parts in (4 if kind in ("bits", "cuts") else 1,)
        for part in range(parts)
    ]
    counts: Counter[str] = Counter()
    for found in spread(run_job, jobs):
        counts.update(found)
    tell(f"damage: {counts.total()} damaged stores, {dict(counts)}, 0 wrong")
    assert counts["refused"] > 1_000
    assert counts["torn"] == 0


def test_every_bit_of_the_last_frame_without_head_is_refused_or_a_reported_torn_tail() -> None:
    """The stated limit: with HEAD lost, nothing witnesses the last sync group; it is quarantined and reported."""
    whole = prepare("killed")
    store = whole._replace(files=whole.without(HEAD_PATH))
    path = store.segments[-1]
    counts: Counter[str] = Counter()
    for offset in range(store.used(path)):
        damage = damage_at(store, "bits", path, (offset, offset % 8))
        counts[judge(store, damage, torn_from=store.lsn - 1)] += 1
    assert counts["refused"] > counts["torn"] > 50


def test_swapped_segments_are_refused(rolled: Store) -> None:
    assert judge(rolled, Damage("two segments swapped", swapped(rolled))) == "refused"


def test_a_missing_segment_is_refused(rolled: Store) -> None:
    for path in rolled.segments:
        outcome = judge(rolled, Damage(f"{path} is missing", rolled.without(path)))
        assert outcome == ("right" if rolled.files[path] == b"" else "refused")


def test_a_missing_json_file_is_refused(store: Store) -> None:
    assert judge(store, Damage("the JSON file is missing", store.without(STORE_PATH))) == "refused"


def test_missing_segments_are_refused_while_head_remembers_what_was_durable(store: Store) -> None:
    outcome = judge(store, Damage("no segments", store.without(*store.segments)), notice=True)
    assert outcome in ("refused", "right")


def test_a_missing_log_folder_is_reported(store: Store) -> None:
    """Nothing is left that could witness the log: the state is the JSON file's, and the report says so."""
    files = {path: data for path, data in store.files.items() if not path.startswith(FOLDER_PATH)}
    assert judge(store, Damage("no log folder", files), notice=True) in ("noticed", "right")


def test_a_segment_under_another_name_is_refused_or_ignored(rolled: Store) -> None:
    for path in rolled.segments:
        folder, _, name = path.rpartition("/")
        epoch, lsn = int(name[:8], 16), int(name[9:25], 16)
        for other in (
            f"{epoch + 1:08x}-{lsn:016x}.seg",
            f"{epoch:08x}-{lsn + 1:016x}.seg",
            f"{epoch:08x}-{lsn + 100:016x}.seg",
            f"{epoch:08x}-{lsn - 1:016x}.seg",
            f"{epoch - 1:08x}-{lsn:016x}.seg",
            f"{epoch:X}-{lsn}.seg",
            "copy of a segment.seg",
        ):
            target = f"{folder}/{other}"
            if target in rolled.files:
                continue
            renamed = {**rolled.without(path), target: rolled.files[path]}
            assert judge(rolled, Damage(f"{name} renamed to {other}", renamed)) == "refused"
            duplicated = {**rolled.files, target: rolled.files[path]}
            judge(rolled, Damage(f"{name} duplicated as {other}", duplicated))


def test_a_backup_copy_beside_the_log_is_harmless(rolled: Store) -> None:
    """Files that end in something else are none of ours."""
    for path in rolled.segments:
        for copy in (f"{path}.bak", f"{path}~"):
            assert judge(rolled, Damage(copy, {**rolled.files, copy: rolled.files[path]})) == "right"


def test_a_removed_segment_that_reappears_is_harmless() -> None:
    """An unlink that no folder sync followed comes back after a power cut (measured on ext4 and xfs)."""
    young, killed = prepare("young"), prepare("killed")
    old = young.segments[0]
    assert old not in killed.files
    assert judge(killed, Damage("an old segment is back", {**killed.files, old: young.files[old]})) == "right"


def test_an_empty_or_short_segment_behind_the_log_is_harmless(store: Store) -> None:
    """What a crash in `create_segment` leaves: a file without a whole header."""
    for data in (b"", b"SDBWAL", bytes(128), b"\xff" * 100):
        for name in (f"00000001-{store.lsn + 1:016x}.seg", f"00000005-{store.lsn + 1:016x}.seg"):
            path = f"{FOLDER_PATH}/{name}"
            if path not in store.files:
                assert judge(store, Damage(f"{name} of {len(data)} bytes", {**store.files, path: data})) == "right"


def test_files_of_another_store_are_refused_or_harmless(store: Store) -> None:
    for kind in STORES:
        other = prepare(kind, seed=1)
        for damage in foreign_files(store, other):
            judge(store, damage)


def test_the_whole_log_of_another_store_is_refused(store: Store) -> None:
    other = prepare("killed", seed=1)
    files = {STORE_PATH: store.files[STORE_PATH]}
    files |= {path: data for path, data in other.files.items() if path != STORE_PATH}
    assert judge(store, Damage("the log is another store's", files)) == "refused"


def test_an_older_json_file_is_refused_when_the_log_has_gone_on() -> None:
    """A backup of the JSON file alone, put back: the log does not reach back that far."""
    young, killed = prepare("young"), prepare("killed")
    damage = Damage("an older JSON file", killed.changed(STORE_PATH, young.files[STORE_PATH]))
    assert judge(killed, damage) == "refused"


def test_an_older_head_is_harmless(store: Store) -> None:
    young = prepare("young")
    assert judge(store, Damage("an older HEAD", store.changed(HEAD_PATH, young.files[HEAD_PATH]))) == "right"
    assert judge(store, Damage("no HEAD", store.without(HEAD_PATH))) == "right"


def test_an_older_copy_of_the_active_segment_is_refused() -> None:
    """Frames that HEAD knows as durable are missing."""
    store = prepare("killed")
    path = store.segments[-1]
    data = store.files[path]
    used = store.used(path)
    for cut in range(128, used - 8, 8):
        older = data[:cut] + bytes(len(data) - cut)
        assert judge(store, Damage(f"{path} as it was at {cut}", store.changed(path, older))) == "refused"


def test_missing_lock_files_are_made_again(store: Store) -> None:
    locks = [f"{FOLDER_PATH}/{name}" for name in ("OPEN", "CKPT", "LOCK")]
    assert judge(store, Damage("no lock files", store.without(*locks))) == "right"
