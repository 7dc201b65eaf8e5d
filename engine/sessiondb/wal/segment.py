"""Making a segment: durable, its name included, before anything is written to it."""

from __future__ import annotations

import os

from ..files import File, Files
from .format import SegmentHeader, encode_segment_header, is_good_salt

__all__ = ["SegmentSyncError", "create_segment"]


class SegmentSyncError(Exception):
    """A new segment could not be made durable; `cause` is the operating system's error."""

    def __init__(self, cause: OSError):
        super().__init__(str(cause))
        self.cause = cause


def create_segment(files: Files, folder: str, header: SegmentHeader) -> tuple[File, SegmentHeader]:
    """Make a segment durable, its name included, before anything is written to it.

    The file is exactly the header: a longer one proves that the header was durable.

    Args:
        files: the file system.
        folder: the log's folder.
        header: all fields but `salt` and `crc`, which are chosen here.

    Raises:
        OSError: the file could not be written; it is removed if that is possible.
        SegmentSyncError: a sync failed; whether the file survives is unknown.
    """
    while not is_good_salt(salt := int.from_bytes(os.urandom(4), "little")):
        pass
    data, header = encode_segment_header(header._replace(salt=salt))
    path = f"{folder}/{header.name}"
    file = files.open(path, create=True, exclusive=True)
    try:
        file.pwrite(data, 0)
    except OSError:
        file.close()
        files.unlink(path)
        raise
    try:
        file.fsync()
        # Until the folder is synced the file itself can be lost, with every frame in it.
        files.sync_folder(folder)
    except OSError as error:
        file.close()
        raise SegmentSyncError(error) from error
    return file, header
