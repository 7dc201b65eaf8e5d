"""A JSON file as a later version of the format would have written it."""

from pathlib import Path

from sessiondb.backend import Identity
from sessiondb_backends.json_format import HEADER_BYTES, Header, decode_header, encode_header


def make_later_version(path: Path, version: int = 2) -> None:
    """Raise the version in the file's first line, with a good checksum: without one it would be damage."""
    data = path.read_bytes()
    header = decode_header(data)
    assert header is not None
    later = Header(Identity(header.identity.uuid, version), header.position, header.digest)
    path.write_bytes(encode_header(later) + data[HEADER_BYTES:])
