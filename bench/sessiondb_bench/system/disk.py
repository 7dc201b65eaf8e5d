"""Disk: bytes written for each byte of user data, space taken for each byte that is there, and an idle store.

The workload puts records over random keys, with a checkpoint after every so many. Bytes are counted in two places:
given to write calls (the engine's and the JSON file's by a counting file system; the whole process's, and so SQLite's
and LMDB's, by the kernel), and written to the device, in whole pages and with the file system's own journal. The latter
holds what all other programs wrote meanwhile: it counts only on a machine that is idle otherwise. A PostgreSQL server
writes in its own processes: only the log is counted there.
"""

from __future__ import annotations

import os
import random

import sessiondb

from ..records import key_of, session_record
from ..results import Measurement
from .child import run_in_child
from .counting import CountingFiles, allocated, sync_all, written_by_process, written_to_device
from .figures import counted
from .plan import NO_CHECKPOINTS, Plan

__all__ = ["amplification", "measure"]

OF_THE_LOG = ("commits", "user_bytes", "live_user_bytes", "log_written_bytes", "log_bytes_per_user_byte")
"""What can be said of a store on a server."""


def amplification(
    location: str, folder: str, count: int, keys: int, every: int, record_bytes: int, sync: sessiondb.SyncLevel
) -> dict[str, float]:
    """Put so many records and count; in a process of its own, since the kernel counts by process."""
    files, rng, user = CountingFiles(), random.Random(7), 0
    written_keys = set()
    asked_before, device_before = written_by_process(), written_to_device(folder)
    with sessiondb.open(location, files=files, sync=sync, **NO_CHECKPOINTS) as database:
        table = database.table("records")
        for number in range(count):
            key = key_of(rng.randrange(keys))
            table.put(key, session_record(number, record_bytes))
            user += len(key) + record_bytes
            written_keys.add(key)
            if (number + 1) % every == 0:
                database.checkpoint()
        frames = database.stats().commits
    asked_after = written_by_process()
    sync_all(folder)  # what an unsynced put left to the kernel
    device_after = written_to_device(folder)
    live = sum(len(key) for key in written_keys) + len(written_keys) * record_bytes
    sizes = allocated(folder)
    counts: dict[str, float] = {
        "commits": frames,
        "user_bytes": user,
        "live_user_bytes": live,
        "log_written_bytes": files.written["log"],
        "store_written_by_engine_bytes": files.written["store"],
        "log_bytes_per_user_byte": files.written["log"] / user,
        "disk_bytes": sizes.total(),
        "disk_bytes_per_live_byte": sizes.total() / live,
        **{f"disk_{kind}_bytes": size for kind, size in sorted(sizes.items())},
    }
    if asked_before is not None and asked_after is not None:
        asked = asked_after - asked_before
        counts["all_written_bytes"] = asked
        counts["backend_written_bytes"] = asked - files.written["log"] - files.written["head"] - files.written["lock"]
        counts["write_amplification"] = asked / user
    if device_before is not None and device_after is not None:
        counts["device_written_bytes"] = device_after - device_before
        counts["device_amplification"] = (device_after - device_before) / user
    return counts


def idle(location: str, folder: str) -> dict[str, float]:
    """A new store: what it takes while it is open with nothing in it, closed, and closed with one record."""
    with sessiondb.open(location) as database:
        opened = allocated(folder)
        database.table("records")
    closed = allocated(folder)
    with sessiondb.open(location) as database:
        database.table("records").put(key_of(1), session_record(1))
    one = allocated(folder)
    apparent = sum(os.stat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)
    return {
        "open_bytes": opened.total(),
        "closed_bytes": closed.total(),
        "closed_with_one_record_bytes": one.total(),
        "closed_with_one_record_apparent_bytes": apparent,
        "files": sum(len(names) for _, _, names in os.walk(folder)),
    }


def measure(plan: Plan) -> list[Measurement]:
    """The workload unsynced and durable, and an idle store, on each backend."""
    measurements = []
    for backend in plan.backends:
        served = backend == "postgres"
        for sync, count in (("never", plan.puts), ("always", plan.durable_puts)):
            folder = plan.new_folder()
            counts = run_in_child(
                amplification, location=plan.location(backend, folder), folder=folder, count=count, keys=plan.keys,
                every=plan.every, record_bytes=plan.record_bytes, sync=sync,
            )  # fmt: skip
            if served:
                counts = {name: value for name, value in counts.items() if name in OF_THE_LOG}
            measurements.append(
                counted(
                    "bytes written", backend, counts, guarantee="power" if sync == "always" else "kill", sync=sync,
                    record_bytes=plan.record_bytes, records=plan.keys, operations=count,
                )
            )  # fmt: skip
        if served:
            continue
        folder = plan.new_folder()
        measurements.append(
            counted(
                "idle store", backend, run_in_child(idle, location=plan.location(backend, folder), folder=folder),
                guarantee="power", record_bytes=plan.record_bytes, records=0,
            )
        )  # fmt: skip
    return measurements
