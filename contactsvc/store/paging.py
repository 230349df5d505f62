"""A listing as queries, and its results as pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
        query: matches the documents of all pages.
        keys: the sort keys.

    Raises:
        InvalidPageToken: the token does not belong to the listing.
    """

    def __init__(self, listing: Listing, environment: str, *, unparsed: bool = True) -> None:
        self._page_size = listing.page_size
        self.query = queries.filter_query(listing.filter, unparsed=unparsed)
        self.keys = queries.order(listing.sort)
        whole_query = self.query if unparsed else queries.filter_query(listing.filter)
        self._fingerprint = page_tokens.fingerprint(environment, whole_query, self.keys)
        self._position = (
            page_tokens.decode(self._fingerprint, self.keys, listing.page_token) if listing.page_token else None
        )

    @property
    def parts(self) -> Iterator[Document]:
        """Queries whose concatenated results are the listing from its token on."""
        if self._position is None:
            return iter([self.query])
        return queries.continuations(self.query, self.keys, self._position)

    def parts_after(self, document: Document) -> Iterator[Document]:
        """Return queries for what follows a document."""
        return queries.continuations(self.query, self.keys, [document[field] for field, _ in self.keys])

    def fitting(self, documents: Sequence[Document]) -> int:
        """Return how many of these documents fit into one page, by page size and message size; at least one of any."""
        size = 0
        for position, document in enumerate(documents[: self._page_size]):
            try:
                characters = sum(map(len, document["metadata"]))
            except (KeyError, TypeError):
                raise unreadable(document) from None
            size += _MAX_RECORD_BYTES + _MAX_BYTES_PER_CHARACTER * characters
            if size > _MAX_PAGE_BYTES and position:
                return position
        return min(len(documents), self._page_size)

    async def page(self, documents: Sequence[Document], *, more: bool, total_size: int | None = None) -> Page:
        """Return a page of documents; with a page token if `more` pages follow."""
        return Page(
            contact_methods=await chunks.map_yielding(from_document, documents),
            next_page_token=page_tokens.encode(self._fingerprint, self.keys, documents[-1]) if more else "",
            total_size=total_size,
        )
