"""A number of documents of which only the first are named."""

from __future__ import annotations

from collections.abc import Iterable

from contactsvc.store import MAX_GROUP_IDS as MAX_NAMED


class Sample:
    """Documents in the order in which they were found: their number, and the ids of the first ones.

    Attributes:
        count: their number.
        ids: the ids of the first ones, at most `MAX_NAMED`.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.count = 0
        self.ids: tuple[str, ...] = ()
        for id_ in ids:
            self.add(id_)

    def add(self, id_: str) -> None:
        """Count a document, and name it if it is one of the first."""
        self.count += 1
        if self.count <= MAX_NAMED:
            self.ids += (id_,)

    def __str__(self) -> str:
        return named(self.ids, self.count)


def named(ids: tuple[str, ...], count: int) -> str:
    """Return ids as text, followed by the number of the documents that they leave out."""
    more = count - len(ids)
    return ", ".join(ids) + (f" and {more} more" if more else "")
