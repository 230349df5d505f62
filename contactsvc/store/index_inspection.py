"""Comparison of the indexes in a database with those that the service needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from pymongo import ASCENDING

from contactsvc.store.indexes import INDEXES, Index

# Fields in MongoDB's description of an index that are not options given at its creation.
_IMPLICIT_FIELDS: Final = frozenset({"v", "key", "ns", "background"})


class IndexState(Enum):
    """The state of an index that the service needs."""

    RIGHT = auto()
    """It exists as declared."""
    MISSING = auto()
    """It does not exist."""
    OTHER = auto()
    """An index of its name has other keys or options."""
    RENAMED = auto()
    """An index with its keys and options has another name; MongoDB does not allow both."""


@dataclass(frozen=True, slots=True)
class InspectedIndex:
    """An index that the service needs, compared with the database.

    Attributes:
        name: its name in the service.
        unique: whether it is unique, and so enforces a rule.
        state: its state.
        found: the name of the existing index in its place; empty if there is none.
    """

    name: str
    unique: bool
    state: IndexState
    found: str


def inspect_indexes(present: Mapping[str, Mapping[str, Any]]) -> list[InspectedIndex]:
    """Return the state of each index that the service needs.

    Args:
        present: the driver's index information.
    """
    return [_inspected(index, present) for index in INDEXES]


def _inspected(index: Index, present: Mapping[str, Mapping[str, Any]]) -> InspectedIndex:
    declared = {"key": [(key, ASCENDING) for key in index.keys], **index.options}
    unique = bool(index.options.get("unique"))
    if index.name in present:
        state = IndexState.RIGHT if _declaration(present[index.name]) == declared else IndexState.OTHER
        return InspectedIndex(index.name, unique, state, index.name)
    for name, found in present.items():
        if _declaration(found) == declared:
            return InspectedIndex(index.name, unique, IndexState.RENAMED, name)
    return InspectedIndex(index.name, unique, IndexState.MISSING, "")


def _declaration(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys and options of an existing index in normal form."""
    options = {
        name: dict(value) if name == "partialFilterExpression" else value
        for name, value in found.items()
        # An option that is False equals one that is absent, but 0 seconds do not.
        if name not in _IMPLICIT_FIELDS and value is not False
    }
    return {"key": [(key, direction) for key, direction in found["key"]], **options}
