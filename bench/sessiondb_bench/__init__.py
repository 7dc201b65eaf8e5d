"""Workloads, runner and report of the benchmark suite."""
