"""The write-ahead log: bytes (`format`, `operations`), `head`, reading (`reader`, `verdict`), writing (`log`)."""
