"""What the verbs `bench run` and `bench compare` do with the command line, the disk, the server and the terminal."""
