"""A listing as queries, and their results as pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from contactsvc import chunks
from contactsvc.domain.listing import Listing, Page
from contactsvc.store import page_tokens, queries
from contactsvc.store.documents import UnreadableDocument, from_document
from contactsvc.store.drivers import Document

# A page has to fit into a message, and gRPC's receivers take 4 MiB unless told otherwise. In bytes of UTF-8 a record
# has at most this much besides its metadata: value 2048, normalized value three times that (NFC), external id 1020,
# client id 512, label 400, and the rest.
_MOST_BESIDES_METADATA = 10_500
_BYTES_PER_CHARACTER = 4
_MOST_IN_A_PAGE = 3_500_000


class Paging:
    """How a listing is answered.

    Args:
        listing: what is asked for.
        environment: what the page tokens are bound to, besides filter and order.

    Attributes:
        query: which documents the listing is about, on all pages.
        keys: in which order.

    Raises:
        InvalidPageToken: the token does not belong to the listing.
    """

    def __init__(self, listing: Listing, environment: str) -> None:
        self._page_size = listing.page_size
        self.query = queries.filter_query(listing.filter)
        self.keys = queries.order(listing.sort)
        self._mark = page_tokens.fingerprint(environment, self.query, self.keys)
        self._position = page_tokens.decode(self._mark, self.keys, listing.page_token) if listing.page_token else None

    @property
    def parts(self) -> Iterator[Document]:
        """The queries whose results, one after the other, are what the listing has from its token on."""
        if self._position is None:
            return iter([self.query])
        return queries.continuations(self.query, self.keys, self._position)

    def parts_after(self, document: Document) -> Iterator[Document]:
        """Return the queries for what follows a document."""
        return queries.continuations(self.query, self.keys, [document[field] for field, _ in self.keys])

    def fitting(self, documents: Sequence[Document]) -> int:
        """Return how many of these documents go into one page: as many as asked for, if they fit into a message."""
        size = 0
        for position, document in enumerate(documents[: self._page_size]):
            try:
                characters = sum(map(len, document["metadata"]))
            except (KeyError, TypeError):
                raise UnreadableDocument(document) from None
            size += _MOST_BESIDES_METADATA + _BYTES_PER_CHARACTER * characters
            if size > _MOST_IN_A_PAGE and position:
                return position
        return min(len(documents), self._page_size)

    async def page(self, documents: Sequence[Document], *, more: bool, total_size: int | None = None) -> Page:
        """Return a page; `more` says whether another one follows."""
        return Page(
            contact_methods=await chunks.map_yielding(from_document, documents),
            next_page_token=page_tokens.encode(self._mark, self.keys, documents[-1]) if more else "",
            total_size=total_size,
        )
