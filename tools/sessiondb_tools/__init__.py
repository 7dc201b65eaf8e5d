"""The `sessiondb` command: one module for each verb in `sessiondb_tools.verbs`, run by `sessiondb_tools.main`."""
