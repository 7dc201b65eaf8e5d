"""The write-ahead log: its bytes (`format`, `operations`), its files (`head`, `segment`), reading, writing."""
