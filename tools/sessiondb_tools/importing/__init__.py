"""What `sessiondb import` reads, a module for each kind; `kinds` lists them, `source` says what one is."""
