"""The targets that sessiondb has set itself, each measured beside its floor in one run, in turns.

``python -m sessiondb_bench.targets [--dir DIR] [--quick] [--output FILE]`` prints what was asked and measured, and
whether that is reached. A ratio is a median of ratios, one a round, so that a busy machine disturbs both sides. The
exit code is 0 whatever comes out: a time is no test.
"""
