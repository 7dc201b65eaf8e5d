"""What is measured: sessiondb's backends, the floors under them, and other stores, behind one small interface."""

from .engine import BACKENDS, SYNC_LEVELS, EngineSubject, engine_subject
from .floors import floor_subjects
from .peers import missing_peers, peer_subjects
from .subject import Subject

__all__ = [
    "BACKENDS",
    "SYNC_LEVELS",
    "EngineSubject",
    "Subject",
    "engine_subject",
    "floor_subjects",
    "missing_peers",
    "peer_subjects",
]
