"""Sessions of tasks: the records of the program that sessiondb comes from, on every backend."""

from .record import SessionDbState, SessionMisfit, SessionRecord
from .storage import SessionStorage

__all__ = ["SessionDbState", "SessionMisfit", "SessionRecord", "SessionStorage"]
