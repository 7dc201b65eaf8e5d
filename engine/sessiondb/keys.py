"""Keys and table names: which texts may be one."""

from __future__ import annotations

from .errors import UsageError, ValidationError

__all__ = ["KEY_BYTES_MAX", "TABLE_NAME_BYTES_MAX", "check_key", "check_table_name"]

KEY_BYTES_MAX = 480
TABLE_NAME_BYTES_MAX = 200


def check_key(table: str, key: object) -> str:
    """The key as a plain `str`.

    Raises:
        ValidationError: it is none that can be stored.
    """
    if type(key) is str and key.isascii() and 0 < len(key) <= KEY_BYTES_MAX and "\0" not in key:
        return key
    if not isinstance(key, str):
        raise ValidationError(f"a key is a str, not {type(key).__name__}", table=table, key=key)
    key = str.__str__(key)
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise ValidationError("the key holds a lone surrogate", table=table, key=key) from error
    if not size:
        raise ValidationError("a key is not empty", table=table, key=key)
    if size > KEY_BYTES_MAX:
        raise ValidationError(f"the key has {size} UTF-8 bytes, the limit is {KEY_BYTES_MAX}", table=table, key=key)
    if "\0" in key:
        raise ValidationError("the key holds a NUL character", table=table, key=key)
    return key


def check_table_name(name: object) -> str:
    """The table's name as a plain `str`.

    Raises:
        UsageError: it is none: not a str, empty, over 200 UTF-8 bytes, or with control characters.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UsageError(f"a table's name is a non-empty str of printable characters, not {name!r}")
    if len(name.encode()) > TABLE_NAME_BYTES_MAX:
        raise UsageError(f"the table name {name[:40]!r}... has more than {TABLE_NAME_BYTES_MAX} UTF-8 bytes")
    return str.__str__(name)
