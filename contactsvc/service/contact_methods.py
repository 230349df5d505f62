"""The operations on the contact methods of one environment."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from contactsvc.domain.batch import Batch
from contactsvc.domain.clock import Clock
from contactsvc.domain.contact_method import ContactMethod, NewContactMethod
from contactsvc.domain.idempotency import RequestFingerprint
from contactsvc.domain.kinds import Slot
from contactsvc.domain.ledger import Ledger
from contactsvc.domain.listing import Listing, Page
from contactsvc.domain.normalization import ValueRules
from contactsvc.domain.operations import Delete, Operation, Sync, Update, Upsert
from contactsvc.domain.outcomes import Action, Applied
from contactsvc.domain.sync import apply_sync
from contactsvc.errors import (
    ContactMethodNotFound,
    ContactsvcError,
    DeadlineExceeded,
    InvalidFields,
    MetadataAmbiguous,
    StoreUnavailable,
    TransactionsUnsupported,
)
from contactsvc.service.ports import Store
from contactsvc.service.writes import WritePlan, WriteResult, Writes


@dataclass(frozen=True, slots=True)
class Written:
    """A record after a write, what was done with it, and the ids of those that lost the primary flag to it."""

    contact_method: ContactMethod
    action: Action
    demoted_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deleted record, and the one that became primary in its place."""

    id: str
    promoted_id: str | None = None


Outcome = Written | Deleted | ContactsvcError


@dataclass(frozen=True, slots=True)
class Found:
    """The records asked for by their ids, and the ids that no record has, both in the order of the request."""

    contact_methods: list[ContactMethod]
    missing_ids: list[str]


@dataclass(frozen=True, slots=True)
class Synced:
    """What a sync did."""

    created: list[ContactMethod] = field(default_factory=list)
    updated: list[ContactMethod] = field(default_factory=list)
    unchanged: list[ContactMethod] = field(default_factory=list)
    deleted_ids: list[str] = field(default_factory=list)
    demoted_ids: list[str] = field(default_factory=list)


