"""The part of the backend protocol that a migration needs: making a whole store apart from its place, then switching.

A backend need not have it: then its stores can be read by a migration, but not be its target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from .errors import UsageError

if TYPE_CHECKING:
    from .backend import BackendView, Changes, Identity, Pace, Position, TableKind
    from .files import Files

__all__ = ["Replaceable", "Replacement"]


class Replacement(ABC):
    """A store that is made apart from its place, and takes that place as a whole: `Backend.replacement` begins one.

    Used by one thread, whose process holds the locks of the store at the place. Until `take_place` returns or is
    interrupted, what is at the place is what was there; nothing else is ever seen there than the old store or the new.
    """

    @abstractmethod
    def add(self, changes: Changes, pace: Pace) -> None:
        """Make these changes to what is made so far: at first a store without tables.

        Raises:
            BackendError: it failed; there is nothing to be done but `discard`.
        """

    @abstractmethod
    def read(self) -> BackendView:
        """A view of all that was added, read from where it is stored. Nothing is added after this."""

    @abstractmethod
    def check(self) -> list[str]:
        """As `Backend.check`, for what was added. Nothing is added after this."""

    @abstractmethod
    def take_place(self) -> None:
        """Put it in the place of what is there, in one atomic step that is durable on return.

        It has a uuid of its own and the position of its last change inside, so it needs no log; whoever calls has
        removed the log of what was there, and closed all views of this replacement.

        Raises:
            FencedError: what is at the place is not what was there when this began; it stays as it is.
            DurabilityUnknownError: whether the place was taken cannot be told.
            BackendError: it failed; what was at the place is there.
        """

    @abstractmethod
    def discard(self) -> None:
        """Remove it, unless it has taken its place; a second call does nothing."""


class Replaceable:
    """What a backend has, whose stores can be the target of a migration; every backend inherits it."""

    scheme: ClassVar[str]

    @classmethod
    def must_have_layout(cls, layout: str | None) -> None:
        """Raise unless `replacement` can make a store that is written in this way; ``None``: in the backend's own.

        Raises:
            UsageError: it cannot.
        """
        if layout is not None:
            raise UsageError(f"layout is {layout!r}; only JSON files have layouts, a {cls.scheme} store has none")

    @classmethod
    def misfit(cls, table: str, kind: TableKind, key: str, image: bytes, layout: str | None = None) -> str:
        """Why a replacement with this layout would not give this record back byte for byte; empty when it would."""
        return ""

    def left_behind(self) -> tuple[list[tuple[str, str, str]], list[str]]:
        """What the location holds beside the records of its views, and no other store can take over.

        Returns:
            Records, as table, key and what they are; and other things, a sentence each.
        """
        return [], []

    @classmethod
    def replacement(
        cls, files: Files, path: str, before: tuple[Identity, Position] | None, *, layout: str | None = None
    ) -> Replacement:
        """Begin a store that is to take the place of what is at the path, which nobody has open.

        What an interrupted one has left is removed.

        Args:
            files: the file system.
            path: as for `Backend.open`; what must be there before a store can be made is there.
            before: what is there; ``None``: nothing.
            layout: see `must_have_layout`.

        Raises:
            UsageError: no such layout, or this backend makes no replacements.
            BackendError: it cannot be begun.
        """
        raise UsageError(f"{cls.scheme} stores cannot be replaced as a whole: choose another backend as the target")

    @classmethod
    def copy_aside(cls, files: Files, path: str, mark: str) -> tuple[str, str]:
        """Copy the store at the path, which nobody has open and whose log is empty, to a place near it.

        The copy is a store of its own with the same records. It is there as a whole or not at all, and durable on
        return.

        Args:
            files: the file system.
            path: as for `Backend.open`.
            mark: a few letters, digits and ``-`` for its name; what has the name already is not touched.

        Returns:
            The path of the copy, and how to name it to people: a location without secrets.

        Raises:
            BackendError: it failed; there is no copy.
        """
        raise UsageError(f"{cls.scheme} stores cannot be copied aside: choose another backend as the target")

    @classmethod
    def remove_leftovers(cls, files: Files, path: str) -> list[str]:
        """Remove what an interrupted `replacement` or `copy_aside` left near the path; says what it was.

        The caller holds the locks of the store. What is at the path is not touched.
        """
        return []
