"""Names that the store and the process of the embedded database share."""

from __future__ import annotations

from typing import Final

ERASURES: Final = "erasures"
"""The collection in which an erasure leaves a mark for the embedded database, in the database of its environment."""

EMBEDDED_SET_NAME: Final = "contactsvc-embedded"
"""The name of the replica set that the embedded database claims to be, by which the store recognizes it."""

READ_INDEX: Final = "contactsvc.readIndex"
"""The command by which the embedded database reads a slice of an index."""