class ContactMethods:
    """The operations on the contact methods of one environment.

    A write with a `request` is carried out once, however often it is asked for within 24 hours.
    """

    def __init__(self, store: Store, rules: ValueRules, *, clock: Clock, make_id: Callable[[], str]) -> None:
        self._store = store
        self._writes = Writes(store, rules, clock, make_id)

    async def get(self, id_: str) -> ContactMethod:
        """Return the record with this id."""
        return _found(await self._store.find(id_), "id")

    async def get_by_external_id(self, external_id: str) -> ContactMethod:
        """Return the record with this external id."""
        return _found(await self._store.find_by_external_id(external_id), "external id")

    async def get_by_metadata(self, key: str, value: str, client_id: str | None) -> ContactMethod:
        """Return the only record that carries the pair."""
        matches = await self._store.find_by_metadata(key, value, client_id, limit=2)
        if len(matches) > 1:
            raise MetadataAmbiguous
        return _found(matches[0] if matches else None, "metadata pair")

    async def get_primary(self, slot: Slot) -> ContactMethod | None:
        """Return the primary of a client and type, if it has one."""
        return await self._store.find_primary(slot)

    async def batch_get(self, ids: Sequence[str]) -> Found:
        """Return the records with these ids."""
        records = {record.id: record for record in await self._store.find_by_ids(set(ids))}
        return Found(
            contact_methods=[records[id_] for id_ in ids if id_ in records],
            missing_ids=[id_ for id_ in ids if id_ not in records],
        )

    async def list_page(self, listing: Listing) -> Page:
        """Return one page of records."""
        return await self._store.find_page(listing)

    def stream(self, listing: Listing) -> AsyncGenerator[Page]:
        """Yield all pages of records, as they are asked for."""
        return self._store.stream_pages(listing)

    async def create(self, new: NewContactMethod, request: RequestFingerprint | None = None) -> Written:
        """Create a record, and demote the present primary if the new one claims the flag."""
        return await self._write(new, request)

    async def update(self, update: Update, request: RequestFingerprint | None = None) -> Written:
        """Change a record; write nothing when nothing would differ."""
        return await self._write(update, request)

    async def upsert(self, upsert: Upsert, request: RequestFingerprint | None = None) -> Written:
        """Create the record with an external id, or change the one that has it."""
        return await self._write(upsert, request)

    async def delete(self, delete: Delete, request: RequestFingerprint | None = None) -> Deleted:
        """Delete a record, and promote another one if the request says so."""
        outcome = _outcomes(await self._writes.carry_out(WritePlan.of_one(delete), request))[0]
        if not isinstance(outcome, Deleted):
            raise TypeError(f"a delete came out as {type(outcome).__name__}")
        return outcome

    async def batch(self, batch: Batch, request: RequestFingerprint | None = None) -> list[Outcome]:
        """Carry out several operations as if one after the other; all or none, or (partial) each alone.

        What succeeds takes effect together, in one transaction. On a store without transactions an atomic batch is
        refused, and the items of a partial one are writes of their own.

        Returns:
            The outcome of each item; errors only when partial, or when a record of a repeated request is gone.
        """
        batch = batch.screened()
        if (refusal := batch.refused) is not None:
            # Nothing will be written. What the stored records say against the other items is told at once.
            with suppress(StoreUnavailable, DeadlineExceeded):
                await self._writes.dry_run(WritePlan(batch.applied_to, batch.operations))
            raise refusal
        if self._store.transactional:
            task = WritePlan(batch.applied_to, batch.operations, keys=frozenset(batch.contested))
            return _outcomes(await self._writes.carry_out(task, request))
        if not batch.partial:
            raise TransactionsUnsupported("an atomic batch")
        if request is not None:
            raise TransactionsUnsupported("a request_id")
        return await self._write_each(batch)

    async def sync(self, sync: Sync, request: RequestFingerprint | None = None) -> Synced:
        """Make the records of a client what the items say, in one transaction."""
        if not self._store.transactional:
            raise TransactionsUnsupported("a sync")
        task = WritePlan(
            lambda ledger: apply_sync(ledger, sync),
            ids=frozenset(item.id for item in sync.items if item.id is not None),
            external_ids=frozenset(item.external_id for item in sync.items if item.external_id is not None),
            client_id=sync.client_id,
            keys=_client_key(sync.client_id),
        )
        synced = Synced()
        done = await self._writes.carry_out(task, request)
        for applied in done.outcomes:
            if isinstance(applied, ContactsvcError):
                raise applied
            synced.demoted_ids.extend(applied.demoted_ids)
            record = done.record(applied.id)
            if applied.action is Action.DELETED:
                synced.deleted_ids.append(applied.id)
            elif record is not None:
                lists = {Action.CREATED: synced.created, Action.UPDATED: synced.updated}
                lists.get(applied.action, synced.unchanged).append(record)
        return synced

    async def erase_client(self, client_id: str, request: RequestFingerprint | None = None) -> int:
        """Delete all records of a client; return how many."""

        def erase(ledger: Ledger) -> list[Applied]:
            erased = [ledger.delete(Delete(record.id)) for record in ledger.of_client(client_id)]
            return [Applied(Action.DELETED, "", count=len(erased))]

        task = WritePlan(erase, client_id=client_id, keys=_client_key(client_id))
        done = await self._writes.carry_out(task, request)
        return sum(applied.count for applied in done.outcomes if isinstance(applied, Applied))

    async def _write(self, operation: Operation, request: RequestFingerprint | None) -> Written:
        outcome = _outcomes(await self._writes.carry_out(WritePlan.of_one(operation), request))[0]
        if isinstance(outcome, ContactsvcError):
            raise outcome
        if not isinstance(outcome, Written):
            raise TypeError(f"a write came out as {type(outcome).__name__}")
        return outcome

    async def _write_each(self, batch: Batch) -> list[Outcome]:
        """Carry out the items of a partial batch as writes of their own, except those that are wrong at first sight."""
        sight = await self._writes.dry_run(WritePlan(batch.applied_to, batch.operations))
        outcomes: list[Outcome] = []
        for position, (item, seen) in enumerate(zip(batch.items, sight, strict=True)):
            if isinstance(seen, InvalidFields):
                outcomes.append(seen)
                continue
            if isinstance(item, InvalidFields):
                raise TypeError("an item that could not be parsed was tried out")
            try:
                outcomes += _outcomes(await self._writes.carry_out(WritePlan.of_one(item), None))
            except ContactsvcError as error:
                outcomes.append(batch.failure(position, error))
        written = {outcome.contact_method.id for outcome in outcomes if isinstance(outcome, Written)}
        now = {record.id: record for record in await self._store.find_by_ids(written)} if written else {}
        return [
            replace(outcome, contact_method=now.get(outcome.contact_method.id, outcome.contact_method))
            if isinstance(outcome, Written)
            else outcome
            for outcome in outcomes
        ]


def _found(record: ContactMethod | None, looked_up_by: str) -> ContactMethod:
    if record is None:
        raise ContactMethodNotFound(looked_up_by)
    return record


def _client_key(client_id: str) -> frozenset[Hashable]:
    return frozenset({("client", client_id)})


def _outcomes(done: WriteResult) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for applied in done.outcomes:
        if isinstance(applied, ContactsvcError):
            outcomes.append(applied)
        elif applied.action is Action.DELETED:
            outcomes.append(Deleted(applied.id, applied.promoted_id))
        elif (record := done.record(applied.id)) is not None:
            outcomes.append(Written(record, applied.action, applied.demoted_ids))
        else:
            # A repeated request, whose record somebody has deleted since.
            outcomes.append(ContactMethodNotFound("id"))
    return outcomes
