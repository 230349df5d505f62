"""Ports: what the use cases need of a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, TypeVar

from contactsvc.domain.change_set import ChangeSet
from contactsvc.domain.contact_method import ContactMethod
from contactsvc.domain.idempotency import IdempotencyRecord
from contactsvc.domain.kinds import Slot
from contactsvc.domain.listing import Listing, Page
from contactsvc.errors import ContactsvcError

T = TypeVar("T")


class Store(Protocol):
    """The contact methods and idempotency records of one environment.

    Any method may raise StoreUnavailable. Writes are durable when the method returns.
    """

    @property
    def transactional(self) -> bool:
        """Whether `atomically` is atomic. Without it a crash between two writes leaves the first."""
        ...

    async def find(self, id_: str) -> ContactMethod | None:
        """Return the record with this id."""
        ...

    async def find_by_ids(self, ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these ids, in any order."""
        ...

    async def find_by_external_id(self, external_id: str) -> ContactMethod | None:
        """Return the record with this external id."""
        ...

    async def find_by_external_ids(self, external_ids: Collection[str]) -> list[ContactMethod]:
        """Return the records with these external ids, in any order."""
        ...

    async def find_by_metadata(self, key: str, value: str, client_id: str | None, *, limit: int) -> list[ContactMethod]:
        """Return up to `limit` records that carry the pair."""
        ...

    async def find_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of the slot."""
        ...

    async def find_primaries(self, slots: Collection[Slot]) -> list[ContactMethod]:
        """Return the primaries of these slots."""
        ...

    async def find_in_slot(self, slot: Slot) -> list[ContactMethod]:
        """Return all records of the client and type."""
        ...

    async def find_of_client(self, client_id: str) -> list[ContactMethod]:
        """Return all records of the client."""
        ...

    async def find_of_clients(self, client_ids: Collection[str]) -> list[ContactMethod]:
        """Return all records of these clients, in any order."""
        ...

    async def find_page(self, listing: Listing) -> Page:
        """Return one page; raise InvalidPageToken when the token does not belong to the listing."""
        ...

    def stream_pages(self, listing: Listing) -> AsyncGenerator[Page]:
        """Yield page after page to the end, as they are asked for, holding two at a time; errors as in `find_page`."""
        ...

    async def find_idempotency_record(self, request_id: str) -> IdempotencyRecord | None:
        """Return the idempotency record of this request_id, expired or not."""
        ...

    async def find_idempotency_records(self, ids: Collection[str]) -> dict[str, tuple[IdempotencyRecord, ...]]:
        """Return the idempotency records that are kept under the ids of deleted records, by id."""
        ...

    async def remove_idempotency_record(self, request: IdempotencyRecord) -> None:
        """Delete this idempotency record, if it is still there, and not a later one of the same request_id."""
        ...

    async def erase_client(self, client_id: str, *, now: datetime) -> int:
        """Delete all records of the client; return how many. Only inside `atomically`.

        Reads ids and idempotency records only. Idempotency records that are unexpired at `now` stay.
        """
        ...

    async def write(self, change_set: ChangeSet) -> None:
        """Store a change set; one of several documents only inside `atomically`.

        Raises:
            LostRace: a record to replace or remove has changed in the meantime, or a slot or external id is taken.
            RequestAlreadyApplied: the request was carried out before.
        """
        ...

    async def count_within(self, keys: Sequence[str], limit: int, *, expires_at: datetime) -> bool:
        """Count one more under the first of some keys, unless all of them have `limit` already; return whether it did.

        Exact under concurrency, as long as all callers count under the same key. The count is forgotten after
        `expires_at`.
        """
        ...

    async def uncount(self, key: str) -> None:
        """Count one less under a key, where `count_within` has counted one."""
        ...

    async def remove_counts(self, keys: Collection[str]) -> None:
        """Remove the counts under these keys."""
        ...

    def exclusively(self, keys: Collection[Hashable]) -> AbstractAsyncContextManager[object]:
        """Return a block that one call of this process at a time runs, of those that share a key."""
        ...

    async def atomically(
        self,
        work: Callable[[Store], Awaitable[T]],
        *,
        keys: Collection[Hashable],
        prepared: Callable[[Store], Awaitable[T]] | None = None,
    ) -> T:
        """Run `work` on a store whose writes take effect together, and again when it loses a race.

        Calls of this process that share a key run one at a time, since transactions that compete for a record abort
        each other.

        Args:
            work: reads and writes.
            keys: those over which it competes.
            prepared: only writes what was computed before, on records read outside of the transaction. Runs instead of
                `work` at the first attempt, unless the call had to wait for another one, which may have changed them.

        Raises:
            Aborted: it lost every race.
        """
        ...


class LostRace(Exception):
    """Another write was faster, and this one did nothing; it may be computed anew. Never leaves the use cases.

    Attributes:
        outcome: the error for the caller when every attempt ends this way.
    """

    def __init__(self, outcome: ContactsvcError) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
