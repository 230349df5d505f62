"""Layouts of stored documents, and the steps from each to the next.

A step is a pure function that makes a document of version n one of version n + 1. It changes how a record is stored and
nothing that callers see, so that etag and times stay. `contactsvc doctor --fix` takes the steps beside running
services; besides, every write of a record writes it in the present layout.

The reader's rule. A release writes one layout (`SCHEMA_VERSION`) and reads it and all down to `OLDEST_READ`, so that
old and new replicas run side by side while a release is rolled out, and a migration can run at any time after it. A
document of a newer layout is neither read nor written: what it means is not known here. A release that raises
`SCHEMA_VERSION` to n must therefore follow one that reads n, or write nothing that the release before it cannot read.
Layout 2 is of the second kind: releases of layout 1 ignore `primary_key`. When they write a record they make it one of
layout 1 again, so the migration is worth running once the last of them has stopped, and harmless before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from contactsvc.store.documents import SCHEMA_VERSION, found_as_primary
from contactsvc.store.drivers import Document

OLDEST_READ: Final = 1
"""The oldest layout that this release reads."""

READABLE: Final = range(OLDEST_READ, SCHEMA_VERSION + 1)
"""The layouts that this release reads."""


def _find_primaries_by_a_key(document: Document) -> Document:
    """1 -> 2: primaries are found by `primary_key`. A part of the documents of layout 1 have it already."""
    present = {name: value for name, value in document.items() if name != "primary_key"}
    return {**present, **found_as_primary(document)}


STEPS: Final[Mapping[int, Callable[[Document], Document]]] = {1: _find_primaries_by_a_key}
"""The step from each version to the next."""


def migrated(document: Document) -> Document:
    """Return a document of any layout from `OLDEST_READ` on in the present layout."""
    version = int(document["schema_version"])
    while version < SCHEMA_VERSION:
        document = STEPS[version](document)
        version += 1
    return {**document, "schema_version": SCHEMA_VERSION}


def update_of(before: Document) -> tuple[Document, Document]:
    """Return the guarded update that migrates a document as it was read: its filter, and what it sets and unsets.

    The guard is the etag and the version, so that it does nothing to a document that somebody has written meanwhile.
    Only fields that differ are written: what a record remembers of requests may be forgotten without a new etag.
    """
    after = migrated(before)
    update: Document = {"$set": {name: value for name, value in after.items() if before.get(name) != value}}
    if gone := before.keys() - after.keys():
        update["$unset"] = dict.fromkeys(gone, "")
    guard = {"_id": before["_id"], "etag": before.get("etag"), "schema_version": before["schema_version"]}
    return guard, update
