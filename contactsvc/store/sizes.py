"""Sizes of documents in memory."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain
from sys import getsizeof
from typing import Final

from contactsvc.store.drivers import Document

MAX_DOCUMENT_BYTES: Final = 230_000
"""A document at all limits while it is read: 112 kB of BSON, and as much in Python."""

BATCH_SIZE: Final = 50
"""Documents that are read at a time: about 11 MB where all of them are as large as they may be."""

# The dictionary, and what getsizeof leaves out.
_BASE_BYTES = 700


def size_of(documents: Collection[Document]) -> int:
    """Return the approximate size of documents, in bytes."""
    values = chain.from_iterable(map(dict.values, documents))
    pairs = chain.from_iterable(document.get("metadata") or () for document in documents)
    return _BASE_BYTES * len(documents) + sum(map(getsizeof, values)) + sum(map(getsizeof, pairs))
