"""Records on their way out: the formats of `sessiondb export`, and a file that is there as a whole or not at all."""
