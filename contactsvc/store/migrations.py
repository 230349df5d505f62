"""Migrations of stored documents from each layout to the next.

A migration step is a pure function from a document of version n to one of version n + 1. It changes how a record is
stored and nothing that callers see, so etags and times stay. `contactsvc doctor --fix` migrates beside running
services; apart from that, every write of a record writes the present layout.

Compatibility: a release writes one layout (`SCHEMA_VERSION`) and reads every layout from `OLDEST_READ` to that one, so
that old and new replicas run side by side during a rollout, and a migration can run at any time afterwards. Documents
of a newer layout are neither read nor written, because their meaning is unknown. Therefore a release that raises
`SCHEMA_VERSION` to n must either follow a release that reads n, or write nothing that its predecessor cannot read.
Layout 2 is of the second kind: releases of layout 1 ignore `primary_key`. They write records in layout 1 again, so the
migration pays off once the last of them has stopped, and is harmless before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from contactsvc.store.documents import current_primary_key
from contactsvc.store.drivers import Document
from contactsvc.store.layouts import SCHEMA_VERSION

OLDEST_READ: Final = 1
"""The oldest layout that this release reads."""

READABLE: Final = range(OLDEST_READ, SCHEMA_VERSION + 1)
"""The layouts that this release reads."""


def _add_primary_key(document: Document) -> Document:
    """1 -> 2: primaries have a `primary_key`. Some documents of layout 1 have it already."""
    present = {name: value for name, value in document.items() if name != "primary_key"}
    return {**present, **current_primary_key(document)}


STEPS: Final[Mapping[int, Callable[[Document], Document]]] = {1: _add_primary_key}
"""The migration steps, by the version that they start from."""


def migrated(document: Document) -> Document:
    """Return a document of a readable layout in the present layout."""
    version = int(document["schema_version"])
    while version < SCHEMA_VERSION:
        document = STEPS[version](document)
        version += 1
    return {**document, "schema_version": SCHEMA_VERSION}


def update_of(before: Document) -> tuple[Document, Document]:
    """Return the guarded update that migrates a document: its filter, and its changes.

    The filter includes etag and version, so that the update skips a document written since it was read. Only fields
    that differ are written, because idempotency records may be removed without a new etag.
    """
    after = migrated(before)
    update: Document = {"$set": {name: value for name, value in after.items() if before.get(name) != value}}
    if gone := before.keys() - after.keys():
        update["$unset"] = dict.fromkeys(gone, "")
    guard = {"_id": before["_id"], "etag": before.get("etag"), "schema_version": before["schema_version"]}
    return guard, update
