"""A listing as queries, and its results as pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

from pymongo import DESCENDING

from contactsvc import chunks
from contactsvc.domain.listing import Listing, Page
from contactsvc.store import page_tokens, queries
from contactsvc.store.documents import from_document
from contactsvc.store.drivers import Document
from contactsvc.store.layouts import unreadable

# A page must fit into a message, which gRPC receivers limit to 4 MiB by default. The size of a record without its
# metadata, in bytes of UTF-8: value 2048, normalized value three times that (NFC), external id 1020, client id 512,
# label 400, and the rest.
_MAX_RECORD_BYTES = 10_500
_MAX_BYTES_PER_CHARACTER = 4
_MAX_PAGE_BYTES = 3_500_000


class Paging:
    """The queries and pages of one listing.

    Args:
        listing: the listing.
        environment: a name of the environment; page tokens are bound to it as well as to filter and order.
        unparsed: whether the listing may have values without a normal form; tokens do not depend on it.

    Attributes:
        listing: the listing.
        query: matches the documents of all pages.
        keys: the sort keys.
        position: the sort values after which the page of the token begins; None without a token.

    Raises:
        InvalidPageToken: the token does not belong to the listing.
    """

    def __init__(self, listing: Listing, environment: str, *, unparsed: bool = True) -> None:
        self.listing = listing
        self.query = queries.filter_query(listing.filter, unparsed=unparsed)
        self.keys = queries.order(listing.sort)
        whole_query = self.query if unparsed else queries.filter_query(listing.filter)
        self._fingerprinted = environment, whole_query, self.keys
        self.position = (
            page_tokens.decode(self._fingerprint, self.keys, listing.page_token) if listing.page_token else None
        )

    @cached_property
    def _fingerprint(self) -> bytes:
        return page_tokens.fingerprint(*self._fingerprinted)

    def position_of(self, document: Document) -> list[Any]:
        """Return the sort values of a document."""
        return [document[field] for field, _ in self.keys]

    def parts(self, after: Sequence[Any] | None) -> Iterator[Document]:
        """Return queries whose concatenated results are what follows a position; all, if there is none."""
        return iter([self.query]) if after is None else queries.continuations(self.query, self.keys, after)

    def sorted(self, documents: Iterable[Document]) -> list[Document]:
        """Return documents in the order of the listing, without those before the page of the token."""
        found = list(documents)
        for field, direction in reversed(self.keys):
            found.sort(key=itemgetter(field), reverse=direction == DESCENDING)
        return [document for document in found if self.position is None or self._follows(document, self.position)]

    def _follows(self, document: Document, position: Sequence[Any]) -> bool:
        for (field, direction), value in zip(self.keys, position, strict=True):
            if document[field] != value:
                return bool((document[field] < value) == (direction == DESCENDING))
        return False

    def fitting(self, documents: Sequence[Document]) -> int:
        """Return how many of these documents fit into one page, by page size and message size; at least one of any."""
        size = 0
        for position, document in enumerate(documents[: self.listing.page_size]):
            try:
                characters = sum(map(len, document["metadata"]))
            except (KeyError, TypeError):
                raise unreadable(document) from None
            size += _MAX_RECORD_BYTES + _MAX_BYTES_PER_CHARACTER * characters
            if size > _MAX_PAGE_BYTES and position:
                return position
        return min(len(documents), self.listing.page_size)

    async def page(self, documents: Sequence[Document], *, more: bool, total_size: int | None = None) -> Page:
        """Return a page of documents; with a page token if `more` pages follow."""
        return Page(
            contact_methods=await chunks.map_yielding(from_document, documents),
            next_page_token=page_tokens.encode(self._fingerprint, self.keys, documents[-1]) if more else "",
            total_size=total_size,
        )
