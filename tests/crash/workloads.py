"""What the store is doing when the power goes: all workloads of the crash kit."""

from __future__ import annotations

from . import workloads_stopping, workloads_writing
from .workload import WORKLOADS, run_workload

__all__ = ["WORKLOADS", "run_workload", "workloads_stopping", "workloads_writing"]
