"""Whole-system figures: what a store costs beside the latency of single operations.

``python -m sessiondb_bench.system [--dir DIR] [--backend NAME] [--dsn URL] [--quick] [--output FILE]`` measures the
replay after a kill, what writers see of checkpoints, memory and disk against data, bytes and syncs per commit, and the
start of the command. What can be counted is counted. Each part is a module with a function ``measure``.
"""
