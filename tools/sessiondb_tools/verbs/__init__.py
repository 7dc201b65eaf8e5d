"""The verbs of the `sessiondb` command, a module each: `add_arguments(parser)` and `run(arguments) -> exit code`."""
