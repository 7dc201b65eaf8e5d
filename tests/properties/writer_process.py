"""The process that `test_kill` kills: threads that write, and tell through a pipe what was acknowledged.

What a thread does is decided by its number and the step alone, so the parent knows what must be there after any
step: step n of thread t is one transaction (see `act` and `state_after`).
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import sessiondb
from sessiondb import Database

__all__ = ["THREADS", "act", "state_after"]

THREADS = 3
BATCH = 7
CYCLE = 5
LEVELS = ("always", "interval", "never")


def act(db: Database, thread: int, step: int) -> sessiondb.Position:
    """Do step number `step`: one transaction."""
    table = db.table(f"t{thread}")
    level: Any = LEVELS[step % len(LEVELS)]
    if step == 0:
        return table.insert("first", step, sync=level)
    kind = step % CYCLE
    if kind == 0:
        return table.put_many({f"batch-{number}": {"step": step} for number in range(BATCH)}, sync=level)
    if kind == 1:
        return table.put(f"record-{step // CYCLE % 40}", {"step": step, "text": "x" * (step * 37 % 900)}, sync=level)
    if kind == 2:
        table.patch("batch-0" if "batch-0" in table else f"record-{step // CYCLE % 40}", {"patched": step}, sync=level)
    elif kind == 3:
        table.delete_prefix("record-1", sync=level) or table.put("nothing", step, sync=level)
    else:
        table.modify("counter", lambda count: count + 1, default=0, sync=level)
    return db.position()


def state_after(thread: int, steps: int) -> dict[str, Any]:
    """The thread's table when its steps 0 to `steps` - 1 are done."""
    state: dict[str, Any] = {}
    for step in range(steps):
        kind = step % CYCLE
        if step == 0:
            state["first"] = step
        elif kind == 0:
            state.update({f"batch-{number}": {"step": step} for number in range(BATCH)})
        elif kind == 1:
            state[f"record-{step // CYCLE % 40}"] = {"step": step, "text": "x" * (step * 37 % 900)}
        elif kind == 2:
            key = "batch-0" if "batch-0" in state else f"record-{step // CYCLE % 40}"
            state[key] = {**state[key], "patched": step}
        elif kind == 3:
            gone = [key for key in state if key.startswith("record-1")]
            for key in gone:
                del state[key]
            if not gone:
                state["nothing"] = step
        else:
            state["counter"] = state.get("counter", 0) + 1
    return state


def _write(db: Database, thread: int, step: int, pipe: int) -> None:
    while True:
        position = act(db, thread, step)
        # One short write to a pipe is whole or not there.
        os.write(pipe, f"{thread} {step} {position.lsn}\n".encode())
        step += 1


def main() -> None:
    """Arguments: the location, the pipe's descriptor, and the first step of each thread."""
    location, pipe, *steps = sys.argv[1:]
    # Small triggers: checkpoints go on in the background all the time.
    db = sessiondb.open(location, checkpoint_records=60, sync_interval_ms=5)
    writers = [
        threading.Thread(target=_write, args=(db, thread, int(step), int(pipe))) for thread, step in enumerate(steps)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


if __name__ == "__main__":
    main()
